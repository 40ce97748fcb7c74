"""What is shown is what is meant: several stills in a series, loops and volumes in one study."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, stow
from archive_server import ArchiveServer
from pydicom import Dataset
from server_support import MODEL
from viewer import Viewer

from lib.phantoms.dicom_studies import cine_study, frame_study, volume_study

OF_STUDY = ("StudyInstanceUID", "PatientID", "PatientName", "StudyDescription", "StudyID")


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture(scope="module")
def series() -> list[Dataset]:
    """Three stills, no two of a size, and a loop: all in one series."""
    found = [frame_study(seed, (48 + 8 * seed, 64)).datasets[0] for seed in range(3)]
    found.append(cine_study(3, 4, (48, 64)).datasets[0])
    for number, data in enumerate(found, 1):
        for tag in (*OF_STUDY, "SeriesInstanceUID"):
            setattr(data, tag, getattr(found[0], tag))
        data.InstanceNumber = number
    return found


@pytest.fixture(scope="module")
def slices(series) -> list[Dataset]:
    """A volume in the study of the stills."""
    found = list(volume_study(3, (6, 24, 32)).datasets)
    for data in found:
        for tag in OF_STUDY:
            setattr(data, tag, getattr(series[0], tag))
        data.SeriesNumber = 2
    return sorted(found, key=lambda data: int(data.InstanceNumber))


@pytest.fixture(scope="module")
def server(
    new_orthanc, series, slices, profile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    archive = new_orthanc()
    stow(archive, [*series, *slices])
    server = ArchiveServer(tmp_path_factory.mktemp("shown_server"), archive)
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: ArchiveServer, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _answer(server: ArchiveServer, instance: str) -> np.ndarray:
    file, _ = server.client().infer(
        MODEL, instance, {"result_extension": ".nrrd", "result": "mask"}
    )
    answer = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    return np.atleast_3d(answer.T).T


def _run(viewer: Viewer) -> None:
    viewer.choose(MODEL)
    assert f"{MODEL} answered" in viewer.press("Run")


def test_a_still_among_others_is_opened_answered_submitted_and_shown_again_alone(
    viewer, server, series
):
    study, (first, second, _, loop) = (
        str(series[0].StudyInstanceUID),
        [str(data.SOPInstanceUID) for data in series],
    )
    viewer.open(study, second)
    assert viewer.shown() == second
    _run(viewer)
    drawn = viewer.drawn()
    assert list(drawn) == [(second, 1)], "over no other still"
    assert np.array_equal(drawn[second, 1], _answer(server, second)[0])
    viewer.paint(0)
    submitted = viewer.drawn()[second, 1]
    assert viewer.press("Submit") == "The label is saved"
    (seg,) = objects(server.orthanc, "SEG")
    (reference,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == second

    viewer.hang(loop)
    _run(viewer)
    drawn = viewer.drawn()
    assert [key for key in drawn if key[0] == loop] == [(loop, frame) for frame in range(1, 5)]
    frames = np.stack([drawn[loop, frame] for frame in range(1, 5)])
    assert np.array_equal(frames, _answer(server, loop))
    viewer.open(study, second)
    viewer.choose(MODEL)
    assert "what you submit" in viewer.correct()
    assert np.array_equal(viewer.drawn()[second, 1], submitted)
    viewer.hang(first)
    assert first not in {instance for instance, _ in viewer.drawn()}
    viewer.picture("shown_still")


def test_the_next_image_is_the_still_or_loop_that_was_chosen(viewer, server, series, slices):
    volume = {str(data.SOPInstanceUID) for data in slices}  # opens in its middle
    viewer.open(str(series[0].StudyInstanceUID))
    for _ in range(2):
        viewer.next_image()
        asked = viewer.page.evaluate(
            "() => new URLSearchParams(location.search).get('initialSOPInstanceUID')"
        )
        assert viewer.shown() == asked or {viewer.shown(), asked} <= volume


def test_stills_and_a_volume_of_one_study_are_hung_each_in_its_way_and_keep_their_labels(
    viewer, server, series, slices
):
    volume, still = (str(one[0].SOPInstanceUID) for one in (slices, series))
    viewer.open(str(series[0].StudyInstanceUID))
    kinds = "() => window.shownElements().map(one => one.viewport.type)"
    assert viewer.page.evaluate(kinds) == ["orthographic"] * 3
    _run(viewer)
    expected = _answer(server, volume)
    viewer.hang(still)
    viewer.page.wait_for_function(f"() => `${{({kinds})()}}` === 'stack'")
    _run(viewer)
    assert np.array_equal(viewer.drawn()[still, 1], _answer(server, still)[0])
    viewer.hang(str(slices[0].SOPInstanceUID))
    viewer.page.wait_for_function(f"() => ({kinds})().length === 3")
    drawn = viewer.drawn()
    assert np.array_equal(
        np.stack([drawn[str(data.SOPInstanceUID), 1] for data in slices]), expected
    )
    assert viewer.press("Submit") == "The label is saved"
    reply = server.get("/datastore/label", params={"label": volume, "tag": "final"})
    (server.folder / "got.nrrd").write_bytes(reply.content)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(server.folder / "got.nrrd")))
    assert np.array_equal(stored, expected)


def test_a_viewport_that_cannot_be_turned_is_left_as_it_is(viewer, server, slices):
    viewer.open(str(slices[0].StudyInstanceUID), str(slices[0].SOPInstanceUID))
    # so it is too with one that is resized before its volume is there
    kept = viewer.page.evaluate(
        """() => {
          const { viewport } = window.shownElements()[0];
          const { FrameOfReferenceUID } = viewport.getViewReference();
          const before = viewport.getCamera().viewPlaneNormal;
          const skew = { viewPlaneNormal: [0.6, 0, 0.8], viewUp: [0, 1, 0] };
          viewport.setViewReference({ FrameOfReferenceUID, ...skew });
          return `${before}` === `${viewport.getCamera().viewPlaneNormal}`;
        }"""
    )
    assert kept
