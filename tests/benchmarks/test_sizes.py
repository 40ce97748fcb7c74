"""`benchmark sizes`: images made smaller and larger, answered as they are and resampled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.speed import sizes
from lib.data.studies import list_items, read_item
from lib.errors import InputError
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models", SHIPPED_MODELS)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    write_nuclei_studies(folder, 2, 2, seed=7)
    return folder


def test_both_ways_are_measured_at_each_size(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (1.0, 5.0))
    rounds = []
    report = sizes.run(lambda: rounds.append(1), store, studies)
    known, large = report["figures"]
    assert len(rounds) == 2
    assert (known["images"], known["resampled_images"], large["resampled_images"]) == (2, 0, 2)
    assert known["as it is"] == known["resampled"]
    assert large["diameter"] == pytest.approx(5 * known["diameter"], rel=0.02)
    assert large["resampled"]["ap50"]["value"] > large["as it is"]["ap50"]["value"]
    low, high = large["resampled"]["ap50"]["interval"]
    assert low <= large["resampled"]["ap50"]["value"] <= high
    assert len(sizes.table(report)) == 2


def test_images_that_become_too_large_are_left_out(store, studies, monkeypatch):
    monkeypatch.setattr(sizes, "FACTORS", (99.0,))
    with pytest.raises(InputError, match="no image of at most"):
        sizes.run(lambda: None, store, studies)


def test_what_cannot_be_measured_is_refused(store, studies):
    with pytest.raises(InputError, match="as they are"):
        sizes.run(lambda: None, store, studies, task="nuclei_vhllrhe")
    with pytest.raises(InputError, match="--studies"):
        sizes.run(lambda: None, store)


def test_image_and_label_keep_their_places(studies):
    item = list_items(studies, labelled=True)[0]
    image = read_item(item, get_task("nuclei"))
    label = np.zeros(image.shape, np.int32)
    label[40:80, 100:140] = 3
    marked = replace(image, pixels=np.where(label > 0, 255, 0).astype(np.uint8), colour=False)
    for factor in (0.5, 3.0):
        made, moved = sizes.resampled(marked, label, factor)
        assert made.shape == moved.shape == tuple(round(side * factor) for side in image.shape)
        assert np.mean((made.pixels > 127) != (moved == 3)) < 0.001
