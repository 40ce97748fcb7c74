"""The app serves the kinds of tasks that it has an infer task and a trainer for."""

from __future__ import annotations

from lib.tasks import TASKS
from monailabel_app.app import App
from monailabel_app.config import AppConfig


def test_rows_that_the_server_cannot_answer_yet_are_left_out_and_said(caplog):
    app = App.__new__(App)
    app.config = AppConfig.from_conf({"models": "all"})
    names = [task.name for task in app._served()]
    assert names == [name for name, task in TASKS.items() if task.kind == "segmentation"]
    assert "Not served yet, use the command line: density_a_vs_d" in caplog.text
