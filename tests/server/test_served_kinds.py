"""The app serves the kinds of tasks that it has an infer task and a trainer for."""

from __future__ import annotations

from lib.tasks.registry import TASKS
from monailabel_app import app as module
from monailabel_app.app import App
from monailabel_app.config import AppConfig
from trainers import trainer_class


def _app() -> App:
    app = App.__new__(App)
    app.config = AppConfig.from_conf({"models": "all"})
    return app


def test_every_row_is_served_and_has_a_trainer():
    assert [task.name for task in _app()._served()] == list(TASKS)
    assert all(trainer_class(task) for task in TASKS.values())


def test_rows_that_the_server_cannot_answer_are_left_out_and_said(monkeypatch, caplog):
    monkeypatch.setattr(module, "SERVED_KINDS", ("segmentation",))
    names = [task.name for task in _app()._served()]
    assert names == [name for name, task in TASKS.items() if task.kind == "segmentation"]
    assert "Not served yet, use the command line: nuclei_click, " in caplog.text
    assert "density_a_vs_d" in caplog.text
