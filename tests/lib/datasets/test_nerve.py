"""The Kaggle nerve layout is imported by subject, and its contradictory frames are found."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.groups import read_groups
from lib.data.studies import list_items
from lib.datasets.nerve import find_frames, import_nerve
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.ultrasound.studies import nerve_frame, write_nerve_phantoms

SIDE = (84, 116)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def _frame(train: Path, id: str, image: np.ndarray, mask: np.ndarray) -> None:
    _save(train / f"{id}.tif", image)
    _save(train / f"{id}_mask.tif", mask.astype(np.uint8) * 255)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Subject 1: a nerve, nearly the same without mask, another; subject 10: the same unmarked."""
    train, nerve = tmp_path / "nerve" / "train", nerve_frame(1, SIDE)
    again = np.roll((nerve.image * 0.8).astype(np.uint8), 1, axis=0)
    other = nerve_frame(2, SIDE, present=False)
    empty = np.zeros(SIDE)
    _frame(train, "1_1", nerve.image, nerve.label)
    _frame(train, "1_2", again, empty)
    _frame(train, "1_10", other.image, empty)
    _frame(train, "10_1", nerve.image, empty)
    return tmp_path / "nerve"


@pytest.mark.parametrize("inner", [".", "train"])
def test_frames_are_listed_by_subject_and_number(source, inner):
    frames = find_frames(source / inner)
    assert [frame.id for frame in frames] == ["1_1", "1_2", "1_10", "10_1"]
    assert [frame.subject for frame in frames] == [1, 1, 1, 10]
    assert all(frame.mask for frame in frames)


def test_masks_become_0_and_1_and_images_stay_as_they_are(source, tmp_path):
    seen = []
    report = import_nerve(source, tmp_path / "studies", lambda *done: seen.append(done))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.figures["frames"] == {1: 3, 10: 1}
    assert report.figures["marked"] == {1: 1}
    items = {item.id: item for item in list_items(tmp_path / "studies", labelled=True)}
    assert sorted(items) == ["10_1", "1_1", "1_10", "1_2"]
    np.testing.assert_array_equal(read_label(items["1_1"].label), nerve_frame(1, SIDE).label)
    assert not read_label(items["1_2"].label).any()
    assert items["1_1"].image.read_bytes() == (source / "train" / "1_1.tif").read_bytes()
    assert read_image(items["1_1"].image).shape == SIDE


def test_copies_with_images_beside_labels_are_the_same_set(source, tmp_path):
    copy = tmp_path / "copy"
    for file in (source / "train").iterdir():
        folder = copy / ("labels" if "_mask" in file.name else "images")
        folder.mkdir(parents=True, exist_ok=True)
        file.rename(folder / file.name.replace("_mask", ""))
    report = import_nerve(copy, tmp_path / "studies")
    assert report.figures["frames"] == {1: 3, 10: 1} and report.figures["marked"] == {1: 1}
    assert [frame.id for frame in find_frames(copy)] == ["1_1", "1_2", "1_10", "10_1"]

    (copy / "images" / "1_2.tif").rename(copy / "images" / "scan.tif")
    with pytest.raises(InputError, match=r"scan\.tif .*tells no subject: expected S_I"):
        find_frames(copy)


def test_frames_of_a_subject_are_one_group(source, tmp_path):
    import_nerve(source, tmp_path)
    rows = {row.id: (row.group, row.kind) for row in read_groups(tmp_path)}
    assert rows == {
        "1_1": ("subject_1", "nerve"),
        "1_2": ("subject_1", "empty"),
        "1_10": ("subject_1", "empty"),
        "10_1": ("subject_10", "empty"),
    }


def test_contradictory_frames_of_a_subject_are_found_and_listed(source, tmp_path):
    report = import_nerve(source, tmp_path / "studies")
    (pair,) = report.figures[
        "contradictions"
    ]  # 10_1 equals 1_1, but another subject's frame cannot
    assert (pair.marked, pair.empty) == ("1_1", "1_2")
    assert pair.correlation > 0.85
    assert pair.pixels == nerve_frame(1, SIDE).label.sum()
    with open(tmp_path / "studies" / "contradictions.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["marked"], row["empty"]) == ("1_1", "1_2")


def test_contradictory_frames_can_be_imported_without_label(source, tmp_path):
    import_nerve(source, tmp_path, drop_contradictions=True)
    assert sorted(i.id for i in list_items(tmp_path, labelled=True)) == ["10_1", "1_1", "1_10"]
    assert len(list_items(tmp_path)) == 4


def test_the_test_part_is_imported_without_labels(source, tmp_path):
    for mask in (source / "train").glob("*_mask.tif"):
        mask.unlink()
    report = import_nerve(source, tmp_path)
    assert report.figures["marked"] == {}
    assert report.figures["contradictions"] == ()
    assert all(item.label is None for item in list_items(tmp_path))


def test_a_mask_of_another_size_is_refused_with_its_name(source, tmp_path):
    _save(source / "train" / "1_2_mask.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"1_2_mask\.tif: label has 9 rows"):
        import_nerve(source, tmp_path)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; give the unpacked data set"):
        find_frames(tmp_path / "absent")
    _save(tmp_path / "image.tif", np.zeros((4, 4), np.uint8))
    with pytest.raises(
        InputError, match="is not ultrasound-nerve-segmentation: expected train/S_I"
    ):
        find_frames(tmp_path)


def test_phantoms_in_the_layout_hold_empty_masks_and_the_fault(tmp_path):
    count = write_nerve_phantoms(tmp_path / "k", 5, subjects=2, frames=4, size=SIDE)
    assert count == 9
    report = import_nerve(tmp_path / "k", tmp_path / "studies")
    assert report.figures["frames"] == {1: 5, 2: 4}
    assert report.figures["marked"] == {1: 2, 2: 2}
    assert [(pair.marked, pair.empty) for pair in report.figures["contradictions"]] == [
        ("1_1", "1_5")
    ]
    before = {path.name: path.read_bytes() for path in (tmp_path / "k").rglob("*.tif")}
    write_nerve_phantoms(tmp_path / "k", 5, subjects=2, frames=4, size=SIDE)
    assert {path.name: path.read_bytes() for path in (tmp_path / "k").rglob("*.tif")} == before
