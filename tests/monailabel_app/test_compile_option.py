"""`--conf compile` and `train --compile` reach the training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.config import AppConfig
from trainers.base import build_trainer


@pytest.mark.parametrize(("word", "wanted"), [("on", "on"), ("OFF", "off"), ("auto", "auto")])
def test_conf_compile_is_read(word, wanted):
    assert AppConfig.from_conf({"compile": word}).compile == wanted
    assert AppConfig.from_conf({}).compile == "auto"


def test_another_word_is_refused():
    with pytest.raises(InputError, match="--conf compile sometimes: unknown choice 'sometimes'"):
        AppConfig.from_conf({"compile": "sometimes"})


def test_the_trainer_hands_it_to_the_run(tmp_path, items, studies, monkeypatch):
    asked = []

    def submit(task, items, options, *_, **__):
        asked.append(options.compile)
        raise KeyboardInterrupt

    monkeypatch.setattr("trainers.base.train_and_submit", submit)
    store = ModelStore(tmp_path / "models", tmp_path / "shipped")
    trainer = build_trainer(get_task("nuclei_vhllrhe"), store, "cpu", "auto", "off")
    monkeypatch.setattr(trainer, "sorted_items", lambda datastore, task: (items, {}))
    with pytest.raises(KeyboardInterrupt):
        trainer({}, SimpleNamespace(readers="latest"))
    assert asked == ["off"]
