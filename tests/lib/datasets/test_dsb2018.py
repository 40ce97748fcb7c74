"""DSB 2018 is imported from both layouts, and damaged masks are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.studies import list_items
from lib.datasets.dsb2018 import find_sources, import_dsb2018, join_masks
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def _published(root: Path, id: str, masks: list[np.ndarray], shape=(20, 30)) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 4), dtype=np.uint8)
    _save(root / id / "images" / f"{id}.png", image)
    for number, mask in enumerate(masks):
        _save(root / id / "masks" / f"{number}.png", mask.astype(np.uint8) * 255)


def _box(rows: slice, columns: slice, shape=(20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("below", ["stage1_train", "."])
def test_the_published_layout_is_imported(tmp_path, below):
    source, studies = tmp_path / "dsb", tmp_path / "studies"
    masks = [_box(slice(0, 5), slice(0, 5)), _box(slice(8, 12), slice(10, 25))]
    _published(source / below, "abc", masks)
    _published(source / below, "def", masks[:1])
    seen = []
    assert import_dsb2018(source, studies, lambda *done: seen.append(done)).images == 2
    assert seen == [(1, 2), (2, 2)]
    items = list_items(studies, labelled=True)
    assert [item.id for item in items] == ["abc", "def"]
    label = read_label(items[0].label, (20, 30))
    assert len(np.unique(label)) == 3
    np.testing.assert_array_equal(label > 0, masks[0] | masks[1])
    original = source / below / "abc" / "images" / "abc.png"
    assert items[0].image.read_bytes() == original.read_bytes()


def test_the_compact_layout_is_imported(tmp_path):
    source, studies = tmp_path / "dsb", tmp_path / "studies"
    label = np.zeros((20, 30), np.uint16)
    label[2:5, 2:5], label[9:15, 9:15] = 300, 2
    _save(source / "images" / "a.png", np.zeros((20, 30), np.uint8))
    _save(source / "images" / "b.png", np.zeros((20, 30), np.uint8))
    _save(source / "labels" / "a.png", label)
    assert import_dsb2018(source, studies).images == 2
    labelled = list_items(studies, labelled=True)
    assert [item.id for item in labelled] == ["a"]
    np.testing.assert_array_equal(read_label(labelled[0].label), label)


def test_of_overlapping_masks_the_smaller_stays_whole(tmp_path):
    large, small = _box(slice(0, 15), slice(0, 20)), _box(slice(3, 7), slice(3, 7))
    for order in ([large, small], [small, large]):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        _published(root, "a", order)
        label = join_masks(find_sources(root)[0])
        assert len(np.unique(label)) == 3
        assert len(np.unique(label[small])) == 1
        assert (label > 0).sum() == large.sum()


def test_empty_masks_are_passed_over(tmp_path):
    _published(tmp_path, "a", [np.zeros((20, 30), bool), _box(slice(0, 5), slice(0, 5))])
    assert join_masks(find_sources(tmp_path)[0]).max() == 1


def test_a_mask_of_another_size_is_refused_with_its_name(tmp_path):
    _published(tmp_path / "dsb", "a", [np.ones((20, 31), bool)])
    with pytest.raises(InputError, match=r"0\.png: label has 20 rows and 31 columns, its image"):
        import_dsb2018(tmp_path / "dsb", tmp_path / "studies")


def test_an_image_without_masks_is_imported_without_a_label(tmp_path):
    _published(tmp_path / "dsb", "a", [])
    assert import_dsb2018(tmp_path / "dsb", tmp_path / "studies").images == 1
    assert list_items(tmp_path / "studies")[0].label is None


def test_importing_again_gives_the_same_files(tmp_path):
    _published(tmp_path / "dsb", "a", [_box(slice(0, 5), slice(0, 5))])
    for _ in range(2):
        import_dsb2018(tmp_path / "dsb", tmp_path / "studies")
    files = sorted(p.name for p in (tmp_path / "studies").rglob("*") if p.is_file())
    assert files == ["a.png", "a.png"]
    assert read_image(tmp_path / "studies" / "a.png").shape == (20, 30)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; give the unpacked data set"):
        find_sources(tmp_path / "absent")
    (tmp_path / "something").mkdir()
    with pytest.raises(InputError, match="is not DSB 2018: expected stage1_train/ID/images"):
        find_sources(tmp_path)
