"""Files of strangers are read in processes of their own, which may break without harm."""
