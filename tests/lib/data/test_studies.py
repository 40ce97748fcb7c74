"""Folders become items, and the split never moves under them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lib.data.groups import Grouped, write_groups
from lib.data.passed_over import find_passed_over
from lib.data.studies import Item, image_ids, in_validation, list_items, split_items
from lib.errors import InputError
from monailabel_app.studies.datastore import StudiesDatastore


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _items(*ids: object) -> list[Item]:
    return [Item(str(id), Path(f"{id}.png"), Path("label.png")) for id in ids]


def _ids(items: list[Item]) -> set[str]:
    return {item.id for item in items}


def test_images_find_their_labels_by_stem(tmp_path):
    _touch(tmp_path / "b.png", tmp_path / "a.nii.gz", tmp_path / "labels/final/a.nrrd")
    found = list_items(tmp_path)
    assert [item.id for item in found] == ["a", "b"]
    assert found[0].label == tmp_path / "labels/final/a.nrrd"
    assert found[1].label is None
    assert list_items(tmp_path, labelled=True) == found[:1]


def test_the_compact_layout_is_known(tmp_path):
    _touch(tmp_path / "images/a.png", tmp_path / "labels/a.png")
    assert list_items(tmp_path) == [Item("a", tmp_path / "images/a.png", tmp_path / "labels/a.png")]


def test_hidden_files_and_other_types_are_passed_over(tmp_path):
    _touch(tmp_path / "a.png", tmp_path / ".a.partial.png", tmp_path / "notes.txt")
    assert _ids(list_items(tmp_path)) == {"a"}


def test_a_name_that_is_not_utf_8_is_passed_over_and_said(tmp_path):
    _touch(tmp_path / "a.png", tmp_path / "labels/final/a.png")
    for folder in (b"", b"labels/final/", b"M\xfcller/"):
        file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + folder + b"caf\xe9.png"))
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert _ids(list_items(tmp_path)) == {"a"}
    found = find_passed_over(tmp_path)
    assert found.files == 2
    said = json.dumps(found.sentences, ensure_ascii=False).encode().decode()
    assert "not UTF-8, such as caf\ufffd.png; rename" in said and "M\ufffdller (1)" in said
    store = StudiesDatastore(str(tmp_path))
    assert store.list_images() == ["a"] and store.get_label_uri("a", "final")


def test_two_files_of_one_stem_go_by_their_whole_names(tmp_path):
    _touch(tmp_path / "a.png", tmp_path / "a.tif")
    assert _ids(list_items(tmp_path)) == {"a.png", "a.tif"}


def test_a_listed_image_keeps_its_id_when_another_of_its_stem_comes():
    assert image_ids(["a.png", "a.tif", "b.png"], {"a.tif": "a"}) == {
        "a.png": "a.png",
        "a.tif": "a",
        "b.png": "b",
    }


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="studies folder '.*absent' does not exist"):
        list_items(tmp_path / "absent")
    with pytest.raises(InputError, match="no images in '.*': expected images at its top"):
        list_items(tmp_path)
    _touch(tmp_path / "a.png")
    with pytest.raises(InputError, match="no labelled images in"):
        list_items(tmp_path, labelled=True)


@pytest.mark.parametrize("split", [0.1, 0.2, 0.5])
def test_the_split_has_about_the_asked_share(split):
    held = sum(in_validation(f"image_{index}", split) for index in range(20_000))
    assert held / 20_000 == pytest.approx(split, abs=0.01)


def test_the_split_is_the_one_it_was():
    held = [index for index in range(40) if in_validation(f"cell_{index}", 0.2)]
    assert held == [0, 1, 3, 5, 6, 22, 35]


@pytest.mark.parametrize("split", [0.05, 0.2, 0.7])
def test_what_was_trained_on_never_becomes_a_validation_case(split):
    """Items arrive one by one, in many orders, from the first two on."""
    for start in range(60):
        items, trained = [], set()
        for index in range(40):
            items += _items(f"case_{start}_{index}")
            try:
                training, validation = split_items(items, split)
            except InputError:
                continue
            assert not _ids(validation) & trained
            assert _ids(training) | _ids(validation) == _ids(items)
            assert not _ids(training) & _ids(validation)
            trained |= _ids(training)
        assert trained


def test_the_split_stays_when_items_are_added_or_reordered():
    before = split_items(_items(*range(50)), 0.2)
    after = split_items(_items(*reversed(range(500))), 0.2)
    assert _ids(before[0]) <= _ids(after[0])
    assert _ids(before[1]) <= _ids(after[1])


def test_two_items_give_one_of_each():
    training, validation = split_items(_items("a", "b"), 0.01)
    assert len(training) == len(validation) == 1


@pytest.mark.parametrize("split", [0, 1, -0.1, 2, float("nan")])
def test_shares_outside_0_to_1_are_refused(split):
    with pytest.raises(InputError, match="val_split must lie between 0 and 1, found"):
        split_items(_items(*range(9)), split)


def test_fewer_than_two_items_are_refused():
    with pytest.raises(InputError, match="at least 2 labelled images .* found 1"):
        split_items(_items("a"), 0.2)


def test_a_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(InputError, match="all 2 labelled images fall into the validation split"):
        split_items(_items("a", "b"), 0.9999)


def test_images_of_a_group_stay_on_one_side_of_the_split(tmp_path):
    names = [f"frame_{index}" for index in range(40)]
    _touch(*(tmp_path / f"{name}.png" for name in names))
    _touch(*(tmp_path / "labels/final" / f"{name}.png" for name in names))
    write_groups(tmp_path, [Grouped(name, f"subject_{i // 5}") for i, name in enumerate(names)])
    items = list_items(tmp_path, labelled=True)
    assert {item.key for item in items} == {f"subject_{index}" for index in range(8)}
    training, validation = split_items(items, 0.3)
    assert len(training) + len(validation) == 40
    assert not {item.group for item in training} & {item.group for item in validation}


def test_a_group_that_is_alone_cannot_be_split(tmp_path):
    items = [Item(f"{index}", tmp_path / f"{index}.png", None, "one") for index in range(4)]
    with pytest.raises(InputError, match="all 4 labelled images fall into the validation"):
        split_items(items, 0.2)
