"""HC18 is imported from both layouts, its outlines filled, and the size of a pixel is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from scipy import ndimage

from lib.data.groups import read_groups
from lib.data.studies import list_items
from lib.datasets.hc18 import TABLE, filled_outline, find_frames, import_hc18
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.pixel_size import pixel_size
from lib.io.read import read_image
from lib.phantoms.ultrasound.studies import fetal_frame

SHAPE = (135, 200)  # a quarter of a published frame


def _save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)
    return path


def _outline(label: np.ndarray) -> np.ndarray:
    inside = ndimage.binary_fill_holes(label > 0)
    return (inside & ~ndimage.binary_erosion(inside, iterations=2)).astype(np.uint8) * 255


@pytest.fixture(scope="module")
def heads():
    return [fetal_frame(seed, SHAPE) for seed in range(3)]


@pytest.fixture
def published(heads, tmp_path):
    root = tmp_path / "hc18"
    for name, head in zip(("001_HC", "001_2HC", "007_HC"), heads, strict=True):
        _save(root / "training_set" / f"{name}.png", head.image)
        _save(root / "training_set" / f"{name}_Annotation.png", _outline(head.label))
    lines = ["filename,pixel size(mm),head circumference (mm)"]
    lines += [f"{name}.png,0.1,{60.5 + n}" for n, name in enumerate(("001_HC", "001_2HC"))]
    (root / TABLE).write_text("\n".join(lines))
    return root


@pytest.mark.parametrize("inner", [".", "training_set"])
def test_the_published_layout_is_imported(published, heads, tmp_path, inner):
    report = import_hc18(published / inner, tmp_path / "studies")
    assert report.images == 3 and report.figures["examinations"] == 2
    assert report.figures["circumferences"] == {"001_HC": 60.5, "001_2HC": 61.5}
    items = {item.id: item for item in list_items(tmp_path / "studies", labelled=True)}
    for name, head in zip(("001_HC", "001_2HC", "007_HC"), heads, strict=True):
        image = read_image(items[name].image)
        np.testing.assert_array_equal(image.pixels, head.image)
        label, truth = read_label(items[name].label, image), head.label > 0
        assert 2 * (label & truth).sum() / (label.sum() + truth.sum()) > 0.985
    # 0.1 mm are those of 800 columns; these frames have 200
    assert pixel_size(read_image(items["001_HC"].image)) == pytest.approx((0.4, 0.4))
    assert pixel_size(read_image(items["007_HC"].image)) is None, "the table does not name it"


def test_second_frames_of_an_examination_are_in_its_group(published, tmp_path):
    import_hc18(published, tmp_path / "studies")
    groups = {row.id: row.group for row in read_groups(tmp_path / "studies")}
    assert groups["001_HC"] == groups["001_2HC"] != groups["007_HC"]


def test_copies_with_filled_masks_are_imported(heads, tmp_path):
    root = tmp_path / "copy"
    _save(root / "images" / "003_HC.png", heads[0].image)
    _save(root / "labels" / "003_HC.png", heads[0].label * np.uint8(255))
    import_hc18(root, tmp_path / "studies")
    (item,) = list_items(tmp_path / "studies", labelled=True)
    label = read_label(item.label, read_image(item.image))
    np.testing.assert_array_equal(label, heads[0].label)


def test_an_outline_that_the_frame_cuts_is_filled():
    rows, columns = np.indices((80, 90))
    head = ((rows - 10) / 40) ** 2 + ((columns - 45) / 30) ** 2 <= 1  # its middle is in row 10
    outline = head & ~ndimage.binary_erosion(head, border_value=1)
    assert (filled_outline(outline, "x") != head).mean() < 0.002


def test_what_is_not_the_set_is_refused(published, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not HC18"):
        find_frames(tmp_path / "empty")
    (published / TABLE).write_text("filename,size\n001_HC.png,0.1")
    with pytest.raises(InputError, match="expected columns filename, pixel size"):
        import_hc18(published, tmp_path / "studies")
    with pytest.raises(InputError, match="a.png: nothing is drawn"):
        filled_outline(np.zeros((4, 4), bool), "a.png")
