"""`import nerve`, `import busi`, `import stack` and `demo-data --kind` make studies folders."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.studies import list_items
from lib.io.read import read_image
from lib.phantoms.ultrasound.studies import nerve_frame


def _save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


@pytest.fixture
def nerve(tmp_path):
    """One frame twice, with and without its mask."""
    phantom = nerve_frame(1, (84, 116))
    for id, mask in (("3_1", phantom.label * 255), ("3_2", phantom.label * 0)):
        _save(tmp_path / "nerve" / "train" / f"{id}.tif", phantom.image)
        _save(tmp_path / "nerve" / "train" / f"{id}_mask.tif", mask)
    return tmp_path / "nerve"


@pytest.mark.parametrize(("option", "labelled"), [((), 2), (("--drop-contradictions",), 1)])
def test_nerve_is_imported_and_its_contradictions_are_told(cli, nerve, tmp_path, option, labelled):
    ended = cli("import", "nerve", nerve, tmp_path / "studies", *option)
    assert ended.status == 0
    assert "2 images of 1 subjects imported" in ended.out
    assert "1 pairs of nearly equal frames with and without a mask" in ended.out
    assert len(list_items(tmp_path / "studies", labelled=True)) == labelled
    assert (tmp_path / "studies" / "groups.csv").read_text().count("subject_3") == 2


def test_busi_is_imported_and_its_duplicates_are_told(cli, tmp_path):
    image, root = nerve_frame(1, (84, 116)).image, tmp_path / "busi" / "Dataset_BUSI_with_GT"
    for number in (1, 2):
        _save(root / "benign" / f"benign ({number}).png", image)
        _save(root / "benign" / f"benign ({number})_mask.png", np.zeros_like(image))
    ended = cli("import", "busi", tmp_path / "busi", tmp_path / "studies")
    assert ended.status == 0
    assert "2 images imported" in ended.out
    assert "1 pairs show the same, in duplicates.csv: 1 groups to split" in ended.out
    assert "benign_2,benign_1,benign" in (tmp_path / "studies" / "groups.csv").read_text()


def test_a_stack_is_imported_with_its_spacing(cli, tmp_path):
    for number in range(3):
        _save(tmp_path / "case" / f"{number}.png", np.full((6, 8), number, np.uint8))
    words = ("import", "stack", tmp_path / "case", tmp_path / "studies")
    ended = cli(*words, "--spacing", 2, 0.5, 0.25)
    assert ended.status == 0
    assert "1 volumes imported" in ended.out
    (item,) = list_items(tmp_path / "studies")
    assert read_image(item.image, spatial_dims=3).geometry.spacing == (0.25, 0.5, 2.0)
    cli(*words).assert_refused("import stack needs --spacing Z Y X")
    cli(*words, "--spacing", 0, 1, 1).assert_refused("must be positive numbers of mm")


def test_options_of_another_set_are_refused(cli, nerve, tmp_path):
    words = ("import", "nerve", nerve, tmp_path / "studies")
    cli(*words, "--spacing", 1, 1, 1).assert_refused(
        "--spacing is for `import stack`, not for nerve"
    )
    ended = cli("import", "dsb2018", nerve, tmp_path / "studies", "--drop-contradictions")
    ended.assert_refused("--drop-contradictions is for `import nerve`, not for dsb2018")
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(("dataset", "words"), [("nerve", "S_I.tif"), ("busi", "is not BUSI")])
def test_folders_that_are_no_data_set_are_refused(cli, tmp_path, dataset, words):
    (tmp_path / "empty").mkdir()
    cli("import", dataset, tmp_path / "absent", tmp_path / "s").assert_refused("does not exist")
    cli("import", dataset, tmp_path / "empty", tmp_path / "s").assert_refused(words)
    assert not (tmp_path / "s").exists()


def test_demo_data_makes_ultrasound_studies(cli, tmp_path):
    words = ("demo-data", tmp_path / "us", "--kind", "ultrasound", "--count", 2, "--labelled", 1)
    ended = cli(*words)
    assert ended.status == 0
    names = {item.id for item in list_items(tmp_path / "us")}
    assert names == {"nerve_000", "breast_000", "gland_000", "gland_001", "cine_000"}


def test_demo_data_in_the_nerve_layout_can_be_imported(cli, tmp_path):
    ended = cli("demo-data", tmp_path / "k", "--kind", "nerve", "--count", 2)
    assert ended.status == 0
    assert "3 images of 2 subjects" in ended.out
    ended = cli("import", "nerve", tmp_path / "k", tmp_path / "studies")
    assert "3 images of 2 subjects imported" in ended.out
