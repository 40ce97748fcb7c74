"""The learning rate of a run on the server that is given none."""

from __future__ import annotations

import shutil

import pytest

from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS
from trainers.base import build_trainer

TASK = TASKS["nuclei_vhllrhe"]
RATE = TASK.training.learning_rate


@pytest.fixture
def trainer(tmp_path):
    return build_trainer(TASK, ModelStore(tmp_path / "models", tmp_path / "shipped"))


def test_a_first_training_has_the_rate_of_the_recipe(trainer):
    assert trainer.config()["learning_rate"] == trainer.read({}).learning_rate == RATE


def test_live_weights_are_trained_on_at_a_tenth_of_it(trainer):
    trainer.store.folder.mkdir()
    shutil.copyfile(
        SHIPPED_MODELS / f"pretrained_{TASK.name}.pt", trainer.store.folder / f"{TASK.name}.pt"
    )
    assert trainer.config()["learning_rate"] == pytest.approx(RATE / 10)
    assert trainer.read({}).learning_rate == pytest.approx(RATE / 10)
    assert trainer.read({"pretrained": False}).learning_rate == RATE
    assert trainer.read({"learning_rate": 0.5}).learning_rate == 0.5


def test_what_a_client_sends_back_is_taken(trainer):
    sent = {**trainer.config(), "device": "cpu"}
    assert trainer.read(sent).learning_rate == RATE
