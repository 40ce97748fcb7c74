"""Studies in a local folder."""
