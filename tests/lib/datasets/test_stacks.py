"""Slices become volumes in natural order, with their labels and spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.studies import Item, list_items
from lib.datasets.stacks import (
    grey,
    import_stack,
    list_slices,
    natural_key,
    stack_labels,
    stack_slices,
)
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.io.volumes import save_volume

SPACING = (2.0, 0.5, 0.25)


def _save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)
    return path


def _slices(folder: Path, count: int = 11, shape=(6, 8)) -> list[Path]:
    values = [np.full(shape, 10 * n, np.uint8) for n in range(count)]
    return [_save(folder / f"frame_{n}.png", value) for n, value in enumerate(values)]


def test_natural_order_counts():
    names = ["s10.png", "s2.png", "S1.png", "s2b.png", "a.png"]
    assert sorted(names, key=natural_key) == ["a.png", "S1.png", "s2.png", "s2b.png", "s10.png"]


def test_slices_are_stacked_in_natural_order(tmp_path):
    _slices(tmp_path)
    volume = stack_slices(list_slices(tmp_path))
    assert volume.shape == (11, 6, 8)
    assert volume[:, 0, 0].tolist() == [10 * n for n in range(11)]


def test_wide_pixels_stay_wide_and_colour_becomes_luminance(tmp_path):
    wide = _save(tmp_path / "wide.png", np.full((4, 4), 40000, np.uint16))
    assert stack_slices([wide]).dtype == np.uint16
    assert stack_slices([wide]).max() == 40000
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert grey(red).tolist() == np.full((4, 4), 60).tolist()
    assert stack_slices([_save(tmp_path / "red.png", red)]).max() == 60


def test_a_slice_without_label_is_background(tmp_path):
    label = _save(tmp_path / "l.png", np.full((6, 8), 3, np.uint8))
    stacked = stack_labels([Item("a", label), Item("b", label, label)], (6, 8))
    assert stacked.shape == (2, 6, 8)
    assert stacked.max(axis=(1, 2)).tolist() == [0, 3]


def test_a_folder_becomes_one_labelled_volume_with_its_spacing(tmp_path):
    source, studies = tmp_path / "case_a", tmp_path / "studies"
    _slices(source, 3)
    _save(source / "labels" / "final" / "frame_1.png", np.eye(6, 8, dtype=np.uint8))
    seen = []
    assert (
        import_stack(source, studies, lambda *done: seen.append(done), spacing=SPACING).images == 1
    )
    assert seen == [(1, 1)]
    (item,) = list_items(studies, labelled=True)
    assert item.id == "case_a"
    volume = read_image(item.image, spatial_dims=3)
    assert volume.shape == (3, 6, 8)
    assert volume.geometry.spacing == SPACING[::-1]
    label = read_label(item.label, volume.shape)
    np.testing.assert_array_equal(label[1], np.eye(6, 8))
    assert not label[[0, 2]].any()


def test_each_folder_of_a_folder_becomes_a_volume(tmp_path):
    _slices(tmp_path / "in" / "one" / "images", 2)
    _save(tmp_path / "in" / "one" / "labels" / "frame_0.png", np.ones((6, 8), np.uint8))
    _slices(tmp_path / "in" / "two", 3, (4, 4))
    assert import_stack(tmp_path / "in", tmp_path / "out", spacing=SPACING).images == 2
    assert [item.id for item in list_items(tmp_path / "out")] == ["one", "two"]
    assert [item.id for item in list_items(tmp_path / "out", labelled=True)] == ["one"]


def test_unlike_slices_are_refused_with_their_names(tmp_path):
    files = _slices(tmp_path, 2)
    odd = _save(tmp_path / "odd.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(
        InputError, match=r"odd\.png: 6 rows and 9 columns, the first slice frame_0"
    ):
        stack_slices([*files, odd])
    wide = _save(tmp_path / "wide.png", np.zeros((6, 8), np.uint16))
    with pytest.raises(InputError, match=r"wide\.png: values of type uint16, the first slice"):
        stack_slices([*files, wide])
    with pytest.raises(InputError, match="no slices to stack"):
        stack_slices([])


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1, float("nan"))])
def test_a_spacing_that_is_no_length_is_refused(tmp_path, spacing):
    _slices(tmp_path / "in", 2)
    with pytest.raises(InputError, match="must be positive numbers of mm, found"):
        import_stack(tmp_path / "in", tmp_path / "out", spacing=spacing)
    assert not (tmp_path / "out").exists()


def test_folders_without_slices_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist; give a folder of 2D slices"):
        import_stack(tmp_path / "absent", tmp_path / "out", spacing=SPACING)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in .*expected 2D slices of one volume"):
        import_stack(tmp_path / "empty", tmp_path / "out", spacing=SPACING)


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OSError):
        save_volume(tmp_path / "absent" / "a.nrrd", np.zeros((2, 3, 4), np.uint8), SPACING)
    save_volume(tmp_path / "a.nrrd", np.zeros((2, 3, 4), np.uint8), SPACING)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]
