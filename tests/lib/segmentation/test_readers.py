"""A training takes the last label of each image, the consensus of its readers, or each label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lib.data.groups import Grouped, write_groups
from lib.data.studies import FINAL_LABELS, split_items
from lib.data.versions import write_version
from lib.errors import InputError, NotFoundError
from lib.image import Geometry
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.kinds import list_labelled
from lib.tasks.registry import get_task
from lib.training.batches import PreparedCases
from monailabel_app.studies.agreement import mask_agreement

NUCLEI, STRUCTURES = get_task("nuclei_vhllrhe"), get_task("ultrasound3d_structures")
SIZE = 32, 32
LEFT, RIGHT = slice(4, 16), slice(8, 20)


def mask(columns: slice, value: int = 1) -> np.ndarray:
    label = np.zeros(SIZE, np.int32)
    label[8:24, columns] = value
    return label


def accept(studies: Path, id: str, reader: str, label: np.ndarray) -> None:
    file = studies / FINAL_LABELS / f"{id}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_mask(file, label, Geometry.flat(*SIZE))
    write_version(studies, id, file, reader=reader, ext=".png")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Three images: one of two readers, who both labelled it twice, one of one, one without."""
    for id in ("both", "one", "none"):
        write_mask(tmp_path / f"{id}.png", mask(LEFT, 200), Geometry.flat(*SIZE))
    for reader, columns in (("anna", slice(0, 2)), ("bert", LEFT), ("anna", RIGHT), ("bert", LEFT)):
        accept(tmp_path, "both", reader, mask(columns))
    accept(tmp_path, "one", "anna", mask(LEFT))
    return tmp_path


def labels(studies: Path, readers: str) -> dict[str, np.ndarray]:
    return {item.id: read_label(item.label) for item in list_labelled(studies, NUCLEI, readers)}


def test_latest_is_the_accepted_label_and_the_default(studies):
    found = labels(studies, "latest")
    assert list(found) == ["both", "one"] and np.array_equal(found["both"], mask(LEFT))
    assert [item.id for item in list_labelled(studies, NUCLEI)] == list(found)


def test_each_reader_makes_a_case_with_the_newest_label_in_the_group_of_the_image(studies):
    found = labels(studies, "each")
    assert list(found) == ["both@anna", "both@bert", "one"]
    assert np.array_equal(found["both@anna"], mask(RIGHT))
    assert np.array_equal(found["both@bert"], mask(LEFT))
    items = list_labelled(studies, NUCLEI, "each")
    assert [item.key for item in items] == ["both", "both", "one"]
    for share in (0.1, 0.5, 0.9):
        try:
            training, held = split_items(items, share)
        except InputError:
            continue
        assert not {item.key for item in training} & {item.key for item in held}
    write_groups(studies, [Grouped("both", "patient")])
    assert [item.key for item in list_labelled(studies, NUCLEI, "each")][:2] == ["patient"] * 2


def test_the_cases_of_one_image_have_targets_of_their_own(studies):
    cases = PreparedCases(list_labelled(studies, NUCLEI, "each"), NUCLEI)
    cases.read_all()
    targets = [cases[index][1][0] for index in range(2)]
    assert np.array_equal(targets[0] > 0, mask(RIGHT) > 0)
    assert np.array_equal(targets[1] > 0, mask(LEFT) > 0)


def test_the_consensus_is_one_case_and_is_made_anew_when_a_reader_changes(studies):
    found = labels(studies, "consensus")
    assert list(found) == ["both", "one"]
    assert np.array_equal(found["both"], mask(LEFT) & mask(RIGHT))
    first = {item.id: item.label for item in list_labelled(studies, NUCLEI, "consensus")}
    assert {item.id: item.label for item in list_labelled(studies, NUCLEI, "consensus")} == first
    accept(studies, "both", "anna", mask(LEFT))
    assert np.array_equal(labels(studies, "consensus")["both"], mask(LEFT))
    (item,) = [one for one in list_labelled(studies, NUCLEI, "consensus") if one.id == "both"]
    assert item.label != first["both"]


def test_a_label_that_was_taken_away_counts_no_more(studies):
    write_version(studies, "both", None, reader="unknown")
    accept(studies, "both", "cleo", mask(RIGHT))
    for readers in ("each", "consensus"):
        found = labels(studies, readers)
        assert list(found) == ["both", "one"] and np.array_equal(found["both"], mask(RIGHT))
    (studies / FINAL_LABELS / "both.png").unlink()
    for readers in ("each", "consensus", "latest"):
        assert list(labels(studies, readers)) == ["one"]


def test_structures_are_voted_on_in_volumes(tmp_path):
    shape = (4, 16, 16)
    geometry = Geometry((16, 16, 4), (1.0, 1.0, 2.0), (3.0, 4.0, 5.0), tuple(np.eye(3).ravel()))
    write_mask(tmp_path / "v.nrrd", np.full(shape, 9), geometry)
    (tmp_path / FINAL_LABELS).mkdir(parents=True)
    file = tmp_path / FINAL_LABELS / "v.nrrd"
    for reader, value in (("anna", 1), ("bert", 2), ("cleo", 2)):
        label = np.zeros(shape, int)
        label[1:3] = value
        write_mask(file, label, geometry)
        write_version(tmp_path, "v", file, reader=reader, ext=".nrrd")
    (item,) = list_labelled(tmp_path, STRUCTURES, "consensus")
    found = read_label(item.label, shape)
    assert (found[1:3] == 2).all() and not found[[0, 3]].any()


def test_a_label_that_does_not_fit_is_named_and_so_is_an_unknown_choice(studies):
    file = studies / "small.png"
    write_mask(file, np.ones((5, 6), int), Geometry.flat(5, 6))
    write_version(studies, "both", file, reader="cleo", ext=".png")
    file.unlink()
    with pytest.raises(InputError, match="0005-cleo-.*32"):
        list_labelled(studies, NUCLEI, "consensus")
    from lib.data.reader_choice import read_readers

    with pytest.raises(NotFoundError, match="choice of readers 'al'.*consensus, each, latest"):
        read_readers("al")


def test_readers_are_compared_and_joined_by_the_names_of_their_structures(tmp_path):
    """One reader numbered the cyst 1, the other the gland; a third drew another structure."""
    image = tmp_path / "scan.nrrd"
    truth = np.zeros((8, *SIZE), np.int32)
    truth[2:6, 8:24, 4:20], truth[3:5, 12:16, 8:12] = 1, 2
    grid = Geometry(truth.shape[::-1], (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    write_mask(image, truth * 100, grid)
    final = tmp_path / FINAL_LABELS / "scan.nrrd"
    final.parent.mkdir(parents=True)
    swapped = np.array([0, 2, 1])[truth].astype(np.int32)
    for reader, label, names in (
        ("anna", truth, ("gland", "cyst")),
        ("bert", swapped, ("cyst", "gland")),
        ("carl", swapped, ("bone", "vein")),
    ):
        write_mask(final, label, grid)
        info = {"label_info": [{"name": n, "idx": i, "id": i} for i, n in enumerate(names, 1)]}
        write_version(tmp_path, "scan", final, reader=reader, ext=".nrrd", info=info)
    (item,) = list_labelled(tmp_path, STRUCTURES, "consensus")
    assert item.told == () and np.array_equal(read_label(item.label, truth.shape), truth)
    rows = {tuple(r["readers"]): r for r in mask_agreement(tmp_path, STRUCTURES)["images"]}
    assert rows["anna", "bert"]["dice"] == {"gland": 1, "cyst": 1}
    assert "label of bone, vein" in rows["anna", "carl"]["error"]
    assert all("error" in row for row in mask_agreement(tmp_path, NUCLEI)["images"])
