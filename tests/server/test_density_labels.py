"""Answers on density in the studies folder, and what training makes of them. No server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lib.errors import InputError
from lib.image import Geometry
from lib.io.masks import write_mask
from lib.io.read import image_size
from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.studies.datastore import StudiesDatastore
from trainers.classification import ClassificationTrain
from trainers.segmentation import SegmentationTrain


@pytest.fixture
def store(exam_studies: Path, tmp_path: Path) -> StudiesDatastore:
    """A studies folder of two exams, labelled in each view."""
    folder = tmp_path / "studies"
    for file in exam_studies.rglob("exam_00[01]_*"):
        target = folder / file.relative_to(exam_studies)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return StudiesDatastore(str(folder))


def _densities(store: StudiesDatastore, tmp_path: Path) -> dict[str, set[str | None]]:
    task = TASKS["density_birads"]
    trainer = ClassificationTrain(task, ModelStore(tmp_path / "models", tmp_path / "shipped"))
    found: dict[str, set[str | None]] = {}
    for item in trainer.items(store, task):
        found.setdefault(item.id.rsplit("_", 1)[0], set()).add(item.density)
    return found


def test_answers_that_lie_in_the_folder_are_listed(store):
    assert len(store.get_labeled_images()) == 8
    assert store.get_label_uri("exam_000_R-CC", "final").endswith("exam_000_R-CC.json")


@pytest.mark.parametrize("kind", [".json", ".png"])
def test_the_corrected_label_of_one_view_is_that_of_the_exam(store, tmp_path, kind):
    before = _densities(store, tmp_path)
    new = next(name for name in "ABCD" if {name} != before["exam_000"])
    file = tmp_path / f"answer{kind}"
    if kind == ".json":
        file.write_text(json.dumps({"density": new}))
    else:
        columns, rows = image_size(store.get_image_uri("exam_000_L-MLO"))
        label = np.zeros((rows, columns), np.uint8)
        label[5:9, 5:9] = "ABCD".index(new) + 1
        write_mask(file, label, Geometry.flat(rows, columns))
    store.save_label("exam_000_L-MLO", str(file), "final", {})
    assert _densities(store, tmp_path) == {**before, "exam_000": {new}}
    assert store.get_label_uri("exam_000_L-MLO", "final").endswith(f"exam_000_L-MLO{kind}")


def test_a_refused_answer_leaves_the_one_before(store, tmp_path):
    before = _densities(store, tmp_path)
    (tmp_path / "bad.json").write_text('{"density": 7}')
    with pytest.raises(InputError, match=r"'exam_000_R-CC\.dcm' refused: density '7', expected A"):
        store.save_label("exam_000_R-CC", str(tmp_path / "bad.json"), "final", {})
    assert _densities(store, tmp_path) == before


def test_answers_on_density_are_no_cases_of_segmentation(store, tmp_path):
    task = TASKS["nuclei_vhllrhe"]
    trainer = SegmentationTrain(task, ModelStore(tmp_path / "models", tmp_path / "shipped"))
    with pytest.raises(InputError, match="no labelled images"):
        trainer.items(store, task)
