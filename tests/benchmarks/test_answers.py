"""The benchmark of answers: what it measures, and what it leaves out with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import answers, rounds
from lib.errors import InputError
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path, SHIPPED_MODELS)


def test_an_image_is_answered_and_its_nuclei_are_counted(store, monkeypatch):
    monkeypatch.setattr(answers, "is_installed", lambda: False)
    monkeypatch.setattr(answers, "cpu_has_bf16_units", lambda: False)
    monkeypatch.setattr(answers, "measure", _here)
    report = answers.run(1, store, lambda: None, size=128)
    assert set(report["figures"]) == {"torch, float32"}
    row = report["figures"]["torch, float32"]
    assert row["nuclei"] >= 3 and row["median_s"] > 0 and report["unit"] == "ms"
    assert set(report["left_out"]) == set(answers.VARIANTS) - {"torch, float32"}


def test_a_large_image_is_not_answered_by_what_takes_minutes(store, monkeypatch):
    monkeypatch.setattr(answers, "is_installed", lambda: False)
    monkeypatch.setattr(answers, "cpu_has_bf16_units", lambda: True)
    file = SHIPPED_MODELS / "pretrained_nuclei.pt"
    names, left_out = answers._variants(file, store, large=True)
    assert names == ["torch, bfloat16"] and left_out["torch, float32"] == "takes minutes"


def test_without_weights_it_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="no weights to answer with; train it first"):
        answers.run(1, ModelStore(tmp_path, tmp_path), lambda: None)


def _here(prepare, variants, settings, runs, seconds, on_round, **_) -> dict[str, rounds.Timed]:
    """Measure in this process, once."""
    timed = {}
    for variant in variants:
        answer, result = prepare(variant, **{**settings, "threads": 1})
        answer()
        timed[variant] = rounds.Timed([0.1], 1.0, 1.0, result())
    return timed
