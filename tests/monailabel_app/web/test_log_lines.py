"""What a request holds cannot fill the log."""

from __future__ import annotations

import logging

from monailabel_app.web.log_lines import LONGEST_LINE, shorten, shorten_lines


def test_long_lines_are_cut_and_short_ones_stay(caplog):
    logger = logging.getLogger("test.long.lines")
    shorten_lines(["test.long.lines"])
    try:
        with caplog.at_level(logging.INFO):
            logger.info("%s is %d%%", "half", 50)
            logger.info(f"Infer Request: {'%s' * 10**6}")
    finally:
        logger.removeFilter(shorten)
    short, long = caplog.messages
    assert short == "half is 50%"
    assert len(long) < LONGEST_LINE + 50 and long.endswith("(2000015 characters)")
