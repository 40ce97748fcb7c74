"""Short lines for the log: MONAI Label (0.8.5) writes down requests, of a megabyte or whatever."""

from __future__ import annotations

import logging
from collections.abc import Iterable

LONGEST_LINE = 4000  # characters


def shorten(record: logging.LogRecord) -> bool:
    """Cut the message of a record, as a filter of a logger that keeps all."""
    text = record.getMessage()
    if len(text) > LONGEST_LINE:
        record.msg, record.args = f"{text[:LONGEST_LINE]}... ({len(text)} characters)", ()
    return True


def shorten_lines(loggers: Iterable[str]) -> None:
    """Keep the lines of loggers short from now on."""
    for name in loggers:
        logging.getLogger(name).addFilter(shorten)
