"""Which image to label next, and which labels to look at again."""
