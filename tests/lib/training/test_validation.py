"""A warning of answers that are all background appears while a run goes on."""

from __future__ import annotations

import json
from dataclasses import replace

from training_samples import fit_options, with_recipe

from lib.training.loop import fit


def _run_with(found, task, items, out, monkeypatch) -> tuple[list[str], dict]:
    """Train with these shares of structures found at each validation; return the warnings."""
    scores = [{"mean_iou": 0.5, "found": share} for share in (1.0, *found)]
    monkeypatch.setattr("lib.training.validation.score_cases", lambda *_: scores.pop(0))
    said: list[str] = []
    monkeypatch.setattr("lib.training.validation.logger.warning", said.append)
    fit(with_recipe(task, steps=2 * len(found), val_interval=2), items, fit_options(out))
    return said, json.loads((out / "stats.json").read_text())


def test_the_collapse_to_the_empty_mask_is_said(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((0.4, 0.0), task, items, tmp_path, monkeypatch)
    assert len(said) == 1
    assert "answers no foreground on any validation case at step 4: collapsed to the emp" in said[0]
    assert "lower the learning rate (now 0.003)" in said[0]
    assert stats["warning"] == said[0]


def test_a_collapse_that_is_over_is_no_longer_reported(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((0.0, 0.1), task, items, tmp_path, monkeypatch)
    assert len(said) == 1
    assert "at step 2" in said[0]
    assert "warning" not in stats


def test_nothing_is_said_of_a_network_that_finds_something(task, items, tmp_path, monkeypatch):
    said, stats = _run_with((1.0, 0.01), task, items, tmp_path, monkeypatch)
    assert said == []
    assert "warning" not in stats


def test_a_network_that_answers_background_alone_has_collapsed(task, items, tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("lib.training.validation.logger.warning", said.append)
    unsure = replace(task, output=replace(task.output, threshold=1.1))
    result = fit(with_recipe(unsure, steps=2, val_interval=2), items, fit_options(tmp_path))
    assert result.metrics["found"] == 0
    assert len(said) == 1
