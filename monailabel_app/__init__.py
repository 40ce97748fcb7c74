"""The MONAI Label app: server, command line and shipped weights."""

__version__ = "0.2.0"
