"""Partly labelled images: the value of label images that marks what nobody labelled.

Whatever has this value is no structure and no background: losses, figures and simulated users leave
it out. In viewers it is the segment called `IGNORE_NAME`.
"""

from __future__ import annotations

IGNORE_NAME = "ignore"
# It fits 16 bits, and is not 65535, which is the foreground of many 16 bit masks.
IGNORE = 65534
