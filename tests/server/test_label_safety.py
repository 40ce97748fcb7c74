"""No label is lost or torn: kills, crowds, a full disk, a damaged index, two images of one name."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from server_support import ROOT, Server, read_png, write_png

from lib.data.studies import list_items
from lib.errors import InputError, NotFoundError
from monailabel_app.studies.datastore import StudiesDatastore

WRITERS = Path(__file__).with_name("label_writers.py")
KILLS = int(os.environ.get("LABEL_KILLS", "12"))  # at least; 200 for the long form
INDEX = "datastore_v2.json"


def run_writers(*arguments: str, seconds: float) -> str:
    command = [sys.executable, str(WRITERS), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kills_in_the_middle_of_saves_lose_and_tear_nothing(tmp_path: Path) -> None:
    turns = -(-KILLS // 2)
    output = run_writers("kill", str(tmp_path), str(turns), seconds=240 + 10 * KILLS)
    assert f"{2 * turns} kills" in output


def test_saves_by_many_threads_of_two_processes_are_all_there(tmp_path: Path) -> None:
    run_writers("crowd", str(tmp_path), seconds=300)


def test_a_full_disk_keeps_the_old_label_and_says_so(tmp_path: Path) -> None:
    run_writers("full", str(tmp_path), seconds=300)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Four images, the first three with labels."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for number in range(4):
        write_png(folder / f"image_{number}.png", np.zeros((20, 30), np.uint8))
    store = StudiesDatastore(str(folder))
    for number in range(3):
        label = write_png(tmp_path / "label.png", np.full((20, 30), number + 1, np.uint8))
        store.save_label(f"image_{number}", str(label), "final", {"by": "somebody"})
    return folder


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"\0" * len(content),
        lambda content: b'{"objects": 5}',
        lambda content: b"[]",
        lambda content: b"\xff\xfe",
    ],
    ids=["empty", "cut", "zeros", "foreign", "list", "no_text"],
)
def test_a_damaged_index_is_set_aside_and_made_again_from_the_files(
    studies: Path, damage: Callable[[bytes], bytes]
) -> None:
    index = studies / INDEX
    broken = damage(index.read_bytes())
    index.write_bytes(broken)
    store = StudiesDatastore(str(studies))
    assert store.list_images() == [f"image_{number}" for number in range(4)]
    assert store.get_labeled_images() == [f"image_{number}" for number in range(3)]
    assert json.loads(index.read_text())["objects"].keys() == set(store.list_images())
    aside = list(studies.glob(f"{INDEX}.damaged-*"))
    assert [file.read_bytes() for file in aside] == [broken]


def test_an_index_that_is_gone_is_made_again_from_the_files(studies: Path) -> None:
    (studies / INDEX).unlink()
    assert len(StudiesDatastore(str(studies)).get_labeled_images()) == 3
    assert (studies / INDEX).is_file()


def test_readers_never_see_an_index_in_the_making(studies: Path, tmp_path: Path) -> None:
    """Every table that a request may be reading is replaced by a change, never altered."""
    store = StudiesDatastore(str(studies))
    objects = store._datastore.objects
    tables = [objects]
    for item in objects.values():
        tables += [item.labels, item.image.info, *(label.info for label in item.labels.values())]
    before = [dict(table) for table in tables]

    label = str(write_png(tmp_path / "new.png", np.ones((20, 30), np.uint8)))
    store.save_label("image_3", label, "final", {})
    store.save_label("image_0", label, "other", {})
    store.update_image_info("image_0", {"note": 1})
    store.update_label_info("image_1", "final", {"note": 1})
    store.add_image("image_9", label, {})
    (studies / "labels" / "final" / "image_2.png").unlink()
    (studies / "image_1.png").unlink()
    write_png(studies / "image_8.png", np.zeros((20, 30), np.uint8))
    store.refresh()

    assert [dict(table) for table in tables] == before
    assert store.list_images() == ["image_0", "image_2", "image_3", "image_9", "image_8"]
    assert store.get_labeled_images() == ["image_0", "image_3"]


def test_a_label_of_another_file_type_takes_the_place_of_the_old_one(
    studies: Path, tmp_path: Path
) -> None:
    store = StudiesDatastore(str(studies))
    label = tmp_path / "new.tif"
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(label)
    store.save_label("image_0", str(label), "final", {})
    assert [f.name for f in (studies / "labels/final").glob("image_0.*")] == ["image_0.tif"]
    assert StudiesDatastore(str(studies)).get_label_uri("image_0", "final").endswith("image_0.tif")


def _twins(studies: Path) -> None:
    studies.mkdir()
    write_png(studies / "a.png", np.zeros((20, 30), np.uint8))
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(studies / "a.tif")


def test_two_images_of_one_stem_have_their_own_ids_and_labels(tmp_path: Path) -> None:
    studies = tmp_path / "twins"
    _twins(studies)
    store = StudiesDatastore(str(studies))
    assert sorted(store.list_images()) == ["a.png", "a.tif"]
    small = write_png(tmp_path / "small.png", np.full((20, 30), 3, np.uint8))
    large = write_png(tmp_path / "large.png", np.full((40, 50), 4, np.uint8))
    store.save_label("a.png", str(small), "final", {})
    store.save_label("a.tif", str(large), "final", {})
    with pytest.raises(InputError, match="30 x 20"):
        store.save_label("a.tif", str(small), "final", {})
    expected = {"a.png": "a.png.png", "a.tif": "a.tif.png"}
    for index_is_lost in (False, True):
        if index_is_lost:
            (studies / INDEX).unlink()
        for again in (store, StudiesDatastore(str(studies))):
            pairs = {Path(p["image"]).name: Path(p["label"]).name for p in again.datalist()}
            assert pairs == expected
        items = list_items(studies)
        assert {item.image.name: item.label and item.label.name for item in items} == expected


def test_a_label_never_changes_its_image_when_a_twin_comes_and_the_index_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    studies = tmp_path / "twins"
    studies.mkdir()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(studies / "a.tif")
    store = StudiesDatastore(str(studies))
    label = write_png(tmp_path / "label.png", np.full((20, 30), 3, np.uint8))
    store.save_label("a", str(label), "final", {})
    write_png(studies / "a.png", np.zeros((20, 30), np.uint8))
    store.refresh()
    assert sorted(store.list_images()) == ["a", "a.png"]
    pairs = [(item.image.name, bool(item.label)) for item in list_items(studies)]
    assert pairs == [("a.png", False), ("a.tif", True)]
    (studies / INDEX).unlink()
    store = StudiesDatastore(str(studies))
    assert store.datalist() == []
    assert not any(item.label for item in list_items(studies))
    assert (studies / "labels/final/a.png").is_file()
    assert "final/a.png belongs to no image" in caplog.text


def test_a_label_whose_index_cannot_be_written_is_not_saved(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StudiesDatastore(str(studies))
    before = {file: file.read_bytes() for file in studies.rglob("*.png")}
    label = write_png(tmp_path / "new.png", np.full((20, 30), 7, np.uint8))

    def full(lock: bool = True) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "_update_datastore_file", full)
        for image, tag in (("image_0", "final"), ("image_1", "other")):
            with pytest.raises(OSError, match="No space left"):
                store.save_label(image, str(label), tag, {})
    assert {file: file.read_bytes() for file in studies.rglob("*.png")} == before
    assert not list(studies.rglob("*.partial"))
    assert store.get_label_uri("image_1", "other") == ""
    assert store.save_label("image_1", str(label), "other", {}) == "image_1"


def test_names_with_dots_and_capitals_are_one_image_each(tmp_path: Path) -> None:
    for name in ("cell.01.png", "cell.02.PNG", "cell..03.png"):
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / name)
    store = StudiesDatastore(str(tmp_path))
    assert sorted(store.list_images()) == ["cell..03", "cell.01", "cell.02"]
    assert all(Path(store.get_image_uri(image)).is_file() for image in store.list_images())


def test_a_removed_image_takes_its_labels_with_it(studies: Path) -> None:
    store = StudiesDatastore(str(studies))
    store.remove_image("image_0")
    assert not list(studies.rglob("image_0*"))
    with pytest.raises(NotFoundError, match="image_0"):
        store.remove_image("image_0")
    assert len(StudiesDatastore(str(studies)).get_labeled_images()) == 2


# --- through the server --------------------------------------------------------------------------


def test_images_and_labels_that_appear_by_a_rename_are_noticed(calm: Server) -> None:
    write_png(calm.studies / "renamed.png", np.zeros((40, 40), np.uint8))
    try:
        calm.wait_for_image("renamed")
        label = write_png(calm.folder / "label.png", np.ones((40, 40), np.uint8))
        label.replace(calm.studies / "labels" / "final" / "renamed.png")
        calm.wait_for(lambda: "final" in calm.images()["renamed"]["labels"], "the label")
    finally:
        (calm.studies / "renamed.png").unlink()
        (calm.studies / "labels" / "final" / "renamed.png").unlink(missing_ok=True)
    calm.wait_for(lambda: "renamed" not in calm.images(), "the removal")


def test_labels_saved_at_once_through_the_server_are_all_there(calm: Server) -> None:
    tags = [f"crowd{number}" for number in range(8)]
    image = "fluorescence_006"
    files = [
        write_png(calm.folder / f"{tag}.png", np.full((256, 256), number + 1, np.uint8))
        for number, tag in enumerate(tags)
    ]
    threads = [
        threading.Thread(target=calm.save_label, args=(image, file, tag))
        for file, tag in zip(files, tags, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert set(tags) <= set(calm.images()[image]["labels"])
        for number, tag in enumerate(tags):
            saved = calm.get("/datastore/label", params={"label": image, "tag": tag})
            assert (read_png(saved.content) == number + 1).all()
    finally:
        for tag in tags:
            calm.delete("/datastore/label", params={"id": image, "tag": tag})


def test_own_writes_are_not_looked_for_and_those_of_others_are(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    store = StudiesDatastore(str(studies), auto_reload=True)
    reconcile = store._reconcile_datastore

    def look() -> None:
        looks.append(None)
        reconcile()

    monkeypatch.setattr(store, "_reconcile_datastore", look)
    try:
        image = sorted(store.list_images())[0]
        label = tmp_path / "label.png"
        Image.fromarray(np.ones(Image.open(store.get_image_uri(image)).size[::-1], np.uint8)).save(
            label
        )
        for number in range(3):
            store.save_label(image, str(label), "final", {"note": Path(f"{number}")})
        time.sleep(0.5)
        assert not looks
        assert store.get_label_info(image, "final")["note"] == Path("2")
        index = json.loads((studies / "datastore_v2.json").read_text())
        assert index["objects"][image]["labels"]["final"]["info"]["note"] == "2"
        os.replace(label, studies / "labels" / "original" / f"{image}.png")
        deadline = time.monotonic() + 60
        while not store.get_label_info(image, "original"):
            assert time.monotonic() < deadline, "a label of somebody else was not noticed"
            time.sleep(0.05)
    finally:
        store._observer.stop()
