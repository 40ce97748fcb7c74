"""`agreement` and `labels`, and `--readers` of `train` and `evaluate`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.studies import FINAL_LABELS
from lib.data.versions import write_version
from lib.mammography.density_labels import write_density
from monailabel_app.studies.datastore import StudiesDatastore

IMAGE = "nucleus_0"


@pytest.fixture
def folder(studies: Path, tmp_path: Path) -> Path:
    """Eight labelled images, the first by two readers: the second drew it 4 pixels off."""
    folder = tmp_path / "studies"
    shutil.copytree(studies, folder)
    store = StudiesDatastore(str(folder))
    label = np.asarray(Image.open(folder / FINAL_LABELS / f"{IMAGE}.png"))
    for reader, shift in (("anna", 0), ("bert", 4)):
        file = tmp_path / f"{reader}.png"
        Image.fromarray(np.roll(label, shift, 1)).save(file)
        store.save_label(IMAGE, str(file), "final", {"user": reader, "client": "Slicer"})
    return folder


def test_agreement_of_masks(cli, folder, tmp_path):
    ended = cli("agreement", folder, "--task", "nuclei", "--json", tmp_path / "report.json")
    assert ended.status == 0, ended.err
    assert "anna and bert  Dice of nuclei" in ended.out and "(n 1)" in ended.out
    report = json.loads((tmp_path / "report.json").read_text())
    # the label that was there before has the content of anna's, under another name
    pairs = {tuple(row["readers"]): row["dice"]["nuclei"] for row in report["masks"]["images"]}
    assert pairs["anna", "unknown"] == 1 and 0.3 < pairs["anna", "bert"] < 1
    assert report["masks"]["all"]["kappa"]["n"] == 3


def test_agreement_of_densities(cli, exam_studies, tmp_path):
    folder = tmp_path / "exams"
    (folder / FINAL_LABELS).mkdir(parents=True)
    for file in exam_studies.glob("exam_00*"):
        shutil.copyfile(file, folder / file.name)
    for exam, anna, bert in ((0, "A", "A"), (1, "B", "C"), (2, "D", "D")):
        id = f"exam_{exam:03}_R-CC"
        for reader, density in (("anna", anna), ("bert", bert)):
            file = write_density(folder / FINAL_LABELS / f"{id}.json", density)
            write_version(folder, id, file, reader=reader, ext=".json")
    ended = cli("agreement", folder, "--task", "density_birads", "--json", tmp_path / "report.json")
    assert ended.status == 0, ended.err
    assert "3 exams, the same class 66.7 %, linear kappa" in ended.out
    report = json.loads((tmp_path / "report.json").read_text())
    (pair,) = report["densities"]["pairs"]
    assert pair["confusion"][1] == [0, 0, 1, 0] and len(report["densities"]["exams"]) == 3
    assert "masks" not in report


def test_agreement_says_where_there_is_nothing_to_compare(cli, studies, tmp_path):
    assert "has labels of two readers" in cli("agreement", studies).out
    cli("agreement", tmp_path / "none").assert_refused("does not exist")
    cli("agreement", studies, "--task", "nucle").assert_refused("did you mean")


def test_labels_lists_and_puts_back(cli, folder, tmp_path):
    ended = cli("labels", folder, "--image", IMAGE)
    lines = ended.out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("*") and "bert  Slicer" in lines[2]
    ended = cli("labels", folder, "--image", IMAGE, "--restore", 2, "--json", tmp_path / "v.json")
    assert ended.status == 0, ended.err
    assert "version 2 is accepted again" in ended.out and "from 2" in ended.out
    made = json.loads((tmp_path / "v.json").read_text())[IMAGE][-1]
    assert (made["version"], made["reader"], made["restored_from"]) == (4, "anna", 2)
    assert len(cli("labels", folder).out.splitlines()) == 4 + 7  # one of each other image
    cli("labels", folder, "--restore", 1).assert_refused("--restore needs an image")
    cli("labels", folder, "--image", "x").assert_refused("unknown image 'x'")
    cli("labels", folder, "--image", IMAGE, "--restore", 9).assert_refused("no version 9")
    cli("labels", tmp_path / "none").assert_refused("does not exist")


def test_evaluate_takes_the_readers_that_are_chosen(cli, folder, weights, tmp_path):
    counts = {}
    for readers in ("latest", "consensus", "each"):
        file = tmp_path / f"{readers}.json"
        words = ["evaluate", "nuclei_vhllrhe", "--studies", folder, "--weights", weights]
        ended = cli(*words, "--readers", readers, "--device", "cpu", "--json", file)
        assert ended.status == 0, ended.err
        counts[readers] = len(json.loads(file.read_text())["images"])
    assert counts == {"latest": 8, "consensus": 8, "each": 10}
    cli(*words, "--readers", "all").assert_refused("--readers")
