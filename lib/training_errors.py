"""What can go wrong in training, apart from the loop so that light code can name it."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss became NaN or infinite."""
