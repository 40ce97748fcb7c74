"""What a viewer is told about trainings: supply, progress, and one line at the end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from monailabel.utils.async_tasks import utils
from server_support import MODEL, discs, write_png

from lib.files import write_json
from lib.tasks.registry import get_task
from lib.training.progress import STATS
from lib.weights.store import ModelStore
from monailabel_app.lane import Lane
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.web.access import Access
from monailabel_app.web.people import Person, asking
from monailabel_app.web.reasons import answered
from monailabel_app.web.training import outcome_line, training_router
from trainers.base import build_trainer

ASKED = {"model": MODEL}


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """The app's services on a folder of three images without labels."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for index in range(3):
        write_png(studies / f"cell_{index}.png", discs(48, 48))
    store = ModelStore(tmp_path / "models", tmp_path / "shipped")
    trainers = {MODEL: build_trainer(get_task(MODEL), store, "cpu")}
    datastore = StudiesDatastore(str(studies), tasks=[get_task(MODEL)])
    return SimpleNamespace(
        store=store,
        trainers=trainers,
        datastore=lambda: datastore,
        require_trainer=lambda model: trainers[model],
        model_file=lambda model, validate: None,
    )


@pytest.fixture
def client(app) -> TestClient:
    web = FastAPI()
    lane = Lane("test", threads=2, waiting=9, patience=60)
    web.include_router(training_router(app, answered, lane, lane))
    return TestClient(web, base_url="http://localhost")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The background tasks of the server."""
    tasks: list[dict[str, Any]] = []
    monkeypatch.setitem(utils.background_tasks, "train", tasks)
    return tasks


def label(app: Any, image: str) -> None:
    store = app.datastore()
    file = write_png(store.folder.parent / "label.png", (discs(48, 48) > 100).astype("uint8"))
    store.save_label(image, str(file), "final", {})


def test_labels_are_counted_and_what_is_missing_is_what_the_training_itself_asks_for(app, client):
    trainer, counted = app.trainers[MODEL], []
    for image in ("", "cell_0", "cell_1", "cell_2"):
        if image:
            label(app, image)
        found = client.get("/viewer/trainable", params=ASKED).json()
        counted.append((found["labels"], found["missing"]))
        if found["missing"]:
            with pytest.raises(ValueError) as refused:
                trainer.check({}, app.datastore())
            assert found["reason"] == str(refused.value)
        else:
            trainer.check({}, app.datastore())
            assert not found["reason"]
        assert found["max_epochs"] == 50 and found["live"] is False and not found["refusal"]
    assert counted == [(0, 2), (1, 1), (2, 1), (3, 0)], "both are held out"


def test_who_may_not_train_or_put_back_is_told_which_role_does(client, tasks):
    def refusals(role: Access) -> list[str]:
        token = asking.set(Person(name="otto", access=role))
        try:
            paths = ("training", "trainable", "versions")
            return [client.get(f"/viewer/{p}", params=ASKED).json()["refusal"] for p in paths]
        finally:
            asking.reset(token)

    assert refusals(Access.ADMIN) == ["", "", ""]
    for told in refusals(Access.REVIEWER):
        assert "needs the role admin, 'otto' has reviewer; ask an administrator" in told


def test_a_training_of_anybody_is_shown_with_what_waits_behind_it(app, client, tasks):
    assert client.get("/viewer/training").json() == {"refusal": "", "running": [], "last": None}
    folder = app.trainers[MODEL].run_folder
    stats = {"active": True, "epoch": 2, "total_epochs": 9, "best_metric": 0.5, "seconds_left": 7.0}
    tasks += [
        {"id": "1", "status": "RUNNING", "request": {"model": MODEL}},
        {"id": "2", "status": "SUBMITTED", "request": {"model": "nuclei"}},
    ]
    shown = client.get("/viewer/training").json()["running"]
    assert shown[0] == {"model": MODEL, "state": "running"}, "before its first step"
    with folder.exclusive():
        write_json(folder.path / STATS, stats)
        shown = client.get("/viewer/training").json()["running"]
        tasks.clear()  # begun by the command line
        alone = client.get("/viewer/training").json()["running"]
    assert shown == [
        {
            **{"model": MODEL, "state": "running", "metric": "mean IoU", "epoch": 2},
            **{"total_epochs": 9, "best_metric": 0.5, "seconds_left": 7.0},
        },
        {"model": "nuclei", "state": "waiting"},
    ]
    assert alone == shown[:1]


def test_the_last_training_ends_in_one_line(app, client, tasks):
    def last(status: str, **more: Any) -> dict[str, Any]:
        tasks[:] = [{"id": "1", "status": status, "request": {"model": MODEL}, **more}]
        return client.get("/viewer/training").json()["last"]

    assert last("STOPPED")["state"] == "stopped"
    told = last("ERROR", details=["loading", "Error: label a more images", "bye"])
    assert (told["state"], told["line"]) == ("failed", "failed: label a more images")
    folder = app.trainers[MODEL].run_folder
    folder.path.mkdir(parents=True)
    outcome = {
        "published": True,
        "reason": "better",
        "version": "7",
        "score": 0.912,
        "before": 0.88,
    }
    folder.note(outcome)
    told = last("DONE", end_ts="2026-11-28 19:00:00")
    assert told["line"] == "published: mean IoU 0.91, before 0.88" and told["ended"]
    folder.note({"published": False, "reason": "no better", "version": "8"})
    assert last("DONE")["line"] == "kept aside: no better"
    with folder.exclusive():
        assert last("DONE")["state"] == "failed", "of the run before"
        said = json.dumps({"train_stats": {"outcome": outcome}})
        told = last("DONE", details=[f"[INFO] (__main__:61) - Result: {said}", "bye"])
        assert told["line"] == "published: mean IoU 0.91, before 0.88", "while the next one goes on"
    assert (
        outcome_line({**outcome, "before": None}, "Dice") == "published: Dice 0.91, first weights"
    )


def test_versions_are_told_to_everybody_with_their_figure_the_newest_first(app, client, tmp_path):
    assert client.get("/viewer/versions", params=ASKED).json()["versions"] == []
    for number, score in enumerate((0.5, 0.75)):
        file = tmp_path / "weights.pt"
        file.write_bytes(bytes([number]))
        app.store.submit(MODEL, file, {"mean_iou": score, "other": 1.0}, "mean_iou", None)
    found = client.get("/viewer/versions", params=ASKED).json()
    assert found["metric"] == "mean IoU"
    assert [(one["score"], one["live"]) for one in found["versions"]] == [
        (0.75, True),
        (0.5, False),
    ]
    assert all(one["created"] and "path" not in one for one in found["versions"])
