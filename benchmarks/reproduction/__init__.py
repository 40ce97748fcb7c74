"""Studies that make published tables again."""
