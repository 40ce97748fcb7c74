"""The OHIF that the server serves, in Chromium, on a real archive: open, run, correct, submit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, store_all, stow
from archive_server import ArchiveServer, expected_answer
from pydicom.uid import BasicTextSRStorage
from server_support import MODEL
from test_density import _weights_that_answer_c as weights_that_answer_c
from viewer import Viewer

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import (
    DemoStudy,
    cine_study,
    ct_study,
    demo_studies,
    frame_study,
    ultrasound_volume_study,
)

DENSITY = "density_birads"
VIEWS = ["R-CC", "L-CC", "R-MLO", "L-MLO"]
SIDES = {"first": 1, "second": 2}
READER = Author(person="Reader^One")


def _without_spacing(study: DemoStudy) -> DemoStudy:
    for data in study.datasets:
        del data.SequenceOfUltrasoundRegions
    return study


@pytest.fixture(scope="module")
def profile(new_profile):
    """One for all tests, so that OHIF is loaded once."""
    return new_profile()


@pytest.fixture(scope="module")
def archive(new_orthanc):
    return new_orthanc()


@pytest.fixture(scope="module")
def studies(archive) -> dict[str, DemoStudy]:
    made = demo_studies(seed=3, scale=0.06)
    made.append(ct_study(3, (10, 24, 32)))
    more = frame_study(77, (48, 64))
    store_all(archive, [*made, more])
    return {**{study.kind: study for study in made}, "second frame": more}


@pytest.fixture(scope="module")
def server(
    archive, studies, profile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    server = ArchiveServer(tmp_path_factory.mktemp("ohif_server"), archive, DENSITY)
    weights_that_answer_c(server.model_dir / f"{DENSITY}.pt")
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: ArchiveServer, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _answer(server: ArchiveServer, study: DemoStudy, folder: Path) -> np.ndarray:
    """What the model answers on the pixels as they were drawn, never in an archive."""
    if study.kind in ("volume", "ct"):
        file = folder / "image.nrrd"
        sitk.WriteImage(sitk.GetImageFromArray(study.pixels[study.series[0]]), str(file))
    else:
        file = folder / "image.dcm"
        study.datasets[0].save_as(file, enforce_file_format=True)
    return expected_answer(server, file, "mask")


def _places(study: DemoStudy) -> list[tuple[str, int]]:
    """Instance and frame of each slice, in the order in which the phantom was drawn."""
    ordered = sorted(study.datasets, key=lambda data: int(data.InstanceNumber))
    return [
        (str(data.SOPInstanceUID), frame)
        for data in ordered
        for frame in range(1, int(data.get("NumberOfFrames", 1)) + 1)
    ]


@pytest.mark.parametrize("kind", ["volume", "ct", "volume_us", "frame", "cine"])
def test_an_answer_is_drawn_corrected_and_submitted_to_the_voxel(
    viewer, server, archive, studies, kind, tmp_path
):
    study = studies[kind]
    expected = np.atleast_3d(_answer(server, study, tmp_path).T).T
    places = _places(study)
    assert len(expected) == len(places) and 0 < expected.mean() < 1
    viewer.open(study.study)
    viewer.choose(MODEL)
    assert f"{MODEL} answered" in viewer.press("Run")
    drawn = viewer.drawn()
    assert np.array_equal(np.stack([drawn[place] for place in places]), expected)
    viewer.picture(f"{kind}_answer")

    viewer.paint(len(places) // 2)
    corrected = viewer.drawn()
    corrected = np.stack([corrected[place] for place in places])
    assert (corrected != expected).any()
    assert viewer.press("Submit") == "The label is saved"
    label = server.client().download_label(study.series[0], "final")
    label = np.atleast_3d(np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(label))).T).T
    assert np.array_equal(label, corrected)
    (seg,) = [seg for seg in objects(archive, "SEG") if seg.StudyInstanceUID == study.study]
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["nuclei"]


def test_four_views_hang_as_readers_hang_them_and_their_density_is_told_and_corrected(
    viewer, server, archive, studies
):
    study = studies["mammograms"]
    viewer.open(study.study)
    assert viewer.hung() == VIEWS
    assert f"{DENSITY} answered" in viewer.press("Run")
    panel = viewer.page.locator(".ml-answer").inner_text()
    assert "from 4 of 4 views" in panel and "Model version" in panel
    assert "heterogeneously dense" in panel and "71.1 %" in panel
    drawn = viewer.drawn()
    asked = next(data for data in study.datasets if data.SeriesInstanceUID == study.series[0])
    file, figures = server.client().infer(DENSITY, study.series[0], {"result_extension": ".nrrd"})
    dense = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    assert figures["view"] == "R-CC" and set(np.unique(dense)) == {0, 3}
    assert np.array_equal(drawn[str(asked.SOPInstanceUID), 1] == 1, dense == 3)
    masks = [drawn[str(data.SOPInstanceUID), 1] for data in study.datasets]
    assert all((mask == 1).any() for mask in masks), "of each view"
    viewer.page.get_by_label("Over the views", exact=True).select_option("gradcam")
    viewer.page.wait_for_function("() => document.querySelectorAll('.ml-layer').length === 4")
    viewer.picture("mammograms_answer")
    assert "Class B is saved" in viewer.press("B")
    (report,) = objects(archive, "SR")
    assert read_density_report(report).density == "B"
    for series in study.series:  # the class of one view is that of its exam
        query = {"label": series, "tag": "final"}
        assert server.get("/datastore/label", params=query).json()["density"] == "B"


def test_the_list_is_filtered_and_a_click_on_a_row_opens_the_one_study(viewer, studies):
    study = studies["cine"]
    patient = str(study.datasets[0].PatientID)
    viewer.open_list(f"?mrn={patient}")
    row = viewer.page.locator(f"tr[data-cy='studyRow-{study.study}'] tr[data-cy]")
    row.wait_for()
    assert set(viewer.page.get_by_text("PHANTOM-").all_inner_texts()) == {patient}
    row.get_by_role("button").click()  # the arrow
    viewer.page.get_by_role("button", name="Segmentation").wait_for()
    assert row.get_by_role("button").get_attribute("aria-expanded") == "true"
    viewer.picture("list_unfolded")
    row.get_by_role("button").press("Enter")
    viewer.page.get_by_role("button", name="Segmentation").wait_for(state="detached")
    assert "monai-label" not in viewer.page.url
    row.get_by_text(patient).first.click()
    viewer.wait_until_open()
    assert study.study in viewer.page.url
    viewer.page.locator("[data-cy='studyBrowser-panel']").get_by_text("US").first.wait_for(
        state="attached"
    )
    listed = viewer.page.evaluate(
        "() => window.extensionManager.getActiveDataSource()[0].query.studies.search({})"
        ".then(found => found.map(study => study.studyInstanceUid))"
    )
    assert listed == [study.study]
    viewer.page.go_back()
    row.wait_for()
    row.press("Enter")
    viewer.wait_until_open()
    assert study.study in viewer.page.url


def test_a_row_without_images_says_so_and_is_folded_out(viewer, archive):
    (report,) = frame_study(79, (40, 56)).datasets
    report.SOPClassUID, report.Modality = BasicTextSRStorage, "SR"
    del report.PixelData
    report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    stow(archive, [report])
    viewer.open_list(f"?mrn={report.PatientID}")
    row = viewer.page.locator(f"tr[data-cy='studyRow-{report.StudyInstanceUID}']")
    row.get_by_text(str(report.PatientID)).first.click()
    viewer.page.get_by_text("This study holds SR, which MONAI Label does not open").wait_for()
    row.get_by_role("button", name="MONAI Label").wait_for()
    viewer.picture("list_without_images")
    assert "monai-label" not in viewer.page.url


def test_the_next_image_is_one_without_a_label(viewer, server, studies):
    viewer.open(studies["frame"].study)
    unlabelled = {id for id, item in server.images().items() if "final" not in item["labels"]}
    assert viewer.next_image() in unlabelled


@pytest.mark.parametrize("kind", ["volume", "volume_us", "frame", "cine", "mammograms"])
def test_a_stored_label_opens_in_ohifs_own_viewer_over_its_image(
    viewer, server, archive, studies, kind
):
    study, client = studies[kind], server.client()
    image = study.series[0]
    if not [seg for seg in objects(archive, "SEG") if seg.StudyInstanceUID == study.study]:
        file, _ = client.infer(MODEL, image, {"result_extension": ".nrrd", "result": "mask"})
        client.save_label(image, file, tag="final")
    file = client.download_label(image, "final")
    truth = np.atleast_3d(np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file))).T).T
    viewer.open_stored(study.study)
    drawn = viewer.drawn()
    places = [place for place in _places(study) if place in drawn]
    assert len(places) == len(truth)
    assert np.array_equal(np.stack([drawn[place] for place in places]), truth)
    viewer.picture(f"{kind}_stored")


@pytest.mark.parametrize(
    "study",
    [
        ultrasound_volume_study(78, (5, 40, 56)),
        _without_spacing(cine_study(78, 5, (40, 56))),
        _without_spacing(frame_study(78, (40, 56))),
    ],
    ids=lambda study: study.kind,
)
def test_segments_on_some_frames_open_in_ohifs_own_viewer_on_these_frames(viewer, archive, study):
    (image,) = study.series
    truth = np.zeros_like(np.atleast_3d(study.truth[image].T).T)
    for place in range(0, len(truth), 3):  # no two alike, none its own mirror image
        truth[place, 5 : 20 + place, 8:12] = 1
        truth[place, 21 + place : 30, 10 : 40 - place] = 2
    label = truth.reshape(study.truth[image].shape)
    stow(archive, [*study.datasets, make_seg(label, study.datasets, SIDES, READER)])
    viewer.open_stored(study.study)
    drawn = viewer.drawn()
    assert np.array_equal(np.stack([drawn[place] for place in _places(study)]), truth)
