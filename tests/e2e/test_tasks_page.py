"""docs/tasks.md is what its figures say."""

from __future__ import annotations

import copy

from tasks import page


def test_the_page_is_what_its_figures_render():
    assert page.PAGE.read_text() == page.text(page.load())


def test_actions_are_summed_and_what_cannot_be_done_is_told():
    results = copy.deepcopy(page.load())
    steps = results["before"]["nuclei"]["steps"]
    steps["open"] = {"clicks": 20, "drags": 300, "keys": 4000, "seconds": 1.26}
    steps["save"] = {"impossible": "the disk is full"}
    text = page.text(results)
    assert "| 4320 (1.3 s) |" in text and "before: save: the disk is full" in text
    assert "not to its end" in text
