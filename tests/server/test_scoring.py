"""Scores through a running server: the next best image, and labels to review."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from server_support import MODEL, TRAINING_SECONDS, Server, assert_refused, threshold_weights

from lib.phantoms.nuclei import nuclei_phantom
from lib.uncertainty.informativeness import Informativeness
from lib.weights.store import ModelStore
from monailabel_app.active.records import Record, Records

LABELLED = 20
UNLABELLED = 30
WRONG = ("image_003", "image_009", "image_012")
DENSITY = "density_birads"


def _write_phantoms(folder: Path, count: int, labelled: int) -> None:
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    for index in range(count):
        pixels, label = nuclei_phantom(index, rows=96, columns=96, nuclei=8)
        Image.fromarray(pixels).save(folder / f"image_{index:03}.png")
        if index < labelled:
            Image.fromarray(label).save(labels / f"image_{index:03}.png")


def _spoil(labels: Path) -> None:
    """Shift one label, empty another, and take an object out of a third."""
    for change, id in zip(("shift", "empty", "miss"), WRONG, strict=True):
        file = labels / f"{id}.png"
        label = np.asarray(Image.open(file)).copy()
        if change == "shift":
            label = np.roll(label, 20, axis=1)
        elif change == "empty":
            label[:] = 0
        else:
            label[label == np.bincount(label[label > 0]).argmax()] = 0  # the largest
        Image.fromarray(label).save(file)


def _write_scores(server: Server) -> None:
    """Keep scores as the server would have: the later the image, the less certain."""
    store = ModelStore(server.model_dir, server.folder / "none")
    records = Records(server.studies / ".scores" / f"{MODEL}.jsonl")
    records.open(store.served_version(MODEL))
    for index in range(LABELLED, LABELLED + UNLABELLED):
        value = index / 100
        measured = Informativeness(value, 0.0, value, 0.1, np.ones(4, dtype=np.float32))
        records.add(f"image_{index:03}", Record("", 0, measured))


@pytest.fixture(scope="module")
def scoring_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Twenty labelled phantoms, three of them wrongly, and others with scores of an earlier run."""
    folder = tmp_path_factory.mktemp("scoring_server")
    server = Server(folder, f"{MODEL},{DENSITY}", device="cpu")
    _write_phantoms(server.studies, LABELLED + UNLABELLED, LABELLED)
    _spoil(server.studies / "labels" / "final")
    threshold_weights(server.live_file, threshold=0.3)
    _write_scores(server)
    yield server.start()
    server.stop()


def _score(server: Server, method: str, **params: Any) -> dict[str, Any]:
    response = server.post(f"/scoring/{method}", params={"run_sync": True}, json=params)
    assert response.ok, response.text
    return response.json()


def _ask(server: Server, who: str) -> dict[str, Any]:
    response = server.post("/activelearning/uncertainty", json={"client_id": who})
    assert response.ok, response.text
    return response.json()


def test_twenty_readers_at_once_are_given_the_twenty_best_images(scoring_server):
    def ask(reader: int) -> tuple[str, float]:
        start = time.monotonic()
        return _ask(scoring_server, f"reader {reader}")["id"], time.monotonic() - start

    ranked = list(range(LABELLED + UNLABELLED - 1, LABELLED - 1, -1))
    best = f"image_{ranked[0]:03}"
    first: set[str] = set()  # until there is a ranking, any image is given

    def is_ranked() -> bool:
        first.add(_ask(scoring_server, "first")["id"])
        return best in first

    scoring_server.wait_for(is_ranked, "a ranking")
    left = [index for index in ranked if f"image_{index:03}" not in first]
    with ThreadPoolExecutor(20) as pool:
        given = dict(pool.map(ask, range(20)))
    assert set(given) == {f"image_{index:03}" for index in left[:20]}
    sample = _ask(scoring_server, "late")
    assert sample["id"] == f"image_{left[20]:03}"
    assert sample["scores"]["disagreement"] == left[20] / 100
    assert sample["name"].endswith(".png"), "which Slicer needs for its download"
    assert "strategy" not in scoring_server.images()[sample["id"]]["image"]["info"]


def test_strategies_are_checked_against_the_model(scoring_server):
    ask = scoring_server.post
    assert_refused(ask("/activelearning/margin", json={"model": MODEL}), 400, "margin", MODEL)
    assert_refused(ask("/activelearning/random", json={"model": "nuclej"}), 404, "nuclej", MODEL)


def test_wrong_labels_rank_first_and_are_stored_in_the_datastore(scoring_server):
    answer = _score(scoring_server, "label_quality")
    assert (answer["model"], answer["scored"], answer["failed"]) == (MODEL, LABELLED, 0)
    assert {row["id"] for row in answer["images"][:3]} == set(WRONG)
    assert all(row["doubted"] for row in answer["images"][:3])
    images = scoring_server.images()
    info = images[WRONG[1]]["labels"]["final"]["info"]["label_quality"]
    assert info["quality"] < 0.5 and info["model_version"] == answer["model_version"]
    assert "label_quality" in images["image_000"]["labels"]["final"]["info"]


def test_the_dice_of_answer_and_label_is_kept_with_each_label(scoring_server):
    answer = _score(scoring_server, "dice", model=MODEL)
    dice = {row["id"]: row["dice"] for row in answer["images"]}
    assert len(dice) == LABELLED and dice[WRONG[1]] == 0 == min(dice.values())
    assert dice["image_000"] > 0.5
    info = scoring_server.images()["image_000"]["labels"]["final"]["info"]
    assert info["dice"]["dice"] == dice["image_000"]


def test_the_uncertainty_of_the_background_is_shown_with_each_image(scoring_server):
    answer = _score(scoring_server, "uncertainty")
    assert answer["scored"] == UNLABELLED
    assert answer["images"][0]["id"] == f"image_{LABELLED + UNLABELLED - 1:03}"
    info = scoring_server.images()[answer["images"][0]["id"]]["image"]["info"]
    assert info["uncertainty"]["disagreement"] == answer["images"][0]["disagreement"]


def test_scoring_that_cannot_be_done_says_why(scoring_server):
    query = {"run_sync": True}
    refused = scoring_server.post("/scoring/dice", params=query, json={"model": DENSITY})
    assert_refused(refused, 400, "dice", DENSITY, "label_quality")
    refused = scoring_server.post("/scoring/label_quality", params=query, json={"model": DENSITY})
    assert_refused(refused, 409, DENSITY, "weights")


def test_scoring_in_the_background_is_a_task_of_its_own(scoring_server):
    assert scoring_server.post("/scoring/dice", json={"model": MODEL}).ok
    scoring_server.wait_for(
        lambda: scoring_server.get("/scoring/").json()["status"] in ("DONE", "ERROR"),
        "scoring",
        4 * TRAINING_SECONDS,
    )
    task = scoring_server.get("/scoring/").json()
    assert task["status"] == "DONE", task
    assert f'"scored": {LABELLED}' in task["details"][-1]


def test_the_server_measures_in_a_process_that_steps_back(launch: Callable[..., Server]) -> None:
    def prepare(server: Server) -> None:
        server.conf["scoring"] = "on"
        server.cold = True  # its child is looked for
        _write_phantoms(server.studies, 2, 1)
        threshold_weights(server.live_file)

    server = launch(prepare)
    seen: list[int] = []

    def measuring() -> bool:
        assert server.process is not None
        for child in psutil.Process(server.process.pid).children(recursive=True):
            try:
                if "monailabel_app.active" in child.cmdline():
                    seen.append(child.nice())
            except psutil.NoSuchProcess:
                continue
        return bool(seen) and seen[-1] == 19

    server.wait_for(measuring, "a process that measures")
