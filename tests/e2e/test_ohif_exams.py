"""Several exams of one patient, and exams of more than four images: what hangs and counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server_support import Server
from viewer import Viewer

from lib.dicom.objects import code_item, save
from lib.phantoms.dicom_objects import uid
from lib.phantoms.dicom_studies import DemoStudy, mammogram_study

VIEWS = ["R-CC", "L-CC", "R-MLO", "L-MLO"]
PATIENT = "PHANTOM-TWICE"
SPOT = "399055006", "SCT", "Spot compression"
DISPLACED = "399209000", "SCT", "Implant displaced"
_HUNG = """() => {
    const { displaySetService, viewportGridService } = window.services;
    return [...viewportGridService.getState().viewports.values()].map(viewport =>
        displaySetService.getDisplaySetByUID(viewport.displaySetInstanceUIDs[0])
            .instances[0].SOPInstanceUID);
}"""


def _exam(seed: int, date: str, density: str) -> DemoStudy:
    study = mammogram_study(seed, 0.06, density)
    for data in study.datasets:
        data.PatientID, data.PatientName = PATIENT, "Phantom^Twice"
        data.StudyDate = data.ContentDate = data.AcquisitionDate = date
    return study


def _now() -> DemoStudy:
    return _exam(31, "20240506", "C")


def _again(view: int, name: str, modifier: tuple[str, str, str] | None = None, **tags: Any) -> Any:
    """Return another image of a view of the newer exam."""
    data = _now().datasets[view]
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid("again", name)
    data.SeriesInstanceUID = uid("again", "series", name)
    if modifier:
        data.ViewCodeSequence[0].ViewModifierCodeSequence = [code_item(modifier)]
    for tag, value in tags.items():
        setattr(data, tag, value)
    return data


@pytest.fixture(scope="module")
def exams() -> tuple[DemoStudy, DemoStudy]:
    """An exam, and the one before it."""
    return _now(), _exam(32, "20220506", "B")


@pytest.fixture(scope="module")
def extra() -> dict[str, Any]:
    """What the exam has beside its four views; the repeated view was taken last."""
    return {
        "spot": _again(0, "spot", SPOT),
        "displaced": _again(1, "displaced", DISPLACED),
        "magnified": _again(0, "magnified", EstimatedRadiographicMagnificationFactor="1.8"),
        "repeated": _again(1, "repeated", AcquisitionTime="130000"),
    }


@pytest.fixture(scope="module")
def server(exams, extra, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("exams"))
    for number, data in enumerate([*exams[0].datasets, *exams[1].datasets, *extra.values()]):
        save(data, server.studies / f"image{number:02}.dcm")
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def profile(new_profile: Any) -> Any:
    return new_profile()


@pytest.fixture
def viewer(new_viewer, profile, server) -> Viewer:
    return new_viewer(profile, server.url)


def _plain(study: DemoStudy) -> list[str]:
    return [str(data.SOPInstanceUID) for data in study.datasets]


def _density(server: Server, image: str) -> list[str]:
    found = server.get("/viewer/density", params={"image": image}).json()
    return [label["density"] for label in found["labels"]]


def test_four_plain_views_hang_and_of_a_repeated_one_the_last_taken(viewer, exams, extra):
    viewer.open(exams[0].study)
    right_cc, _, right_mlo, left_mlo = _plain(exams[0])
    used = [right_cc, str(extra["repeated"].SOPInstanceUID), right_mlo, left_mlo]
    assert viewer.page.evaluate(_HUNG) == used
    assert "exam of 6 May 2024" in viewer.page.locator(".ml-exam").inner_text()
    viewer.press("Percent density")
    drawn = viewer.drawn()
    assert sorted(place for place, _ in drawn) == sorted(used)
    viewer.hang(str(extra["spot"].SOPInstanceUID))
    viewer.page.locator(".ml-exam").filter(has_text="no plain view").wait_for()
    assert len(viewer.page.evaluate(_HUNG)) == 4
    viewer.picture("exam_spot")


def test_of_two_open_exams_the_shown_one_is_read_and_labelled(viewer, server, exams):
    now, before = exams
    viewer.open(f"{now.study},{before.study}")
    assert viewer.page.evaluate(_HUNG)[0] == _plain(now)[0]
    viewer.picture("exam_two_open")
    viewer.page.get_by_label("Exam", exact=True).select_option(before.study)
    viewer.page.wait_for_function(f"() => ({_HUNG})()[0] === '{_plain(before)[0]}'")
    assert viewer.page.evaluate(_HUNG) == _plain(before)
    viewer.page.locator(".ml-exam").filter(has_text="exam of 6 May 2022").wait_for()
    viewer.press("Percent density")
    assert {place for place, _ in viewer.drawn()} == set(_plain(before))
    assert "Class B is saved" in viewer.press("B")
    assert _density(server, _plain(before)[0]) == ["B"]
    assert _density(server, _plain(now)[0]) == []
    viewer.picture("exam_prior")


def test_the_exam_of_the_asked_image_hangs(viewer, exams):
    now, before = exams
    viewer.open(f"{now.study},{before.study}", _plain(before)[2])
    assert viewer.page.evaluate(_HUNG) == _plain(before)
