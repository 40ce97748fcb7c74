"""Exams: files grouped, what is missing or double, labels and patients."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mammogram_samples import code, write_mg
from PIL import Image as PillowImage

from lib.classification.cases import list_task_exams
from lib.data.groups import Grouped, write_groups
from lib.errors import InputError
from lib.mammography.density_labels import write_density
from lib.mammography.exams import exam_of, group_exams, list_exams
from lib.mammography.views import STANDARD_VIEWS, View
from lib.tasks.registry import TASKS

VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")


def _pictures(folder: Path, exams: tuple[str, ...] = ("e1", "e2"), views=VIEWS) -> Path:
    (folder / "labels" / "final").mkdir(parents=True, exist_ok=True)
    for exam in exams:
        for view in views:
            PillowImage.fromarray(np.zeros((8, 8), np.uint8)).save(folder / f"{exam}_{view}.png")
    return folder


def test_names_are_grouped_into_exams_of_four_views(tmp_path):
    one, two = list_exams(_pictures(tmp_path))
    assert (one.id, two.id) == ("e1", "e2")
    assert tuple(one.views) == STANDARD_VIEWS
    assert one.views[View("L", "MLO")] == tmp_path / "e1_L-MLO.png"
    assert one.notes == () and one.missing == () and one.density is None
    assert one.patient == "e1"
    assert exam_of(tmp_path / "e2_L-CC.png", (one, two)) == two


def test_names_without_an_exam_belong_to_their_folder(tmp_path):
    for view in VIEWS:
        PillowImage.new("L", (8, 8)).save(tmp_path / f"{view}.png")
    (exam,) = list_exams(tmp_path)
    assert exam.id == tmp_path.name and exam.missing == ()


def test_dicom_is_grouped_by_study_whatever_its_names(tmp_path):
    for number in (0, 1):
        for view in range(4):
            write_mg(tmp_path / f"IM{number}{view}.dcm", view, number)
    exams = list_exams(tmp_path)
    assert [len(exam.views) for exam in exams] == [4, 4]
    assert sorted(exam.patient for exam in exams) == ["PHANTOM-1-0", "PHANTOM-1-1"]


def test_names_of_patients_do_not_merge_two_studies(tmp_path):
    write_mg(tmp_path / "mammo_R-CC.dcm", 0, 0)
    write_mg(tmp_path / "mammo_L-CC.dcm", 1, 1)
    assert len(list_exams(tmp_path)) == 2


def test_one_patient_with_two_studies_has_one_key(tmp_path):
    for number in (0, 1):
        write_mg(tmp_path / f"{number}.dcm", 0, number, PatientID="P-9")
    assert [exam.patient for exam in list_exams(tmp_path)] == ["P-9", "P-9"]


def test_an_anonymous_patient_is_its_exam(tmp_path):
    write_mg(tmp_path / "a.dcm", PatientID="ANONYMOUS")
    (exam,) = list_exams(tmp_path)
    assert exam.patient == exam.id


def test_missing_and_double_views_are_told(tmp_path):
    _pictures(tmp_path, ("e1",), ("R-CC", "L-CC", "L-CC_2", "R-XCCL"))
    (exam,) = list_exams(tmp_path)
    assert [view.name for view in exam.missing] == ["R-MLO", "L-MLO"]
    assert exam.views[View("L", "CC")].name == "e1_L-CC_2.png"
    assert any("L-CC again" in note for note in exam.notes)
    assert any("R-XCCL, not one of the four" in note for note in exam.notes)
    assert any("without R-MLO, L-MLO" in note for note in exam.notes)


def test_views_that_are_not_plain_are_left_out_and_told(tmp_path):
    for view in range(4):
        write_mg(tmp_path / f"{view}.dcm", view)
    displaced = code("399162004", ViewModifierCodeSequence=[code("399209000")])
    write_mg(tmp_path / "id.dcm", ViewCodeSequence=[displaced])
    write_mg(tmp_path / "mag.dcm", EstimatedRadiographicMagnificationFactor="1.8")
    write_mg(tmp_path / "tomo.dcm", NumberOfFrames="5")
    (exam,) = list_exams(tmp_path)
    assert exam.missing == ()
    told = {path.name: why for path, why in exam.others}
    assert told == {
        "id.dcm": "R-CC, implant displaced",
        "mag.dcm": "R-CC, magnified",
        "tomo.dcm": "R-CC, tomosynthesis",
    }


def test_the_image_for_presentation_is_taken_before_the_raw_one(tmp_path):
    write_mg(tmp_path / "a.dcm")
    write_mg(tmp_path / "b.dcm", PresentationIntentType="FOR PROCESSING")
    (exam,) = group_exams([tmp_path / "a.dcm", tmp_path / "b.dcm"])
    assert exam.views[View("R", "CC")].name == "a.dcm"
    (raw,) = group_exams([tmp_path / "b.dcm"])
    assert raw.views[View("R", "CC")].name == "b.dcm"


def test_an_imported_file_goes_by_its_name_and_its_group(tmp_path):
    write_mg(tmp_path / "p1_L-MLO.dcm", 0, StudyInstanceUID="1.2.3", ViewPosition="ML")
    write_groups(tmp_path, [Grouped("p1_L-MLO", "patient_1")])
    (exam,) = list_exams(tmp_path)
    assert (exam.id, exam.patient) == ("p1", "patient_1")
    assert list(exam.views) == [View("L", "MLO")]


def test_other_files_belong_to_no_exam(tmp_path):
    _pictures(tmp_path, ("e1",))
    PillowImage.new("L", (8, 8)).save(tmp_path / "nucleus.png")
    (tmp_path / "broken.dcm").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    assert [exam.id for exam in list_exams(tmp_path)] == ["e1"]


def test_folders_without_exams_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list_exams(tmp_path / "no")
    with pytest.raises(InputError, match="no exams in"):
        list_exams(tmp_path)
    with pytest.raises(InputError, match="no labelled exams"):
        list_exams(_pictures(tmp_path), labelled=True)


def test_corrected_label_images_train_each_task_that_has_their_class(tmp_path):
    labels = _pictures(tmp_path, ("e1",)) / "labels" / "final"
    label = np.zeros((9, 7), np.uint8)
    (exam,) = list_exams(tmp_path)
    image = next(iter(exam.views.values()))
    dense, birads, ends = (TASKS[f"density_{name}"] for name in ("dense", "birads", "a_vs_d"))
    for value, places in ((1, (0, 0, 0)), (2, (0, 1, None)), (3, (1, 2, None)), (4, (1, 3, 1))):
        label[2:5, 3:6] = value
        PillowImage.fromarray(label).save(labels / f"{image.stem}.png")
        (exam,) = list_task_exams(tmp_path, dense, labelled=True)
        found = (task.exam_rules.class_index(exam.density, exam.scale) for task in (dense, birads))
        assert (*found, ends.exam_rules.class_index(exam.density, exam.scale)) == places
    for name, place in (("non-dense", 0), ("dense", 1)):  # as the task itself answers
        label[2:5, 3:6] = dense.labels[name]
        PillowImage.fromarray(label).save(labels / f"{image.stem}.png")
        (exam,) = list_task_exams(tmp_path, dense, labelled=True)
        assert dense.exam_rules.class_index(exam.density, exam.scale) == place
        with pytest.raises(InputError, match=f"1 of {name}"):  # tells nothing of A to D
            list_task_exams(tmp_path, birads, labelled=True)


def test_a_label_of_any_view_or_of_the_exam_counts(tmp_path):
    labels = _pictures(tmp_path) / "labels" / "final"
    write_density(labels / "e1_R-CC.json", "B")
    write_density(labels / "e2.json", "F", "mias")
    one, two = list_exams(tmp_path, labelled=True)
    assert (one.density, one.scale) == ("B", "birads")
    assert (two.density, two.scale) == ("F", "mias")


def test_a_corrected_view_counts_for_the_exam_and_is_told(tmp_path):
    labels = _pictures(tmp_path, ("e1",)) / "labels" / "final"
    for view in VIEWS:
        write_density(labels / f"e1_{view}.json", "C")
    label = np.full((8, 8), 4, np.uint8)
    PillowImage.fromarray(label).save(labels / "e1_L-CC.png")
    later = (labels / "e1_R-CC.json").stat().st_mtime + 5
    os.utime(labels / "e1_L-CC.png", (later, later))
    (exam,) = list_exams(tmp_path)
    assert exam.density == "D"
    assert any("the newest counts" in note for note in exam.notes)
    assert json.loads((labels / "e1_R-CC.json").read_text())["density"] == "C"


@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_one_damaged_file_or_label_is_no_matter_of_the_others(tmp_path, caplog, part):
    _pictures(tmp_path, ("e1",))
    whole = bytearray(write_mg(tmp_path / "e2_L-CC.dcm").read_bytes())
    start = int(len(whole) * part)
    whole[start : start + 200] = b"\xff" * 200
    (tmp_path / "e2_L-CC.dcm").write_bytes(whole[: int(len(whole) * 0.95)])
    (tmp_path / "text.dcm").write_bytes(b"text")
    (tmp_path / "empty.dcm").touch()
    final = tmp_path / "labels" / "final"
    write_density(final / "e1_R-CC.json", "B")
    (final / "e1_L-CC.json").write_text("not JSON")
    (exam,) = (exam for exam in list_exams(tmp_path) if exam.id == "e1")
    assert exam.density == "B" and len(exam.views) == 4
    assert any("e1_L-CC.json: not JSON" in note for note in exam.notes)
    assert "text.dcm" in caplog.text and "empty.dcm" in caplog.text


def test_tags_that_cannot_be_read_are_told_and_the_name_counts(tmp_path):
    _pictures(tmp_path, ("e1",), ("R-CC",))
    path = write_mg(tmp_path / "e1_L-CC.dcm")
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")  # the Modality, made to be no text
    path.write_bytes(content[: at + 4] + b"FD" + content[at + 6 :])
    (exam,) = group_exams([tmp_path / "e1_R-CC.png", path])
    assert [view.name for view in exam.views] == ["R-CC", "L-CC"]
    assert any("its DICOM tags cannot be read" in note for note in exam.notes)
