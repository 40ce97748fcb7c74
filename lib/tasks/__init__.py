"""The table of tasks. Nothing here imports torch."""
