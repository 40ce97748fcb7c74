"""`train --folds --at-once`: several trainings at once end as they do one after the other."""

from __future__ import annotations

import json

import pytest
from training_samples import assert_same_weights

from monailabel_app.cli import folds

TASK = "nuclei_u3clr"
SMALL = ("--patch-size", 16, "--batch-size", 2, "--device", "cpu", "--precision", "fp32")
WORDS = ("--steps", 4, "--val-interval", 2, "--folds", 3, "--channels", "4,8,16")


@pytest.fixture(scope="module")
def levels():
    from lib.tasks.registry import TASKS

    return ",".join(["4"] * len(TASKS[TASK].network.channels))


def test_folds_at_once_are_those_one_after_the_other(cli, studies, tmp_path, levels):
    words = ("train", TASK, "--studies", studies, *SMALL, *WORDS[:-1], levels)
    found = {}
    for name, more in (("each", ()), ("at_once", ("--at-once", 2))):
        file = tmp_path / f"{name}.json"
        ended = cli(*words, *more, "--out", tmp_path / name, "--json", file)
        assert ended.status == 0, ended.err
        assert ended.out.count("fold ") == 3
        found[name] = json.loads(file.read_text())
    for one, other in zip(found["each"]["runs"], found["at_once"]["runs"], strict=True):
        assert one["validation_ids"] == other["validation_ids"]
        for entry, wanted in zip(other["history"], one["history"], strict=True):
            assert entry == pytest.approx(wanted, abs=1e-5)
    for fold in range(3):
        weights = [tmp_path / name / f"fold{fold}" / "best.pt" for name in ("each", "at_once")]
        assert_same_weights(*weights)


def test_an_error_of_a_training_is_the_error_of_the_command(cli, studies, tmp_path, levels):
    words = ("train", TASK, "--studies", studies, *SMALL, *WORDS[:-1], levels)
    ended = cli(*words, "--folds", 2, "--at-once", 2, "--optimizer", "adm", "--out", tmp_path)
    ended.assert_refused("unknown optimizer 'adm': did you mean 'adam'")


def test_a_training_that_was_killed_is_told(cli, studies, tmp_path, levels, monkeypatch):
    monkeypatch.setattr(folds, "run_in_processes", lambda *_: None)
    words = ("train", TASK, "--studies", studies, *SMALL, *WORDS[:-1], levels, "--at-once", 2)
    ended = cli(*words, "--out", tmp_path)
    ended.assert_refused("the training of fold0 ended without a result", "now 2")


@pytest.mark.parametrize("words", [(), ("--folds", 3, "--processes", 2)])
def test_at_once_is_for_folds_without_processes(cli, studies, words):
    ended = cli("train", TASK, "--studies", studies, "--at-once", 2, *words)
    ended.assert_refused("--at-once is for --folds, and not with --processes")
