"""What is served while models are trained, published, refused and killed, on an own server."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from server_support import (
    MODEL,
    QUICK,
    TRAINING_SECONDS,
    Server,
    assert_refused,
    discs,
    read_png,
    threshold_weights,
    write_png,
)

from lib.data.studies import in_validation

IMAGES = 8
ENDLESS = {**QUICK, "max_epochs": 100_000}


@pytest.fixture(scope="module")
def own(launch: Callable[..., Server]) -> Server:
    """A server over discs, one of which is labelled."""
    return launch(prepare)


def prepare(server: Server) -> None:
    for number in range(IMAGES):
        write_png(server.studies / f"discs_{number}.png", discs(96, 96 + number))
    labels = server.studies / "labels" / "final"
    labels.mkdir(parents=True)
    write_png(labels / "discs_0.png", truth(0))
    threshold_weights(server.live_file)


def truth(number: int) -> np.ndarray:
    return (discs(96, 96 + number) > 100).astype(np.uint8)


def label_all(server: Server, folder: Path, corrupt: bool = False) -> None:
    """Label every image; corrupt ones say the opposite where they are trained on."""
    for number in range(IMAGES):
        image = f"discs_{number}"
        label = truth(number)
        if corrupt and not in_validation(image, 0.2):
            label = 1 - label
        assert server.save_label(image, write_png(folder / f"{image}.png", label)).ok


def served_version(server: Server) -> str:
    answer = server.infer("discs_0", output="json")
    assert answer.ok, answer.text
    return answer.json()["model_version"]


@pytest.fixture
def training(own: Server, tmp_path: Path) -> Iterator[psutil.Process]:
    """The process of a training that has begun and would not end by itself."""
    label_all(own, tmp_path)
    assert own.post(f"/train/{MODEL}", json=ENDLESS).ok
    stats: dict[str, Any] = {}

    def begun() -> bool:
        stats.update(own.train_stats())
        return bool(stats.get("active"))

    own.wait_for(begun, "the training", TRAINING_SECONDS)
    yield psutil.Process(stats["pid"])
    own.delete("/train/")
    own.wait_for(lambda: not own.train_stats()["active"], "the end of the training")


def test_too_few_labels_to_train_are_counted(own: Server) -> None:
    for run_sync in (True, False):
        response = own.post(f"/train/{MODEL}", params={"run_sync": run_sync}, json=QUICK)
        assert_refused(response, 400, "at least 2", "found 1")
    assert own.get("/train/").status_code == 404, "a training was begun"


def test_a_worse_training_is_kept_aside_with_the_reason(own: Server, tmp_path: Path) -> None:
    label_all(own, tmp_path, corrupt=True)
    live, version = own.live_file.read_bytes(), served_version(own)
    wild = {**QUICK, "max_epochs": 2, "learning_rate": 0.05, "pretrained": False}
    reply = own.post(f"/train/{MODEL}", params={"run_sync": True}, json=wild).json()
    assert reply["published"] is False
    assert "does not beat the published" in reply["reason"]
    assert own.live_file.read_bytes() == live
    assert served_version(own) == version
    kept = own.get(f"/model/info/{MODEL}").json()["versions"][-1]
    assert kept["id"] == reply["version"]
    assert (kept["published"], kept["live"]) == (False, False)
    assert kept["reason"] == reply["reason"]


def test_a_better_training_is_served_by_the_next_request_and_none_fails(
    own: Server, tmp_path: Path
) -> None:
    label_all(own, tmp_path)
    poor = threshold_weights(tmp_path / "poor.pt", threshold=1.5, slope=4.0)
    with open(poor, "rb") as file:
        assert own.put(f"/model/{MODEL}", files={"file": file}).ok
    before = served_version(own)
    done = threading.Event()
    seen: list[tuple[float, str]] = []  # when a request began, and the version that answered
    failed: list[str] = []

    def ask() -> None:
        while not done.wait(0.1):  # the training's process needs the processor, too
            begin = time.perf_counter()
            answer = own.infer("discs_1", output="json")
            if answer.ok:
                seen.append((begin, answer.json()["model_version"]))
            else:
                failed.append(answer.text)

    def live() -> dict[str, Any]:
        versions = own.get(f"/model/info/{MODEL}").json()["versions"]
        (found,) = [version for version in versions if version["live"]]
        return found

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        better = {**QUICK, "max_epochs": 3, "learning_rate": 0.05}
        assert own.post(f"/train/{MODEL}", json=better).ok
        own.wait_for(lambda: live()["id"] != before, "a better version", TRAINING_SECONDS)
        published = time.perf_counter()
        version = live()
        assert served_version(own) == version["id"]
        own.wait_for(lambda: seen[-1][0] > published, "a request after that")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert own.wait_for_training("DONE", "ERROR")["status"] == "DONE"
    assert not failed, failed[0]
    assert "beats the published" in version["reason"]
    assert {answered for _, answered in seen} == {before, version["id"]}
    assert {answered for begin, answered in seen if begin > published} == {version["id"]}


def test_a_killed_training_leaves_the_live_model_and_the_next_one_works(
    own: Server, training: psutil.Process
) -> None:
    live, version = own.live_file.read_bytes(), served_version(own)
    os.kill(training.pid, signal.SIGKILL)
    assert own.wait_for_training("ERROR")["status"] == "ERROR"
    assert not own.train_stats()["active"]
    assert own.live_file.read_bytes() == live
    assert served_version(own) == version
    again = own.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
    assert again.ok, again.text
    assert again.json()["steps"] > 0


def test_a_second_training_is_refused_while_one_is_in_progress(
    own: Server, training: psutil.Process
) -> None:
    for run_sync in (True, False):
        response = own.post(f"/train/{MODEL}", params={"run_sync": run_sync}, json=QUICK)
        assert_refused(response, 429, "already")
    # upstream does not count a run that it was told to begin at once
    response = own.post("/train/", params={"run_sync": True}, json={MODEL: QUICK})
    assert_refused(response, 429, MODEL, "already")
    assert training.is_running()


def test_the_server_answers_while_it_infers_and_trains(
    own: Server, training: psutil.Process
) -> None:
    write_png(own.studies / "large.png", discs(1280, 1280, spacing=64, radius=20))
    own.wait_for_image("large")
    slow: dict[str, Any] = {}

    def infer() -> None:
        slow["answer"] = own.infer("large", output="json")

    thread = threading.Thread(target=infer)
    thread.start()
    times = []
    while thread.is_alive() or len(times) < 10:
        begin = time.perf_counter()
        assert own.get("/info/").ok
        times.append(time.perf_counter() - begin)
        time.sleep(0.05)
    thread.join()
    assert slow["answer"].ok, slow["answer"].text
    assert training.is_running()
    assert statistics.median(times) < 2, f"of {len(times)}: {sorted(times)[-5:]}"


def test_labels_survive_a_kill_of_the_server_and_a_restart(own: Server, tmp_path: Path) -> None:
    label = np.zeros((96, 99), dtype=np.uint16)
    label[5:20, 5:30] = 777
    assert own.save_label("discs_3", write_png(tmp_path / "last.png", label)).ok
    own.kill()
    before = len(own.log)
    own.start()
    saved = own.get("/datastore/label", params={"label": "discs_3", "tag": "final"})
    assert np.array_equal(read_png(saved.content), label)
    assert own.get("/datastore/").json()["completed"] == IMAGES
    assert "Traceback" not in own.log[before:]
    assert served_version(own)
