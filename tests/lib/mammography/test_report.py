"""Density answers stored as DICOM reports, read back, and corrected by persons."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_label_samples import dciodvfy, mammogram, uid, us_frame, write

from lib.dicom.objects import Author, save
from lib.errors import InputError
from lib.mammography.density_labels import BIRADS, MIAS
from lib.mammography.report.codes import CLASSES, TITLE
from lib.mammography.report.read import read_density_report
from lib.mammography.report.write import make_density_report

MODEL = Author("density_vgg", "4", software="0.1.0")
PERSON = Author(person="Doe^Jane")
CHANCES = {"A": 0.01, "B": 0.2, "C": 0.7, "D": 0.09}
PERCENT = {"R-CC": 31.5, "L-MLO": 28.25}
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def exam():
    """Four views of one study."""
    views = []
    for side in ("R", "L"):
        for projection in ("CC", "MLO"):
            data = mammogram()
            data.SOPInstanceUID = uid(side, projection)
            data.SeriesInstanceUID = uid("series", side, projection)
            data.ImageLaterality, data.ViewPosition = side, projection
            views.append(data)
    return views


def write_density_report(density, images, path, author, **options) -> Path:
    return save(make_density_report(density, images, author, **options), path)


def test_an_answer_comes_back_whole(exam, tmp_path):
    file = write_density_report(
        "C", exam, tmp_path / "sr.dcm", MODEL, probabilities=CHANCES, percent=PERCENT, when=NOON
    )
    report = read_density_report(file)
    assert (report.density, report.scale) == ("C", "birads")
    assert report.probabilities == CHANCES
    assert report.percent == PERCENT
    assert report.author == MODEL
    assert report.when == NOON
    assert set(report.images) == {data.SOPInstanceUID for data in exam}
    assert report.study == exam[0].StudyInstanceUID
    assert report.corrects == ()


@pytest.mark.parametrize(
    ("scale", "density"),
    [*(("birads", name) for name in BIRADS), *(("mias", name) for name in MIAS)],
)
def test_every_class_of_both_scales_comes_back(scale, density, exam):
    chances = {name: 0.25 for name in CLASSES[scale]}
    data = make_density_report(density, exam, MODEL, scale=scale, probabilities=chances)
    report = read_density_report(data)
    assert (report.density, report.scale, report.probabilities) == (density, scale, chances)


def test_highdicom_reads_class_numbers_and_observer(exam, tmp_path):
    from highdicom.sr import ComprehensiveSR, srread

    file = write_density_report(
        "B", exam, tmp_path / "sr.dcm", MODEL, probabilities=CHANCES, percent=PERCENT
    )
    report = srread(file)
    assert isinstance(report, ComprehensiveSR)
    whole, *views = report.content.get_image_measurement_groups()
    assert whole.get_qualitative_evaluations()[0].value.meaning == CLASSES["birads"]["B"][2]
    assert [item.value for item in whole.get_measurements()] == list(CHANCES.values())
    assert [view.get_measurements()[0].value for view in views] == list(PERCENT.values())
    assert len(whole.source_images) == 4
    assert len(report.content.get_observer_contexts()) == 1


def test_dciodvfy_finds_no_error(exam, tmp_path):
    first = write_density_report(
        "C", exam, tmp_path / "1.dcm", MODEL, probabilities=CHANCES, percent=PERCENT
    )
    both = Author("density_vgg", "4", person="Doe^Jane")
    second = write_density_report(
        "D", exam, tmp_path / "2.dcm", both, corrects=[read_density_report(first)]
    )
    third = write_density_report("G", exam[:1], tmp_path / "3.dcm", PERSON, scale="mias")
    assert [dciodvfy(file) for file in (first, second, third)] == [[], [], []]


def test_dciodvfy_would_find_an_error(exam, tmp_path):
    data = make_density_report("C", exam, MODEL)
    del data.ContentSequence[0].ConceptNameCodeSequence
    file = write(data, tmp_path / "bad.dcm")
    assert any("ConceptNameCodeSequence" in line for line in dciodvfy(file))


def test_the_title_is_not_the_one_that_ohif_shows_as_drawings(exam):
    title = make_density_report("C", exam, MODEL).ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodeMeaning) == (TITLE[0], "Breast Imaging Report")
    assert title.CodeValue != "126000"


def test_a_correction_by_a_person_is_newer_and_names_what_it_corrects(exam, tmp_path):
    first = write_density_report("C", exam, tmp_path / "1.dcm", MODEL, when=NOON)
    answer = read_density_report(first)
    second = write_density_report(
        "D", exam, tmp_path / "2.dcm", PERSON, corrects=[answer], when=NOON + timedelta(hours=1)
    )
    newest = read_density_report(second)
    assert newest.when > answer.when
    assert (newest.density, newest.author.person) == ("D", "Doe^Jane")
    assert newest.author.model == ""
    assert newest.corrects == (answer.uid,)
    data = pydicom.dcmread(second)
    assert (data.CompletionFlag, data.PreliminaryFlag) == ("COMPLETE", "FINAL")


def test_times_are_compared_across_time_zones(exam):
    early = make_density_report("A", exam, MODEL, when=NOON)
    early.TimezoneOffsetFromUTC = "-0500"  # so it is 17 o'clock in UTC
    late = make_density_report("B", exam, MODEL, when=NOON + timedelta(hours=1))
    assert read_density_report(early).when > read_density_report(late).when
    del late.ContentDate
    assert read_density_report(early).when > read_density_report(late).when


def test_a_report_of_another_maker_is_read_by_its_class(exam):
    data = make_density_report("C", exam, PERSON)
    group = data.ContentSequence[-1].ContentSequence[0]
    for entry in group.ContentSequence:
        if entry.ValueType == "CODE" and entry.ConceptNameCodeSequence[0].CodeValue == "129715009":
            code = entry.ConceptCodeSequence[0]
            code.CodeValue, code.CodingSchemeDesignator = "F-01714", "SRT"
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"  # Enhanced SR
    del data.SoftwareVersions
    assert read_density_report(data).density == "D"


def test_what_is_no_density_report_is_refused(exam, tmp_path):
    (tmp_path / "text.dcm").write_text("no report")
    write(us_frame(), tmp_path / "image.dcm")
    mute = make_density_report("C", exam, MODEL)
    del mute.ContentSequence
    for source, message in (
        (tmp_path / "text.dcm", "not a DICOM file"),
        (tmp_path / "image.dcm", "Ultrasound Image Storage, expected a DICOM Structured Report"),
        (tmp_path / "gone.dcm", "no such file"),
        (mute, "density classes none, expected one of BI-RADS"),
    ):
        with pytest.raises(InputError, match=message):
            read_density_report(source)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_report_gives_nothing_but_input_errors(exam, tmp_path):
    file = write_density_report("C", exam, tmp_path / "sr.dcm", MODEL, probabilities=CHANCES)
    content = file.read_bytes()
    rng = np.random.default_rng(6)
    outcomes = set()
    for attempt in range(60):
        damaged = bytearray(content)
        if attempt % 3:
            for place in rng.integers(132, len(content), 8):
                damaged[place] = rng.integers(0, 256)
        else:
            damaged = damaged[: rng.integers(0, len(content))]
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        try:
            read_density_report(tmp_path / "damaged.dcm")
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_two_classes_in_one_report_are_refused(exam):
    data = make_density_report("C", exam, PERSON)
    other = make_density_report("A", exam, PERSON)
    groups = data.ContentSequence[-1].ContentSequence
    groups.append(copy.deepcopy(other.ContentSequence[-1].ContentSequence[0]))
    with pytest.raises(InputError, match="classes A, C, expected one"):
        read_density_report(data)


@pytest.mark.parametrize(
    ("density", "options", "message"),
    [
        ("E", {}, "density 'E', expected A, B, C or D"),
        ("F", {}, "no class of the scale 'birads'"),
        ("A", {"scale": "mias"}, "no class of the scale 'mias'"),
        ("C", {"scale": "acr"}, "scale 'acr'"),
        ("C", {"probabilities": {"C": 1.5}}, "probability of C is 1.5, expected 0 to 1"),
        ("C", {"probabilities": {"E": 0.5}}, "probabilities of E, expected A, B, C, D"),
        ("C", {"percent": {"R-CC": float("nan")}}, "percent density of R-CC is nan"),
        ("C", {"percent": {"R-ML": 20.0}}, "'R-ML', expected one of the views R-CC, R-MLO"),
    ],
)
def test_an_answer_that_cannot_be_is_refused(density, options, message, exam):
    with pytest.raises(InputError, match=message):
        make_density_report(density, exam, MODEL, **options)


def test_images_of_two_studies_or_none_are_refused(exam):
    with pytest.raises(InputError, match="no images"):
        make_density_report("C", [], MODEL)
    retired = us_frame()
    retired.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6"
    with pytest.raises(InputError, match="class 1.2.840.10008.5.1.4.1.1.6, expected mammograms"):
        make_density_report("C", [retired], MODEL)
    exam[0].StudyInstanceUID = uid("another study")
    with pytest.raises(InputError, match="images of 2 studies"):
        make_density_report("C", exam, MODEL)
