"""Models that other software made: their files are read as data, nothing in them is run."""
