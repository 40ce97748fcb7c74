"""Views that were stored as studies of their own are one exam where patient and day say so."""

from __future__ import annotations

from pathlib import Path

import pytest
from mammogram_samples import write_mg
from pydicom.uid import generate_uid

from lib.mammography.exams import Exam, exam_of, group_exams, list_exams

SIDES, VIEWS = ("R", "L", "R", "L"), ("CC", "CC", "MLO", "MLO")
WORDS = {"R": "RIGHT", "L": "LEFT"}
UNTIED = "they were not joined to one exam"


def _view(folder: Path, number: int, name: str = "", **tags: str) -> Path:
    """Write one of four views with a StudyInstanceUID of its own."""
    path = folder / f"{name}{SIDES[number]}{VIEWS[number]}.dcm"
    return write_mg(path, number, **{"StudyInstanceUID": generate_uid(), **tags})


def _cbis(folder: Path, number: int, exam: str, behind: str = "") -> Path:
    view = f"{WORDS[SIDES[number]]}_{VIEWS[number]}"
    patient = f"{exam}_{view}{behind}"
    return _view(
        folder, number, patient, PatientID=patient, StudyDate=f"2016072{number}", ViewPosition=""
    )


@pytest.fixture
def day() -> dict[str, str]:
    return {"PatientID": "anna", "StudyDate": "20240301"}


def _names(exam: Exam) -> list[str]:
    return [view.name for view in exam.views]


def test_four_studies_of_a_patient_on_a_day_are_one_exam(tmp_path, day):
    files = [_view(tmp_path, number, **day) for number in range(4)]
    (exam,) = group_exams(files)
    assert _names(exam) == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    assert (exam.patient, exam.notes) == ("anna", ())
    assert all(exam_of(file, [exam]) is exam for file in files)
    assert [one.id for one in list_exams(tmp_path)] == [exam.id]


@pytest.mark.parametrize(
    "other", [{"StudyDate": "20240302"}, {"PatientID": "eva"}, {"StudyDate": ""}]
)
def test_another_patient_another_day_or_none_stays_an_exam_of_its_own(tmp_path, day, other):
    files = [_view(tmp_path, number, **day) for number in range(3)]
    files.append(_view(tmp_path, 3, **{**day, **other}))
    assert sorted(len(exam.views) for exam in group_exams(files)) == [1, 3]


def test_cbis_ddsm_names_an_exam_by_its_patient_ids_whatever_the_day(tmp_path):
    exam, other = "Mass-Training_P_00001", "Calc-Test_P_00002"
    files = [_cbis(tmp_path, number, exam) for number in range(4)]
    files += [_cbis(tmp_path, number, other) for number in range(2)]
    crop = _cbis(tmp_path, 0, exam, "_1")
    found = group_exams([*files, crop])
    assert sorted((one.patient, len(one.views)) for one in found) == [
        ("Mass-Training_P_00001_RIGHT_CC_1", 1),
        ("P_00001", 4),
        ("P_00002", 2),
    ]


def test_views_of_which_there_are_two_are_not_joined_and_the_exams_say_so(tmp_path, day):
    files = [_view(tmp_path, number, **day) for number in range(4)]
    files.append(_view(tmp_path, 0, "again_", **day))
    exams = group_exams(files)
    assert [len(exam.views) for exam in exams] == [1] * 5
    for exam in exams:
        assert any("R-CC more than once" in note and UNTIED in note for note in exam.notes)


def test_a_view_taken_again_beside_a_whole_exam_stays_apart_without_a_word(tmp_path, day):
    study = {**day, "StudyInstanceUID": generate_uid()}
    files = [_view(tmp_path, number, **study) for number in range(4)]
    files.append(_view(tmp_path, 0, "again_", **day))
    files.append(_view(tmp_path, 1, "again_", **day))
    exams = group_exams(files)
    assert sorted(len(exam.views) for exam in exams) == [1, 1, 4]
    assert not any(UNTIED in note for exam in exams for note in exam.notes)
