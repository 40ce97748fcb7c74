"""How much a label would tell the model, and how good a label is."""
