"""Phantoms repeat with their seed, and their labels are true."""

from __future__ import annotations

import numpy as np
import pytest

from lib.data.studies import list_items
from lib.errors import NotFoundError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies

STAINS = pytest.mark.parametrize("stain", ["fluorescence", "histology"])


@STAINS
def test_a_seed_gives_one_phantom(stain):
    one, again, other = (nuclei_phantom(seed, stain, 64, 48, 8) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert not np.array_equal(one[1], other[1])
    assert one[0].dtype == np.uint8
    assert one[0].shape == ((64, 48) if stain == "fluorescence" else (64, 48, 3))


@STAINS
def test_nuclei_are_numbered_without_gaps_and_look_unlike_their_surroundings(stain):
    image, label = nuclei_phantom(7, stain, 64, 64, 8)
    assert np.unique(label).tolist() == list(range(6))
    assert int((label > 0).sum()) == 878
    grey = image if image.ndim == 2 else image.mean(axis=2)
    difference = grey[label > 0].mean() - grey[label == 0].mean()
    assert difference > 30 if stain == "fluorescence" else difference < -30


def test_an_unknown_stain_is_refused():
    with pytest.raises(NotFoundError, match="unknown stain 'histologi': did you mean 'histology'"):
        nuclei_phantom(0, "histologi")


def test_studies_have_as_many_images_and_labels_as_asked(tmp_path):
    paths = write_nuclei_studies(tmp_path, count=4, labelled=2)
    items = list_items(tmp_path)
    assert [item.image for item in items] == sorted(paths)
    assert sum(item.label is not None for item in items) == 2
    for item in list_items(tmp_path, labelled=True):
        assert read_label(item.label, read_image(item.image).shape).max() > 5


def test_what_is_there_already_is_kept(tmp_path):
    write_nuclei_studies(tmp_path, count=2, labelled=2)
    mine = tmp_path / "labels/final/fluorescence_000.png"
    mine.write_bytes(b"corrected by hand")
    write_nuclei_studies(tmp_path, count=3, labelled=3)
    assert mine.read_bytes() == b"corrected by hand"
    assert len(list_items(tmp_path)) == 3
