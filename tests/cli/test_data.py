"""`demo-data` and `import` make studies folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.studies import list_items
from lib.io.labels import read_label


def _save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("kind", "stem"),
    [("volumes", "gland"), ("poor-volumes", "poor"), ("loops", "cine"), ("breast", "breast")],
)
def test_demo_data_makes_one_kind_of_ultrasound_alone(kind, stem, cli, tmp_path):
    ended = cli("demo-data", tmp_path, "--kind", kind, "--count", 2, "--labelled", 1)
    assert ended.status == 0
    assert [item.id for item in list_items(tmp_path)] == [f"{stem}_000", f"{stem}_001"]
    assert [item.id for item in list_items(tmp_path, labelled=True)] == [f"{stem}_000"]


def test_demo_data_makes_a_studies_folder_and_keeps_it(cli, tmp_path):
    folder = tmp_path / "demo"
    words = ("demo-data", folder, "--count", 3, "--labelled", 2, "--seed", 5)
    ended = cli(*words)
    assert ended.status == 0
    assert "3 images in" in ended.out
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    assert len(before) == 5
    assert len(list_items(folder, labelled=True)) == 2
    assert cli(*words).status == 0
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_demo_data_depends_on_the_seed_alone(cli, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cli("demo-data", tmp_path / name, "--count", 1, "--labelled", 1, "--seed", seed)
    a, b, c = ((tmp_path / n / "fluorescence_000.png").read_bytes() for n in "abc")
    assert a == b != c


@pytest.mark.parametrize("layout", ["published", "compact"])
def test_dsb2018_is_imported_from_both_layouts(cli, tmp_path, layout):
    source, image = tmp_path / "dsb", np.zeros((20, 30), np.uint8)
    one, two = np.zeros((2, 20, 30), np.uint8)
    one[2:12, 2:12], two[8:11, 8:11] = 255, 255  # overlapping
    if layout == "published":
        _save(source / "stage1_train/a/images/a.png", image)
        _save(source / "stage1_train/a/masks/1.png", one)
        _save(source / "stage1_train/a/masks/2.png", two)
    else:
        _save(source / "images/a.png", image)
        _save(source / "labels/a.png", np.where(two, 2, one // 255).astype(np.uint8))
    ended = cli("import", "dsb2018", source, tmp_path / "studies")
    assert ended.status == 0
    assert "1 images imported" in ended.out
    (item,) = list_items(tmp_path / "studies", labelled=True)
    label = read_label(item.label)
    assert np.unique(label).tolist() == [0, 1, 2]
    assert (label == 2).sum() == 9


def test_a_mask_of_another_size_is_refused(cli, tmp_path):
    _save(tmp_path / "dsb/a/images/a.png", np.zeros((20, 30), np.uint8))
    _save(tmp_path / "dsb/a/masks/odd.png", np.full((20, 31), 255, np.uint8))
    ended = cli("import", "dsb2018", tmp_path / "dsb", tmp_path / "studies")
    ended.assert_refused("odd.png", "20 rows and 31 columns, its image has 20 and 30")


def test_folders_that_are_no_data_set_are_refused(cli, tmp_path):
    target = tmp_path / "studies"
    cli("import", "dsb2018", tmp_path / "absent", target).assert_refused("does not exist")
    (tmp_path / "empty").mkdir()
    cli("import", "dsb2018", tmp_path / "empty", target).assert_refused("is not DSB 2018")
    assert not target.exists()


def test_a_file_where_a_folder_should_be_is_refused(cli, tmp_path):
    (tmp_path / "file").touch()
    cli("demo-data", tmp_path / "file").assert_refused("file")
