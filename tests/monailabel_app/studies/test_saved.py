"""The saved work on a study of a folder: who, when, which is current, and what opens it again."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.errors import NotFoundError
from lib.phantoms.mammograms.exams import write_exams
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.saved import saved_work

SIZE = 20, 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images without labels."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(folder / f"{name}.png")
    return folder


def save(store: StudiesDatastore, value: int, tag: str = "final", **info: object) -> None:
    file = store.folder.parent / f"label_{value}.png"
    Image.fromarray(np.full(SIZE, value, np.uint8)).save(file)
    store.save_label("a", str(file), tag, info)


def test_the_newest_comes_first_and_tells_who_when_and_of_which_model(folder):
    store = StudiesDatastore(str(folder))
    start = datetime.now(timezone.utc).replace(microsecond=0)
    assert saved_work(store, "a") == []
    save(store, 1, client_id="anna", model="nuclei")
    save(store, 2, client_id="bert")
    save(store, 3, "original", model="nuclei_click", user="anna")
    found = {(one.tag, one.version): one for one in saved_work(store, "a")}
    assert found.keys() == {("final", 1), ("final", 2), ("original", None)}
    told = {key: (one.by, one.model, one.current) for key, one in found.items()}
    assert told == {
        ("final", 1): ("anna", "nuclei", False),
        ("final", 2): ("bert", "", True),
        ("original", None): ("model nuclei_click", "nuclei_click", True),
    }
    versions = [one.version for one in saved_work(store, "a") if one.tag == "final"]
    assert versions == [2, 1]
    for one in found.values():
        assert one.image == "a" and one.kind == "segmentation"
        assert timedelta(0) <= datetime.fromisoformat(one.when) - start < timedelta(minutes=5)
        assert not {"density", "answer"} & one.as_dict().keys()
    assert saved_work(store, "b") == [], "another image is another study"
    with pytest.raises(NotFoundError, match="unknown image 'c'"):
        saved_work(store, "c")


def test_what_was_put_back_is_current_and_what_was_removed_is_not(folder):
    store = StudiesDatastore(str(folder))
    save(store, 1, client_id="anna")
    save(store, 2, client_id="bert")
    store.restore_label("a", 1, "chief")
    assert [(one.by, one.current) for one in saved_work(store, "a")] == [
        ("anna", True),
        ("bert", False),
        ("anna", False),
    ]
    store.remove_label("a", "final")
    assert [one.current for one in saved_work(store, "a")] == [False] * 3


def test_an_exam_lists_the_densities_of_all_its_views_and_the_newest_counts(tmp_path):
    folder = tmp_path / "studies"
    write_exams(folder, exams=2, labelled=0, seed=3, scale=0.03)
    store = StudiesDatastore(str(folder))
    exams = store.exam_ids()
    exam = next(iter(exams.values()))
    views = sorted(id for id, one in exams.items() if one == exam)
    assert len(views) == 4
    for number, (view, density) in enumerate(zip(views, "BC", strict=False)):
        file = tmp_path / "answer.json"
        file.write_text(json.dumps({"density": density, "percent_density": {"L-CC": 12.5}}))
        store.save_label(view, str(file), "final", {"client_id": f"reader {number}"})
    found = saved_work(store, views[3])
    assert sorted((one.density, one.by, one.kind) for one in found) == [
        ("B", "reader 0", "density"),
        ("C", "reader 1", "density"),
    ]
    assert sum(one.current for one in found) == 1 and found[0].current
    assert found[0].as_dict()["answer"] == {"percent_density": {"L-CC": 12.5}}
    other = next(id for id, one in exams.items() if one != exam)
    assert saved_work(store, other) == []
