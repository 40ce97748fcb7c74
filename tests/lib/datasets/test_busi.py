"""BUSI is imported from both layouts, its masks joined and its duplicates grouped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from duplicates_samples import SIDE, image, marked
from PIL import Image as PillowImage

from lib.data.groups import read_groups
from lib.data.studies import list_items
from lib.datasets.busi import find_images, import_busi, join_masks
from lib.errors import InputError
from lib.io.labels import read_label


def _save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)
    return path


def _box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIDE, np.uint8)
    mask[rows, columns] = 255
    return mask


@pytest.fixture
def published(tmp_path: Path) -> Path:
    root = tmp_path / "busi" / "Dataset_BUSI_with_GT"
    rgb = np.repeat(image(1)[..., None], 3, axis=2)
    _save(root / "benign" / "benign (1).png", rgb)
    _save(root / "benign" / "benign (1)_mask.png", _box(slice(2, 12), slice(2, 12)))
    _save(root / "benign" / "benign (1)_mask_1.png", _box(slice(8, 20), slice(8, 30)))
    _save(root / "benign" / "benign (12).png", image(2))
    _save(root / "malignant" / "malignant (1).png", marked(image(1)))
    _save(root / "malignant" / "malignant (1)_mask.png", np.zeros((100, 140), bool))
    _save(root / "normal" / "normal (1).png", image(3))
    return tmp_path / "busi"


@pytest.mark.parametrize("inner", [".", "Dataset_BUSI_with_GT"])
def test_images_are_found_with_their_class_and_masks(published, inner):
    items = find_images(published / inner)
    assert [item.id for item in items] == ["benign_1", "benign_12", "malignant_1", "normal_1"]
    assert [item.kind for item in items] == ["benign", "benign", "malignant", "normal"]
    assert [len(item.masks) for item in items] == [2, 0, 1, 0]


def test_several_masks_of_an_image_are_joined(published):
    label = join_masks(find_images(published)[0])
    expected = _box(slice(2, 12), slice(2, 12)) | _box(slice(8, 20), slice(8, 30))
    np.testing.assert_array_equal(label, expected // 255)


def test_the_published_layout_is_imported(published, tmp_path):
    seen = []
    report = import_busi(published, tmp_path / "studies", lambda *done: seen.append(done))
    assert seen[-1] == (4, 4)
    assert report.figures["classes"] == {"benign": 2, "malignant": 1, "normal": 1}
    labelled = {item.id: item for item in list_items(tmp_path / "studies", labelled=True)}
    assert sorted(labelled) == ["benign_1", "malignant_1", "normal_1"]  # benign_12 has no mask
    assert np.unique(read_label(labelled["benign_1"].label)).tolist() == [0, 1]
    assert not read_label(labelled["normal_1"].label).any()


def test_duplicates_are_one_group_also_across_classes(published, tmp_path):
    report = import_busi(published, tmp_path)
    assert report.figures["groups"] == 3
    assert [pair[:2] for pair in report.figures["duplicates"]] == [("benign_1", "malignant_1")]
    assert report.figures["mixed"] == (("benign_1", "malignant_1"),)
    rows = {row.id: (row.group, row.kind) for row in read_groups(tmp_path)}
    assert rows == {
        "benign_1": ("benign_1", "benign"),
        "benign_12": ("benign_12", "benign"),
        "malignant_1": ("benign_1", "malignant"),
        "normal_1": ("normal_1", "normal"),
    }
    with open(tmp_path / "duplicates.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["class"], row["other_class"]) == ("benign", "malignant")
    assert 0.3 <= float(row["correlation"]) <= 1


@pytest.mark.parametrize("listed", [True, False])
def test_the_compact_layout_is_imported(tmp_path, listed):
    source = tmp_path / "busi"
    for id, seed in (("benign_3", 1), ("normal_7", 2)):
        _save(source / "images" / f"{id}.png", image(seed))
        _save(source / "labels" / f"{id}.png", _box(slice(0, 5), slice(0, seed % 2 * 5)))
    if listed:
        (source / "labels.csv").write_text(
            "id,class,mask_px\nbenign_3,benign,25\nnormal_7,normal,0\n"
        )
    report = import_busi(source, tmp_path / "studies")
    assert report.figures["classes"] == {"benign": 1, "normal": 1}
    items = list_items(tmp_path / "studies", labelled=True)
    assert [read_label(item.label).sum() for item in items] == [25, 0]


def test_a_table_without_classes_is_refused(tmp_path):
    _save(tmp_path / "images" / "a.png", image(1))
    _save(tmp_path / "labels" / "a.png", _box(slice(0, 5), slice(0, 5)))
    (tmp_path / "labels.csv").write_text("name,kind\n")
    with pytest.raises(InputError, match=r"labels\.csv: columns name, kind, expected id and class"):
        find_images(tmp_path)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; give the unpacked data set"):
        find_images(tmp_path / "absent")
    with pytest.raises(InputError, match="is not BUSI: expected Dataset_BUSI_with_GT/benign"):
        find_images(tmp_path)


def test_a_mask_of_another_size_is_refused_with_its_name(published, tmp_path):
    mask = published / "Dataset_BUSI_with_GT" / "benign" / "benign (1)_mask_1.png"
    _save(mask, np.zeros((7, 7), np.uint8))
    with pytest.raises(InputError, match=r"benign \(1\)_mask_1\.png: label has 7 rows"):
        import_busi(published, tmp_path / "studies")
