"""A synthetic male pelvis as MR and CT."""
