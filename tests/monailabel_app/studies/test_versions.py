"""Several readers of a folder: nothing is erased, all survives a restart, crowds included."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.versions import VERSIONS, read_versions
from lib.errors import InputError, NotFoundError
from lib.io.labels import read_label
from monailabel_app.studies.datastore import StudiesDatastore

SIZE = 20, 30
SAVES = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images without labels."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / f"{name}.png")
    return folder


def label(folder: Path, value: int, ext: str = ".png") -> str:
    file = folder.parent / f"label_{value}{ext}"
    if not file.exists():
        Image.fromarray(np.full(SIZE, value, np.uint16)).save(file)
    return str(file)


def save(
    store: StudiesDatastore, value: int, reader: str, ext: str = ".png", **info: object
) -> None:
    file = label(store.folder, value, ext)
    store.save_label("a", file, "final", {"client_id": reader, **info})


def values(store: StudiesDatastore) -> list[tuple[str, int]]:
    """Return reader and value of each version that holds a label."""
    versions = [one for one in store.label_versions("a") if one.file]
    return [(one.reader, int(read_label(one.file)[0, 0])) for one in versions]


def final(store: StudiesDatastore) -> int:
    return int(read_label(store.get_label_uri("a", "final"))[0, 0])


def test_a_second_readers_label_erases_nothing_and_a_restart_forgets_nothing(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna", client="Slicer", label_info=[{"name": "nuclei", "idx": 1}])
    save(store, 2, "bert", ".tif")
    save(store, 3, "anna")
    for again in (store, StudiesDatastore(str(folder))):
        assert values(again) == [("anna", 1), ("bert", 2), ("anna", 3)]
        assert final(again) == 3
        assert again.status()["completed"] == 1 and "versions" not in again.status()["label_tags"]
    first = store.label_versions("a")[0]
    assert first.client == "Slicer"
    assert first.info["label_info"] == [{"name": "nuclei", "idx": 1, "id": 1}]
    assert sorted(file.name for file in (folder / "labels" / "final").iterdir()) == ["a.png"]


def test_the_records_are_not_needed(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")
    save(store, 2, "Ärztin 2/b")
    for record in (folder / VERSIONS / "a").glob("*.json"):
        record.unlink()
    (folder / "datastore_v2.json").unlink()
    assert values(StudiesDatastore(str(folder))) == [("anna", 1), ("Ärztin 2/b", 2)]


def test_the_same_label_sent_twice_is_one_version_but_not_after_another(folder):
    store = StudiesDatastore(str(folder))
    for reader in ("anna", "anna", "bert", "anna"):
        save(store, 1, reader)
    assert [reader for reader, _ in values(store)] == ["anna", "bert", "anna"]
    save(store, 1, "anna", label_info=[{"name": "other", "idx": 1}])
    assert len(values(store)) == 4


def test_other_tags_have_no_versions(folder):
    store = StudiesDatastore(str(folder))
    store.save_label("a", label(folder, 1), "original", {"model": "nuclei"})
    assert store.label_versions("a") == [] and not (folder / VERSIONS).exists()
    with pytest.raises(InputError, match="folder of earlier labels"):
        store.save_label("a", label(folder, 1), "versions", {})


def test_a_label_of_before_or_put_there_by_hand_is_kept_before_it_is_replaced(folder):
    (folder / "labels" / "final").mkdir(parents=True)
    target = folder / "labels" / "final" / "a.png"
    shutil.copy(label(folder, 1), target)
    store = StudiesDatastore(str(folder))
    assert values(store) == [("unknown", 1)]  # listed, without a copy
    assert not (folder / VERSIONS).exists()
    save(store, 2, "anna")
    shutil.copy(label(folder, 3), target)
    save(store, 4, "bert", ".tif")
    assert values(store) == [("unknown", 1), ("anna", 2), ("unknown", 3), ("bert", 4)]


def test_the_reader_of_an_index_of_before_is_known(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")
    shutil.rmtree(folder / VERSIONS)
    save(store, 2, "bert")
    assert values(StudiesDatastore(str(folder))) == [("anna", 1), ("bert", 2)]


def test_an_earlier_version_is_put_back_as_a_new_one(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna", client="Slicer")
    save(store, 2, "bert")
    made = store.restore_label("a", 1, "chief")
    assert (made.number, made.reader, made.client) == (3, "anna", "Slicer")
    assert (made.restored_by, made.restored_from) == ("chief", 1)
    assert final(store) == 1 and store.get_label_info("a", "final")["user"] == "anna"
    assert values(StudiesDatastore(str(folder))) == [("anna", 1), ("bert", 2), ("anna", 1)]
    with pytest.raises(NotFoundError, match="no version 7.*it has 1, 2, 3"):
        store.restore_label("a", 7, "chief")
    with pytest.raises(NotFoundError, match="unknown image 'z'"):
        store.restore_label("z", 1, "chief")


def test_a_deleted_label_keeps_its_versions_which_count_no_more_until_one_is_put_back(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")
    save(store, 2, "bert")
    store.remove_label("a", "final")
    assert store.get_unlabeled_images() == ["a", "b"]
    assert store.label_versions("a")[-1].file is None
    assert read_versions(folder, "a")[-1].file is None  # noted at once, with its time
    assert values(StudiesDatastore(str(folder))) == [("anna", 1), ("bert", 2)]
    store.restore_label("a", 2, "chief")
    assert final(store) == 2
    assert [one.number for one in store.label_versions("a") if one.file] == [1, 2, 4]


def test_a_removed_image_leaves_no_version(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")
    store.remove_image("a")
    assert not (folder / VERSIONS / "a").exists()


def test_a_label_that_is_not_accepted_is_no_version(folder, monkeypatch):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")

    def fail() -> None:
        raise OSError("disk")

    monkeypatch.setattr(store, "_update_datastore_file", fail)
    with pytest.raises(OSError, match="disk"):
        save(store, 2, "bert")
    monkeypatch.undo()
    assert values(store) == [("anna", 1)] and final(store) == 1
    assert len(read_versions(folder, "a")) == 1


def _save_many(folder: Path, reader: str) -> None:
    store = StudiesDatastore(str(folder))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: save(store, index, reader), range(1, SAVES // 2 + 1)))


def test_nothing_is_lost_in_two_hundred_saves_of_two_readers_at_once(folder):
    StudiesDatastore(str(folder))
    for index in range(1, SAVES // 2 + 1):
        label(folder, index)
    readers = "anna", "bert"
    context = get_context("fork" if os.name == "posix" else "spawn")
    processes = [context.Process(target=_save_many, args=(folder, name)) for name in readers]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = StudiesDatastore(str(folder))
    found = Counter(values(store))
    assert found == Counter((name, index) for name in readers for index in range(1, SAVES // 2 + 1))
    assert [one.number for one in store.label_versions("a")] == list(range(1, SAVES + 1))
    assert final(store) == values(store)[-1][1]


def test_a_version_that_was_named_by_hand_keeps_no_label_from_being_saved(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, "anna")
    shutil.copyfile(label(folder, 2), folder / VERSIONS / "a" / "0007-bert-20261399T000000Z.png")
    save(store, 3, "anna")
    assert values(store) == [("anna", 1), ("bert", 2), ("anna", 3)]
