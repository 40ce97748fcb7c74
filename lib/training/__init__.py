"""The training loop and all that it is made of."""
