"""A crowd of annotators at one server, in short; `benchmark annotators` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_support import threshold_weights

from benchmarks.speed import annotators
from benchmarks.speed.fixtures import TASK
from lib.weights.store import ModelStore

PEOPLE = 4


@pytest.mark.server
def test_annotators_at_once_lose_no_label_and_never_get_the_same_image(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    threshold_weights(models / f"{TASK}.pt")
    store = ModelStore(models, tmp_path / "nothing")
    report = annotators.run(store, lambda: None, PEOPLE, minutes=20 / 60, pause_s=(0.1, 0.5))
    assert not report["errors"], report["errors"][0]
    assert report["lost"] == report["given_to_two"] == []
    assert report["labels"] >= 2 * PEOPLE
    assert report["annotators_without_images"] == 0
    assert report["training"]["begun"] >= 1
    calls = report["figures"]
    assert {annotators.NEXT, annotators.INFER, annotators.SAVE} <= set(calls)
    assert calls[annotators.SAVE]["requests"] == report["labels"]
    assert calls[annotators.NEXT]["median_s"] < 3  # with a busy machine
    lines = annotators.table(report)
    assert f"{report['labels']} labels saved, 0 of them lost, 0 images given to two" in lines[-1]


def test_a_label_that_is_not_what_was_saved_counts_as_lost(tmp_path: Path) -> None:
    stored = tmp_path / "stored.nrrd"
    stored.write_bytes(b"other")

    class Client:
        def datastore(self) -> dict:
            return {"objects": {name: {"labels": {"final": {}}} for name in ("kept", "changed")}}

        def download_label(self, image: str, tag: str) -> str:
            return str(stored)

    log = annotators.Log()
    log.saved = {"kept": b"other", "changed": b"mine", "gone": b"mine"}
    assert annotators._lost(log, Client()) == ["changed", "gone"]
