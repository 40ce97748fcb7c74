"""Frames of a loop, slices of a volume in OHIF: filled between, copied, cleared, to the voxel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from server_support import MODEL, Server, threshold_weights, write_dicom
from viewer import Viewer

from lib.data.ignore import IGNORE
from lib.interactive.interpolation import fill_between
from lib.io.labels import read_label

FRAMES, ROWS, COLUMNS = 12, 48, 64
KINDS = "loop", "volume"
_PUT = """([place, rows, columns, text, value]) => {
    const { cornerstone, cornerstoneTools } = window;
    const [segmentation] = cornerstoneTools.segmentation.state.getSegmentations();
    const { imageIds } = segmentation.representationData.Labelmap;
    const image = cornerstone.cache.getImage(imageIds[place]);
    const values = image.voxelManager.getScalarData();
    [...text].forEach((sign, index) => { values[index] = sign === '1' ? value : 0; });
    cornerstoneTools.segmentation.triggerSegmentationEvents
        .triggerSegmentationDataModified(segmentation.segmentationId);
}"""


def disc(radius: float, column: float) -> np.ndarray:
    rows, columns = np.ogrid[:ROWS, :COLUMNS]
    return ((rows - 22) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over a folder with a dark loop and a dark volume."""
    server = Server(tmp_path_factory.mktemp("cine"), MODEL, any_modality="true")
    pixels = np.tile(np.arange(COLUMNS, dtype=np.uint8), (FRAMES, ROWS, 1))
    write_dicom(server.studies / "loop.dcm", pixels, FrameTime=40)
    write_dicom(server.studies / "unmarked.dcm", pixels, FrameTime=40, PatientName="unmarked")
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing((0.5, 0.5, 2.0))
    sitk.WriteImage(volume, str(server.studies / "volume.nrrd"))
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


_MIDDLE = """() => {
    const [{ viewport }] = window.shownElements();
    const { left, top, width, height } = viewport.canvas.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
}"""


@pytest.fixture(scope="module")
def profile(new_profile: Any) -> Any:
    return new_profile()


@pytest.fixture
def viewer(new_viewer, profile, server) -> Viewer:
    viewer = new_viewer(profile, server.url)
    viewer.page.set_viewport_size({"width": 1280, "height": 720})
    return viewer


def _open(viewer: Viewer, server: Server, kind: str) -> None:
    found = server.get("/viewer/image", params={"image": kind}).json()
    viewer.open(found["StudyInstanceUID"])
    viewer.choose(MODEL)
    viewer.click("Brush")
    viewer.page.mouse.click(*viewer.page.evaluate(_MIDDLE))  # makes the label
    viewer.status()
    viewer.press("Undo")
    _title(viewer, "on 0 of 12 frames")


def _draw(viewer: Viewer, frame: int, mask: np.ndarray) -> None:
    text = "".join(map(str, mask.ravel()))
    viewer.page.evaluate(_PUT, [frame, ROWS, COLUMNS, text, 1])


def _stack(viewer: Viewer) -> np.ndarray:
    """Label maps in the order of OHIF's images."""
    return np.stack(list(viewer.drawn().values()))


def _title(viewer: Viewer, text: str) -> None:
    viewer.page.locator(".ml-frames-title").filter(has_text=text).wait_for()


@pytest.mark.parametrize("kind", KINDS)
def test_a_structure_is_filled_between_drawn_frames_and_again_after_a_correction(
    viewer, server, kind
):
    _open(viewer, server, kind)
    expected = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    for frame, (radius, column) in {1: (5, 16), 9: (9, 40)}.items():
        expected[frame] = disc(radius, column)
        _draw(viewer, frame, expected[frame])
    _title(viewer, "on 2 of 12 frames, drawn on 2")
    assert "filled in on 7 frames between 2 drawn ones" in viewer.press("Fill between")
    assert np.array_equal(_stack(viewer), fill_between(expected))
    _title(viewer, "on 9 of 12 frames, drawn on 2")
    viewer.picture(f"frames_{kind}")

    expected[5] = disc(12, 30)
    _draw(viewer, 5, expected[5])
    _title(viewer, "drawn on 3")
    assert "6 frames between 3 drawn ones" in viewer.press("Fill between")
    assert np.array_equal(_stack(viewer), fill_between(expected))
    assert viewer.press("Submit") == "The label is saved"
    answer = server.get("/datastore/label", params={"label": kind, "tag": "final"})
    assert answer.ok, answer.text


def test_the_shown_frame_is_copied_to_others_and_frames_are_cleared(viewer, server):
    _open(viewer, server, "loop")
    _draw(viewer, 2, disc(6, 20))
    _title(viewer, "on 1 of 12 frames")
    viewer.page.locator(".ml-frames-list button").click()
    viewer.page.get_by_label("From frame").fill("4")
    viewer.page.get_by_label("To frame").fill("6")
    assert viewer.press("Copy").startswith("Copied from frame 3: nuclei, frames 4 to 6")
    expected = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    expected[2:6] = disc(6, 20)
    assert np.array_equal(_stack(viewer), expected)
    viewer.page.get_by_label("From frame").fill("5")
    viewer.page.get_by_label("To frame").fill("12")
    assert viewer.press("Clear").startswith("Cleared: nuclei, frames 5 to 12")
    expected[4:] = 0
    assert np.array_equal(_stack(viewer), expected)
    viewer.page.get_by_label("To frame").fill("13")
    viewer.click("Clear")
    viewer.page.locator(".ml-status", has_text="Enter frames from 1 to 12").wait_for()


def _mark(viewer: Viewer, first: int, last: int, button: str = "Mark") -> str:
    viewer.page.get_by_label("From frame").fill(str(first))
    viewer.page.get_by_label("To frame").fill(str(last))
    return viewer.press(button)


def _stored(server: Server, image: str) -> np.ndarray:
    (file,) = (server.studies / "labels" / "final").glob(f"{image}.*")
    return read_label(file, (FRAMES, ROWS, COLUMNS))


def test_a_range_without_any_outline_is_kept_with_the_label(viewer, server):
    found = server.get("/viewer/image", params={"image": "unmarked"}).json()
    viewer.open(found["StudyInstanceUID"])
    viewer.choose(MODEL)
    assert "is on frames 3 to 6" in _mark(viewer, 3, 6)
    _mark(viewer, 9, 9)
    _mark(viewer, 6, 6, "Clear")
    marked = viewer.page.locator(".ml-frames-marked")
    marked.filter(has_text="3–5, 9").wait_for()
    viewer.picture("frames_marked")
    assert viewer.press("Submit") == "The label is saved"
    rows = server.get("/viewer/saved", params={"image": "unmarked"}).json()
    assert rows[0]["frames"] == {"nuclei": [[3, 5], [9, 9]]}
    label = _stored(server, "unmarked")
    ignored = [number for number, frame in enumerate(label, 1) if (frame == IGNORE).all()]
    assert ignored == [3, 4, 5, 9] and set(np.unique(label)) == {0, IGNORE}
