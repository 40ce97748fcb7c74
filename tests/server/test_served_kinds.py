"""The app serves the kinds of tasks that it has an infer task and a trainer for."""

from __future__ import annotations

from dataclasses import replace

from lib.kinds import KINDS, kind_of
from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.app import App
from monailabel_app.config import AppConfig
from trainers.base import build_trainer


def _app() -> App:
    app = App.__new__(App)
    app.config = AppConfig.from_conf({"models": "all"})
    return app


def test_every_row_is_served_and_has_a_trainer(tmp_path):
    assert [task.name for task in _app()._served()] == list(TASKS)
    assert all(build_trainer(task, ModelStore(tmp_path, tmp_path)) for task in TASKS.values())


def test_rows_that_the_server_cannot_answer_are_left_out_and_said(monkeypatch, caplog):
    for name in ("interactive", "classification"):
        monkeypatch.setitem(KINDS, name, replace(KINDS[name], infer_task=None))
    names = [task.name for task in _app()._served()]
    assert names == [name for name, task in TASKS.items() if kind_of(task).name == "segmentation"]
    assert "Not served yet, use the command line: nuclei_click, " in caplog.text
    assert "density_a_vs_d" in caplog.text
