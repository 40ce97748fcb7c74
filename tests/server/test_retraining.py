"""Automatic training after new labels, the history of versions, and restoring one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from server_support import (
    MODEL,
    TRAINING_SECONDS,
    UNTRAINED,
    Server,
    assert_refused,
    discs,
    threshold_weights,
    write_png,
)

EVERY = 3


@pytest.fixture(scope="module")
def own(launch: Callable[..., Server]) -> Server:
    """A server over eight images without labels that trains after every third."""

    def prepare(server: Server) -> None:
        server.conf |= {"models": f"{MODEL},{UNTRAINED}"}
        server.conf |= {"auto_train": str(EVERY), "auto_train_epochs": "1"}
        for number in range(8):
            write_png(server.studies / f"discs_{number}.png", discs(64, 64 + number))
        threshold_weights(server.live_file, threshold=0.8, slope=2.0)

    return launch(prepare)


def label(server: Server, folder: Path, *numbers: int) -> None:
    for number in numbers:
        truth = (discs(64, 64 + number) > 100).astype(np.uint8)
        file = write_png(folder / f"discs_{number}.png", truth)
        begin = time.perf_counter()
        assert server.save_label(f"discs_{number}", file).ok
        # a training takes minutes on a machine that is so busy that this takes seconds
        assert time.perf_counter() - begin < 15, "saving a label waited for the training"


def trainings(server: Server) -> list[str]:
    """Return the models of the trainings that were begun since the server's start."""
    reply = server.get("/train/", params={"all": True})
    return [task["request"]["model"] for task in reply.json()] if reply.ok else []


def versions(server: Server) -> list[dict]:
    return server.get(f"/model/info/{MODEL}").json()["versions"]


def next_version(server: Server) -> dict:
    """Wait for a training to begin and to make a version."""
    known = len(versions(server))
    server.wait_for(lambda: trainings(server), "a training")
    server.wait_for(lambda: len(versions(server)) > known, "a version", TRAINING_SECONDS)
    return versions(server)[-1]


def stays_quiet(server: Server) -> bool:
    """Wait for longer than a look at the labels takes; true if no training was begun."""
    time.sleep(2)
    return trainings(server) == []


def test_a_training_begins_by_itself_and_its_version_tells_what_it_saw(
    own: Server, tmp_path: Path
) -> None:
    label(own, tmp_path, 0, 1)
    assert stays_quiet(own)
    label(own, tmp_path, 1)  # the same label again is not a new one
    assert stays_quiet(own)
    label(own, tmp_path, 2)
    made = next_version(own)
    assert trainings(own) == [MODEL], "a model without weights was trained too"
    assert made["training"]["training_cases"] + made["training"]["validation_cases"] == 3
    assert len(made["training"]["data"]) == 16
    assert made["metrics"]["mean_iou"] > 0


def test_a_restart_forgets_no_label(own: Server, tmp_path: Path) -> None:
    label(own, tmp_path, 3, 4)
    assert trainings(own) == [MODEL]
    own.kill()
    own.start()
    assert stays_quiet(own), "labels of before were taken for new ones"
    label(own, tmp_path, 5)
    training = next_version(own)["training"]
    assert trainings(own) == [MODEL]
    assert training["training_cases"] + training["validation_cases"] == 6


def test_an_administrator_puts_a_version_back_and_the_next_request_is_answered_by_it(
    own: Server,
) -> None:
    known = [version["id"] for version in versions(own)]
    for wanted in (known[0], known[-1]):
        reply = own.post(f"/model/restore/{MODEL}", params={"version": wanted})
        assert reply.ok, reply.text
        assert [v["id"] for v in versions(own) if v["live"]] == [wanted]
        assert own.infer("discs_0", output="json").json()["model_version"] == wanted
    unknown = own.post(f"/model/restore/{MODEL}", params={"version": "never"})
    assert_refused(unknown, 404, "never", known[0])
    assert_refused(own.post("/model/restore/never", params={"version": "x"}), 404, "never")
