"""`average` writes the mean of weights, and measures it beside each of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from lib.weights.checkpoint import load_checkpoint, save_checkpoint
from lib.weights.familiarity import KEY

TASK = "nuclei_vhllrhe"


@pytest.fixture
def two(weights, tmp_path):
    """Trained weights, and the same a little changed."""
    trained = load_checkpoint(weights)
    changed = {name: 1.01 * value for name, value in trained.weights.items()}
    return weights, save_checkpoint(tmp_path / "other.pt", replace(trained, weights=changed))


def test_the_average_is_written_measured_and_answers(cli, two, studies, tmp_path):
    out, figures = tmp_path / "mean.pt", tmp_path / "mean.json"
    words = ("average", TASK, *two, "--studies", studies, "--out", out, "--shares", "1,3")
    ended = cli(*words, "--json", figures)
    assert ended.status == 0, ended.err
    found, parts = load_checkpoint(out), [load_checkpoint(file) for file in two]
    for name, weight in found.weights.items():
        expected = 0.25 * parts[0].weights[name] + 0.75 * parts[1].weights[name]
        torch.testing.assert_close(weight, expected.to(weight.dtype), msg=name)
    assert (KEY in found.answer) == (KEY in parts[0].answer) and found.metrics["mean_iou"] > 0
    report = json.loads(figures.read_text())
    assert list(report["files"]) == [two[0].name, "other.pt"]
    assert report["average"]["figures"] == found.metrics
    assert report["held_out"] == found.provenance["validation_cases"]
    assert found.provenance["command"] == report["command"]
    assert f"mean_iou {found.metrics['mean_iou']:.4f} on {report['held_out']} held-out" in ended.out

    scored = tmp_path / "scored.json"
    words = ("evaluate", TASK, "--studies", studies, "--split", "validation", "--weights", out)
    ended = cli(*words, "--json", scored)
    assert ended.status == 0, ended.err
    pooled = json.loads(scored.read_text())["pooled"]
    # whole images read again; weights of a few steps answer many pixels at about the threshold
    assert pooled["mean_iou"] == pytest.approx(found.metrics["mean_iou"], abs=2e-2)


def test_what_cannot_be_averaged_is_refused_by_name(cli, two, studies, tmp_path):
    words = ("average", TASK, "--studies", studies, "--out", tmp_path / "mean.pt")
    for more, told in [
        ((two[0],), "expected two files of weights or more"),
        ((*two, "--shares", "1"), "a share for each, found 2 and 1"),
        ((*two, "--shares", "1,much"), "--shares '1,much': expected a number for each file"),
        ((two[0], tmp_path / "absent.pt"), "absent.pt: no such weights file"),
    ]:
        ended = cli(*words, *more)
        assert ended.status == 2 and told in ended.err, ended.err
    assert not (tmp_path / "mean.pt").exists()
