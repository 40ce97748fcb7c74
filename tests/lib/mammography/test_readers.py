"""Densities of several readers: which a training takes, and how far the readers agree."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from lib.data.reader_choice import READERS
from lib.data.studies import FINAL_LABELS
from lib.data.versions import write_version
from lib.kinds import list_labelled
from lib.mammography.agreement import compare_densities
from lib.mammography.density_labels import read_density, write_density
from lib.mammography.exams import list_exams
from lib.mammography.readers import exam_labels_of_readers
from lib.tasks.registry import get_task
from monailabel_app.studies.datastore import StudiesDatastore

TASK = get_task("density_birads")
FIRST, SECOND = "exam_000", "exam_001"


@pytest.fixture
def studies(exam_studies: Path, tmp_path: Path) -> Path:
    """Two exams of four views without labels."""
    folder = tmp_path / "studies"
    (folder / FINAL_LABELS).mkdir(parents=True)
    for file in [*exam_studies.glob("exam_00[01]_*"), exam_studies / "groups.csv"]:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    return folder


def accept(studies: Path, id: str, reader: str, density: str) -> None:
    file = write_density(studies / FINAL_LABELS / f"{id}.json", density)
    write_version(studies, id, file, reader=reader, ext=".json")


def densities(studies: Path, readers: str) -> dict[str, str]:
    """Return the density of each exam, by the ids of its views without the view."""
    items = list_labelled(studies, TASK, readers)
    assert len({item.id for item in items}) == len(items)
    found: dict[str, str] = {}
    for item in items:
        name, _, reader = item.id.partition("@")
        key = name.rsplit("_", 1)[0] + (f"@{reader}" if reader else "")
        assert found.setdefault(key, item.density) == item.density
    return found


def test_views_of_an_exam_labelled_by_several_readers(studies):
    accept(studies, f"{FIRST}_R-CC", "anna", "A")
    accept(studies, f"{FIRST}_L-MLO", "bert", "C")  # of another view, and of the same exam
    accept(studies, f"{FIRST}_R-CC", "anna", "C")
    accept(studies, f"{FIRST}_L-CC", "cleo", "B")
    accept(studies, f"{SECOND}_R-CC", "anna", "D")
    assert densities(studies, "latest") == {FIRST: "B", SECOND: "D"}
    assert densities(studies, "consensus") == {FIRST: "C", SECOND: "D"}
    assert densities(studies, "each") == {
        f"{FIRST}@anna": "C",
        f"{FIRST}@bert": "C",
        f"{FIRST}@cleo": "B",
        SECOND: "D",
    }
    items = list_labelled(studies, TASK, "each")
    assert len({item.key for item in items}) == 2  # patients
    made = [item.label for item in list_labelled(studies, TASK, "consensus")]
    readers = [json.loads(file.read_text()).get("readers") for file in made]
    assert {"anna": "C", "bert": "C", "cleo": "B"} in readers


@pytest.mark.parametrize("later", ["R-CC", "L-MLO"])
def test_the_newest_label_of_a_reader_counts_whichever_view_it_is_of(studies, later):
    (earlier,) = {"R-CC", "L-MLO"} - {later}
    for view, density, hour in ((later, "C", 10), (earlier, "A", 9)):
        file = write_density(studies / FINAL_LABELS / f"{FIRST}_{view}.json", density)
        when = datetime(2026, 1, 1, hour, tzinfo=timezone.utc)
        write_version(studies, f"{FIRST}_{view}", file, reader="anna", ext=".json", time=when)
    accept(studies, f"{FIRST}_L-CC", "bert", "B")
    assert densities(studies, "each") == {f"{FIRST}@anna": "C", f"{FIRST}@bert": "B"}


def test_a_density_of_a_view_that_is_sent_again_is_the_readers_newest(studies, tmp_path):
    store = StudiesDatastore(str(studies))
    for view, density in (("R-CC", "A"), ("L-MLO", "C"), ("R-CC", "A")):
        file = write_density(tmp_path / "sent.json", density)
        store.save_label(f"{FIRST}_{view}", str(file), "final", {"client_id": "anna"})
    (labels,) = exam_labels_of_readers(studies, list_exams(studies, labelled=True)).values()
    assert read_density(labels["anna"].file) == "A"
    assert densities(studies, "latest") == {FIRST: "A"}


def test_an_exam_without_a_majority_is_left_out_and_said(studies, caplog):
    for reader, density in (("anna", "A"), ("bert", "B")):
        accept(studies, f"{FIRST}_R-CC", reader, density)
    accept(studies, f"{SECOND}_R-CC", "anna", "D")
    assert densities(studies, "consensus") == {SECOND: "D"}
    assert "no majority of its readers (anna A, bert B)" in caplog.text
    assert densities(studies, "latest")[FIRST] == "B"


def test_readers_may_give_classes_that_a_task_has_none_of(studies):
    task = get_task("density_a_vs_d")
    for reader, density in (("anna", "A"), ("bert", "B")):
        accept(studies, f"{FIRST}_R-CC", reader, density)
    accept(studies, f"{SECOND}_R-CC", "anna", "D")
    found = {item.id.partition("@")[2] for item in list_labelled(studies, task, "each")}
    assert found == {"anna", ""}
    assert set(READERS) == {"latest", "consensus", "each"}


def test_figures_of_two_readers_are_those_of_scikit_learn():
    one, other = list("AABBCCDDAB"), list("ABBBCDDDAC")
    found = compare_densities(list(zip(one, other, strict=True)), "birads")
    assert found["kappa"] == pytest.approx(cohen_kappa_score(one, other, weights="linear"))
    assert found["percent_agreement"] == 70 and found["exams"] == 10
    assert found["classes"] == ["A", "B", "C", "D"]
    assert found["confusion"] == [[2, 1, 0, 0], [0, 2, 1, 0], [0, 0, 1, 1], [0, 0, 0, 2]]
    assert compare_densities([("A", "A")], "birads")["kappa"] is None
    assert compare_densities([("dense", "non-dense")], "halves")["confusion"] == [[0, 0], [1, 0]]
