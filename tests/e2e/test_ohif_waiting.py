"""OHIF's panel waits for the image to open, and shows channels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.data import get_testdata_file
from server_support import MODEL, Server, discs, threshold_weights, write_png
from test_ohif_folder import _answer, _places, _study
from viewer import Viewer

from lib.data.studies import list_items
from lib.dicom.header import open_dicom
from lib.dicom.pixels import decode_frames

ROWS, COLUMNS = 48, 72
DISCS = discs(ROWS, COLUMNS)
NAMES = ["GFP", "DAPI"]
SIGNED = "J2K_pixelrep_mismatch.dcm"  # a slice of CT whose JPEG 2000 tells another sign
_VALUES = """() => {
    const [{ viewport }] = window.shownElements();
    return [...viewport.getCornerstoneImage().getPixelData()];
}"""
_NOT_YET = """milliseconds => {
    const { viewportGridService } = window.services;
    const state = viewportGridService.getState;
    const none = { activeViewportId: '' };
    viewportGridService.getState = () => ({ ...state.call(viewportGridService), ...none });
    setTimeout(() => (viewportGridService.getState = state), milliseconds);
}"""


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture(scope="module")
def server(profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("waiting"), MODEL)
    write_png(server.studies / "picture.png", DISCS)
    told = {"axes": "CYX", "Channel": {"Name": NAMES}}
    channels = np.stack([np.roll(DISCS, 9, axis=1), DISCS])
    tifffile.imwrite(server.studies / "stained.tif", channels, metadata=told)
    if (file := get_testdata_file(SIGNED, download=False)) is not None:
        shutil.copy(file, server.studies / SIGNED)
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: Server, profile) -> Viewer:
    return new_viewer(profile, server.url)


def test_run_waits_until_ohif_has_opened_the_image(viewer, server):
    viewer.open(_study(server, "picture"))
    viewer.choose(MODEL)
    viewer.page.evaluate(_NOT_YET, 1500)
    assert f"{MODEL} answered" in viewer.press("Run")


def test_the_channel_that_is_chosen_is_shown_asked_and_kept_with_the_label(viewer, server):
    study = _study(server, "stained")
    first, second = ([place] for place in _places_of_channels(server, study))
    viewer.open(study)
    viewer.choose(MODEL)
    channel = viewer.page.get_by_label("Channel", exact=True)
    assert channel.locator("option").all_inner_texts() == NAMES
    assert channel.input_value() == "GFP" and viewer.shown() == first[0][0]
    assert f"{MODEL} answered" in viewer.press("Run")
    on_gfp = _answer(server, "stained", channel="GFP")[0]
    assert np.array_equal(viewer.drawn()[first[0]], on_gfp) and 0 < on_gfp.mean() < 1
    channel.select_option("DAPI")
    assert viewer.status() == "Channel DAPI is shown"
    assert viewer.shown() == second[0][0] and channel.input_value() == "DAPI"
    assert np.array_equal(viewer.drawn()[second[0]], on_gfp)  # what was drawn lies over it
    assert f"{MODEL} answered" in viewer.press("Run")
    on_dapi = _answer(server, "stained", channel="DAPI")[0]
    assert np.array_equal(viewer.drawn()[second[0]], on_dapi) and (on_dapi != on_gfp).any()
    viewer.picture("channel")
    assert "saved" in viewer.press("Submit")
    (item,) = list_items(server.studies, labelled=True)
    assert (item.id, item.channel) == ("stained", "DAPI")
    viewer.open(_study(server, "picture"))
    assert not channel.is_visible()


def test_a_slice_whose_codestream_tells_another_sign_is_shown_and_answers(viewer, server):
    if not (server.studies / SIGNED).exists():
        pytest.skip("needs pydicom-data: pip install -r requirements-dev.txt")
    file = server.studies / SIGNED
    instance = str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)
    about = server.get("/viewer/image", params={"image": file.stem}).json()
    viewer.open(about["StudyInstanceUID"])
    viewer.picture("signed")
    assert viewer.shown() == instance
    values = np.array(viewer.page.evaluate(_VALUES))
    assert np.array_equal(values, decode_frames(file, open_dicom(file)).values.reshape(-1))
    assert values.min() < 0


def _places_of_channels(server: Server, study: str) -> list[tuple[str, int]]:
    """Instance and frame of each channel, in the order that the server tells."""
    image = server.get("/viewer/image", params={"image": "stained"}).json()
    places = dict.fromkeys(_places(server, study))
    found = []
    for series in image["channels"].values():
        shown = server.get(f"/proxy/dicom/qido/studies/{study}/series/{series}/instances").json()
        found += [place for place in places if place[0] == shown[0]["00080018"]["Value"][0]]
    return found
