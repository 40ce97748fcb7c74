"""The demo archive holds what real archives do, tidily, and it is made fast."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from lib.phantoms.demo_archive import demo_archive


@pytest.fixture(scope="module")
def studies():
    begin = time.process_time()
    made = {study.kind: study for study in demo_archive(2)}
    assert time.process_time() - begin < 20
    return made


def _instances(study):
    return [(d.Modality, int(d.get("NumberOfFrames", 1))) for d in study.datasets]


def test_the_demo_archive_holds_each_kind_of_study(studies):
    assert list(studies) == [
        "mammograms",
        "prior exam",
        "stills",
        "MR",
        "prior MR",
        "CT",
        "3D ultrasound",
        "microscopy",
        "stills + loop",
        "fetal heads",
    ]
    assert _instances(studies["stills"]) == [("US", 1)] * 3
    assert _instances(studies["fetal heads"]) == [("US", 1)] * 2
    assert len(studies["stills"].series) == 1
    frames = sorted(frames for _, frames in _instances(studies["stills + loop"]))
    assert frames[:2] == [1, 1] and frames[2] > 10
    for kind in ("mammograms", "prior exam"):
        views = {(d.ImageLaterality, d.ViewPosition) for d in studies[kind].datasets}
        assert len(views) == 4 and len(studies[kind].series) == 4


@pytest.mark.parametrize(("now", "before"), [("mammograms", "prior exam"), ("MR", "prior MR")])
def test_a_prior_exam_is_of_the_same_patient_and_earlier(studies, now, before):
    new, old = studies[now], studies[before]
    assert new.datasets[0].PatientID == old.datasets[0].PatientID
    assert new.datasets[0].PatientName == old.datasets[0].PatientName
    assert new.datasets[0].StudyDate > old.datasets[0].StudyDate
    uids = [{d.SOPInstanceUID for d in study.datasets} for study in (new, old)]
    assert not uids[0] & uids[1] and new.study != old.study


def test_the_tumour_has_grown_between_two_time_points(studies):
    volumes = {}
    for kind in ("MR", "prior MR"):
        (label,) = studies[kind].truth.values()
        volumes[kind] = int((label == 2).sum())
    assert volumes["MR"] > 1.2 * volumes["prior MR"] > 0


def test_the_list_of_studies_is_tidy(studies):
    first = max(studies.values(), key=lambda study: study.datasets[0].StudyDate)
    assert first.kind == "mammograms", "OHIF lists the newest study first"
    for study in studies.values():
        facts = Counter(
            (d.StudyInstanceUID, str(d.PatientName), d.PatientID, d.StudyDate, d.StudyDescription)
            for d in study.datasets
        )
        assert len(facts) == 1
        for data in study.datasets:
            assert "^" in str(data.PatientName) and "hantom" not in str(data.PatientName)
            assert data.PatientID.startswith("DEMO-") and data.StudyDescription
            assert data.SeriesDescription and "hantom" not in data.SeriesDescription
            assert data.PatientBirthDate < data.StudyDate
            assert "Synthetic" in data.PatientComments
    series = [uid for study in studies.values() for uid in study.series]
    assert len(series) == len(set(series))


def test_three_dimensional_and_fetal_ultrasound_are_fans_on_black(studies):
    for kind in ("3D ultrasound", "fetal heads"):
        for uid, pixels in studies[kind].pixels.items():
            assert not pixels[..., 0, 0].any() and not pixels[..., 0, -1].any()
            assert 0.2 < (pixels > 0).mean() < 0.9
            assert pixels[studies[kind].truth[uid] > 0].min() >= 0
            assert studies[kind].truth[uid].any()


@pytest.mark.parametrize("kind", ["MR", "prior MR", "CT"])
def test_windows_lie_within_the_values_and_show_most_of_them(studies, kind):
    (pixels,) = studies[kind].pixels.values()
    data = studies[kind].datasets[0]
    low = float(data.WindowCenter) - float(data.WindowWidth) / 2
    high = low + float(data.WindowWidth)
    assert pixels.min() <= low < high <= pixels.max()
    body = pixels[pixels > (-500 if kind == "CT" else np.percentile(pixels, 5))]
    assert ((low <= body) & (body <= high)).mean() > 0.85


def test_images_and_labels_are_found_by_the_uid_that_names_them(studies):
    for study in studies.values():
        known = {*study.series, *(str(d.SOPInstanceUID) for d in study.datasets)}
        assert set(study.truth) == set(study.pixels) <= known
        for uid, label in study.truth.items():
            shown = study.pixels[uid]
            colour = shown.shape[-1] == 3 and shown.ndim > label.ndim
            assert label.shape == (shown.shape[:-1] if colour else shown.shape)


def test_several_times_the_patients_are_others(studies):
    twice = demo_archive(2, 2)
    assert len({study.study for study in twice}) == len(twice) == 2 * len(studies)
    assert len({str(study.datasets[0].PatientID) for study in twice}) == 8
    assert len({str(study.datasets[0].PatientName) for study in twice}) == 8
