"""What 3D Slicer submits is stored by the names of its segments; what no task has is kept aside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from server_support import QUICK, Server, assert_refused

from lib.io.labels import read_label

SHAPE = (8, 16, 16)
TASK = "ultrasound3d_structures"
TRUTH = np.zeros(SHAPE, np.uint8)  # gland 1, cyst 2, artery 3
TRUTH[2:6, 4:12, 4:12] = 1
TRUTH[3:5, 6:9, 6:9] = 2
TRUTH[0, 0] = 3
NUMBERS = {"gland": 1, "cyst": 2, "artery": 3}


def _write(path: Path, pixels: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    return path


@pytest.fixture(scope="module")
def structures(launch) -> Server:
    def prepare(server: Server) -> None:
        server.conf["models"] = f"nuclei,{TASK}"
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, SHAPE, np.uint8)
            _write(server.studies / f"scan_{number}.nrrd", pixels)

    server: Server = launch(prepare)
    return server


def _submit(server: Server, image: str, names: list[str], truth: np.ndarray = TRUTH):
    """Send a label as Slicer does: segments numbered by order, those without a task too."""
    numbers = [0] + [names.index(name) + 1 if name in names else 0 for name in NUMBERS]
    file = _write(server.folder / "submit.nrrd", np.array(numbers, np.uint8)[truth])
    info = [{"name": name, "idx": idx} for idx, name in enumerate(names, start=1)]
    with open(file, "rb") as content:
        return server.put(
            "/datastore/label",
            params={"image": image, "tag": "final"},
            files={"label": (file.name, content)},
            data={"params": json.dumps({"label_info": info})},
        )


def _stored(server: Server, image: str, tag: str = "final") -> np.ndarray:
    return read_label(server.studies / "labels" / tag / f"{image}.nrrd", SHAPE)


def test_segments_in_the_order_of_info_are_stored_by_their_names(structures: Server) -> None:
    labels = structures.get("/info/").json()["labels"]
    assert labels[0] == "nuclei" and {"gland", "cyst"} <= set(labels)
    for image, names in (("scan_0", labels), ("scan_1", labels[::-1])):
        answer = _submit(structures, image, names, np.where(TRUTH == 3, 0, TRUTH))
        assert answer.status_code == 200 and "kept_aside" not in answer.json()
        np.testing.assert_array_equal(_stored(structures, image), np.where(TRUTH == 3, 0, TRUTH))


def test_a_structure_that_no_task_has_is_kept_aside_and_said(structures: Server) -> None:
    answer = _submit(structures, "scan_0", ["artery", "cyst", "gland"])
    assert answer.status_code == 200
    assert answer.json()["kept_aside"] == {"final-foreign": ["artery"]}
    assert "'artery' is no structure of a served task" in structures.log
    np.testing.assert_array_equal(_stored(structures, "scan_0"), np.where(TRUTH == 3, 0, TRUTH))
    np.testing.assert_array_equal(_stored(structures, "scan_0", "final-foreign"), TRUTH == 3)


def test_a_label_of_foreign_structures_alone_is_said_not_to_be_stored(structures: Server) -> None:
    answer = _submit(structures, "scan_2", ["artery", "bone"], (TRUTH == 1).astype(np.uint8) * 3)
    assert answer.json()["label"] == "" and "no served task has" in answer.json()["not_stored"]
    assert not (structures.studies / "labels/final/scan_2.nrrd").exists()
    assert "not_stored" not in _submit(structures, "scan_2", ["gland", "cyst", "artery"]).json()


def test_values_without_a_name_are_refused(structures: Server) -> None:
    before = _stored(structures, "scan_1")
    file = _write(structures.folder / "five.nrrd", TRUTH * np.uint8(2))
    info = json.dumps({"label_info": [{"name": "gland", "idx": 1}, {"name": "cyst", "idx": 2}]})
    with open(file, "rb") as content:
        answer = structures.put(
            "/datastore/label",
            params={"image": "scan_1"},
            files={"label": (file.name, content)},
            data={"params": info},
        )
    assert_refused(answer, 400, "values 2, 4, 6", "'gland' 1, 'cyst' 2", "number the segments")
    np.testing.assert_array_equal(_stored(structures, "scan_1"), before)


def test_a_training_leaves_out_labels_of_other_structures_and_names_them(
    structures: Server,
) -> None:
    assert _submit(structures, "scan_2", ["nuclei", "gland"]).ok
    (structures.studies / "labels" / "final" / "scan_2.nrrd").unlink()
    _write(structures.studies / "labels" / "final" / "scan_2.nrrd", TRUTH * np.uint8(3))
    answer = structures.post(
        f"/train/{TASK}",
        params={"run_sync": True},
        json={**QUICK, "train_batch_size": 1},
    )
    assert answer.status_code == 200, answer.text
    left_out = answer.json()["left_out"]
    assert set(left_out) == {"scan_2"} and "3, 6, 9" in left_out["scan_2"]
    for image in ("scan_0", "scan_1"):
        _write(structures.studies / "labels" / "final" / f"{image}.nrrd", TRUTH * np.uint8(3))
    assert_refused(structures.post(f"/train/{TASK}", json=QUICK), 400, "none of 3 labels is of")
