"""Saved work, training, versions and unsaved work in the panel of OHIF, on a real archive."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, stow
from archive_server import ArchiveServer
from pydicom import Dataset
from server_support import MODEL, TRAINING_SECONDS, discs, read_itk, threshold_weights
from viewer import Viewer

from lib.data.ignore import IGNORE
from lib.phantoms.dicom_studies import frame_study

SIZE = 48, 72
LABELLED = {"nuclei": 1, "ignore": 2}
TRAINING_MS = 1000 * TRAINING_SECONDS
# a few steps of training find the discs, which the live weights just miss
MISSING, QUICK = 1.05, {"train_batch_size": 2, "patch_size": 32, "learning_rate": 0.05}
_DRAW = """text => {
    const { cornerstone, cornerstoneTools } = window;
    const drawn = Uint8Array.from(atob(text), sign => sign.charCodeAt(0));
    const [segmentation] = cornerstoneTools.segmentation.state.getSegmentations();
    const [imageId] = segmentation.representationData.Labelmap.imageIds;
    cornerstone.cache.getImage(imageId).voxelManager.getScalarData().set(drawn);
}"""

_LEAVES = "() => window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"


@pytest.fixture(scope="module")
def studies() -> list[Dataset]:
    """Four frames of discs, each a study."""
    found = []
    for number in range(4):
        (data,) = frame_study(51 + number, SIZE).datasets
        data.PixelData = discs(*SIZE).tobytes()
        data["PixelData"].VR = "OB"
        found.append(data)
    return found


@pytest.fixture(scope="module")
def archive(new_orthanc, studies):
    orthanc = new_orthanc()
    stow(orthanc, studies)
    return orthanc


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile(viewport={"width": 1280, "height": 720})


@pytest.fixture(scope="module")
def server(archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    """A server on which two of the frames are labelled."""
    server = ArchiveServer(tmp_path_factory.mktemp("work_server"), archive)
    threshold_weights(server.live_file, threshold=MISSING)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module", autouse=True)
def labelled(server: ArchiveServer, studies, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("labels") / "label.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(_truth().astype(np.uint8)), str(file))
    for data in studies[1:3]:
        assert server.save_label(str(data.SeriesInstanceUID), file).ok


@pytest.fixture
def viewer(new_viewer, server: ArchiveServer, profile) -> Viewer:
    viewer = new_viewer(profile, server.url)
    viewer.page.route("**/train/*", _quickly)
    return viewer


def _truth() -> np.ndarray:
    return discs(*SIZE) > 100


def _quickly(route: Any) -> None:
    """Train on patches that take a moment."""
    if route.request.method == "POST":
        params = {**json.loads(route.request.post_data), **QUICK}
        route.continue_(post_data=json.dumps(params))
    else:
        route.continue_()


def _draw(viewer: Viewer, label: np.ndarray) -> None:
    """Draw a label by hand over the first label map."""
    text = base64.b64encode(label.astype(np.uint8).tobytes()).decode()
    viewer.page.evaluate(_DRAW, text)


def _on_screen(viewer: Viewer, data: Dataset) -> np.ndarray:
    return viewer.drawn()[str(data.SOPInstanceUID), 1]


def _asked(viewer: Viewer, answer: str) -> str:
    """Answer the question that the panel asks, and return it."""
    box = viewer.page.get_by_role("alertdialog")
    text = str(box.locator("p").inner_text())
    box.get_by_role("button", name=answer, exact=True).click()
    return text


def _section(viewer: Viewer, name: str) -> Any:
    return viewer.page.locator(f"[data-section='{name}']")


def test_a_label_is_saved_trained_on_from_the_panel_goes_live_and_is_rolled_back(
    viewer, server, studies
):
    data = studies[0]
    viewer.open(str(data.StudyInstanceUID))
    viewer.choose(MODEL)
    viewer.press("Run")
    assert not _on_screen(viewer, data).any()
    train, supply = _section(viewer, "train"), viewer.page.locator(".ml-supply")
    supply.get_by_text("2 accepted labels").wait_for()
    _draw(viewer, _truth())
    viewer.press("Submit")
    saved = _section(viewer, "saved").locator(".ml-work")
    saved.get_by_text("version 1").wait_for()
    assert saved.count() == 1, "of this study alone"
    supply.get_by_text("3 accepted labels").wait_for()
    viewer.picture("work_saved")

    train.get_by_label("Epochs", exact=True).fill("3")
    viewer.press("Train")
    train.locator("progress").wait_for(timeout=TRAINING_MS)
    train.get_by_role("button", name="Stop", exact=True).wait_for()
    outcome = train.locator(".ml-outcome")
    outcome.get_by_text("published: mean IoU").wait_for(timeout=TRAINING_MS)
    assert ", before 0." in outcome.inner_text()
    viewer.picture("work_trained")
    viewer.press("Run")
    assert np.array_equal(_on_screen(viewer, data), _truth())

    versions = train.locator(".ml-versions")
    versions.locator("summary").click()
    before, live = (versions.locator("li").filter(has_text=text) for text in ("no figure", "live"))
    assert "mean IoU 1.000" in live.inner_text()
    viewer.picture("work_versions")
    before.get_by_role("button", name="Roll back").click()
    before.get_by_text("live").wait_for()
    viewer.press("Run")
    assert not _on_screen(viewer, data).any()


def test_a_saved_label_is_opened_compared_and_corrected_in_a_fresh_page(viewer, server, studies):
    data = studies[1]
    viewer.open(str(data.StudyInstanceUID))
    viewer.choose(MODEL)
    _section(viewer, "saved").locator(".ml-work").get_by_text("version 1").wait_for()
    viewer.press("Open")
    assert np.array_equal(_on_screen(viewer, data), _truth())
    viewer.click("Submit")
    line = viewer.page.locator(".ml-status[data-kind='error']")
    assert "press Correct" in line.inner_text(), "a layer is not what the reader works on"
    viewer.press("Close")

    viewer.press("Correct")
    assert np.array_equal(_on_screen(viewer, data), _truth())
    half = _truth().copy()
    half[:, : SIZE[1] // 2] = False
    _draw(viewer, half)
    row = _section(viewer, "saved").locator(".ml-work").last
    row.get_by_role("button", name="Compare").click()
    viewer.page.locator(".ml-dice").wait_for()
    dice = 2 * half.sum() / (half.sum() + _truth().sum())
    assert f"nuclei {dice:.3f}" in viewer.page.locator(".ml-dice").inner_text()
    viewer.picture("work_compared")
    viewer.press("Submit")
    _section(viewer, "saved").get_by_text("version 2").wait_for()
    file = server.client().download_label(str(data.SeriesInstanceUID), "final")
    assert np.array_equal(np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file))), half)


def test_a_training_begun_elsewhere_is_shown_and_stopped(viewer, server, studies):
    viewer.open(str(studies[1].StudyInstanceUID))
    assert server.post(f"/train/{MODEL}", json={**QUICK, "max_epochs": 100_000}).ok
    train = _section(viewer, "train")
    train.get_by_text(f"{MODEL} is being trained, epoch").wait_for(timeout=TRAINING_MS)
    assert "left" in train.locator(".ml-progress").inner_text()
    viewer.picture("work_progress")
    assert "stopped" in viewer.press("Stop")
    train.locator(".ml-outcome").get_by_text("stopped; the live weights stay").wait_for()
    train.locator("progress").wait_for(state="detached")


def test_what_nobody_labelled_stays_so_when_a_label_is_corrected(viewer, server, studies, tmp_path):
    image, file = str(studies[2].SeriesInstanceUID), tmp_path / "partly.nrrd"
    label = _truth().astype(np.uint8)
    label[:, -20:] = 2
    sitk.WriteImage(sitk.GetImageFromArray(label), str(file))
    names = [{"name": name, "idx": value, "id": value} for name, value in LABELLED.items()]
    answer = server.put(
        "/datastore/label",
        params={"image": image},
        data={"params": json.dumps({"label_info": names})},
        files={"label": ("partly.nrrd", file.read_bytes())},
    )
    assert answer.ok, answer.text
    viewer.open(str(studies[2].StudyInstanceUID))
    row = _section(viewer, "saved").locator(".ml-work").first
    row.get_by_role("button", name="Correct").click()
    assert "what you submit" in viewer.status()
    viewer.press("Submit")
    _section(viewer, "saved").get_by_text("version 3").wait_for()
    versions = [
        server.get("/datastore/label/version", params={"image": image, "version": number})
        for number in (2, 3)
    ]
    before, after = (sitk.GetArrayFromImage(read_itk(one.content, ".nrrd")) for one in versions)
    assert np.array_equal(before, after) and (np.squeeze(after)[:, -20:] == IGNORE).all()


def test_unsaved_work_is_asked_about_before_it_is_left_or_replaced(viewer, studies):
    data = studies[3]
    viewer.open(str(data.StudyInstanceUID))
    viewer.choose(MODEL)
    viewer.press("Run")
    _draw(viewer, _truth())
    viewer.click("Next image")
    text = _asked(viewer, "Stay here")
    assert "Not saved" in text and MODEL in text and "drawn by hand" in text
    assert viewer.status() == "This image stays open"
    viewer.click("Run")
    assert "not saved" in _asked(viewer, "Leave it as it is")
    viewer.page.locator(".ml-status[data-kind='error']").wait_for()
    assert np.array_equal(_on_screen(viewer, data), _truth())
    viewer.page.locator("[data-cy='return-to-work-list']").click()
    assert "The list of studies" in _asked(viewer, "Stay here")
    assert viewer.page.evaluate(_LEAVES) is False, "the browser asks"

    viewer.click("Run")
    _asked(viewer, "Keep it as a layer")
    viewer.status()
    layer = _section(viewer, "saved").locator(".ml-layer-row")
    assert "Your label" in layer.first.inner_text() and MODEL in layer.last.inner_text()
    viewer.picture("work_kept_layer")


def test_an_empty_label_is_asked_about_once_and_saved_as_an_answer(viewer, archive, studies):
    data = studies[3]
    viewer.open(str(data.StudyInstanceUID))
    viewer.choose(MODEL)
    supply = viewer.page.locator(".ml-supply").get_by_text("accepted labels")
    before = int(supply.inner_text().split()[0])
    viewer.click("Submit")
    assert "no nuclei in this image" in _asked(viewer, "Go on drawing")
    assert viewer.status() == "Nothing was saved"
    viewer.click("Submit")
    _asked(viewer, "Nothing there")
    assert viewer.status() == "The label is saved"
    _section(viewer, "saved").get_by_text("version 1").wait_for()
    found = [
        seg for seg in objects(archive, "SEG") if seg.StudyInstanceUID == data.StudyInstanceUID
    ]
    (seg,) = found
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["nuclei"]
    assert not seg.pixel_array.any()
    viewer.page.locator(".ml-supply").get_by_text(f"{before + 1} accepted labels").wait_for()
