"""What the audit log says of answers that are stored, and of trainings."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from lib.files import sha256
from monailabel_app.audit import AuditLog
from monailabel_app.web.changes import note_training, save_answer


@pytest.fixture
def app(tmp_path: Path) -> Any:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    store = SimpleNamespace(served_path=lambda model: weights)
    return SimpleNamespace(
        audit=AuditLog(tmp_path / "audit.jsonl"), store=store, datastore=lambda: MagicMock()
    )


def lines(app: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.audit.file.read_text().splitlines()]


@pytest.mark.parametrize(("user", "kept"), [("anna", {"user": "anna"}), ("", {}), (None, {})])
def test_a_stored_answer_has_the_user_in_its_record_and_in_the_log(app, user, kept):
    store, request = MagicMock(), {"model": "nuclei", "user": user}
    save_answer(app, store, "cell_1", "file.png", "final", request, {"a": 1})
    info = {"model": "nuclei", "params": {"a": 1}, **kept}
    store.save_label.assert_called_once_with("cell_1", "file.png", "final", info)
    (line,) = lines(app)
    assert (line["what"], line["on"], line["model"]) == (
        "label saved by a model",
        "cell_1",
        "nuclei",
    )
    assert line["by"] == (user or "unknown")


def test_what_a_training_publishes_is_written_down_and_what_it_keeps_aside_is_not(app):
    note_training(app, "nuclei", {"published": False}, by="training")
    assert not app.audit.file.exists()
    note_training(app, "nuclei", {"published": True, "version": "7"}, by="training")
    (line,) = lines(app)
    assert (line["by"], line["what"], line["on"]) == ("training", "model published", "nuclei")
    assert line["version"] == "7" and line["after"] == sha256(app.store.served_path("nuclei"))
