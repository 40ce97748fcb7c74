"""OHIF on a plain folder, without an archive: list, open, run, click, correct, submit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from pydicom.uid import EnhancedMRImageStorage
from server_support import MODEL, Server, discs, threshold_weights, write_dicom
from test_ohif_clicks import _PLACE, Asked
from viewer import Viewer

from lib.dicom.objects import item
from lib.io.labels import read_label
from lib.io.read import image_geometry
from lib.phantoms.nuclei import nuclei_phantom

CLICKED = "busi_click"
SHIPPED = "nuclei"
TOOL = "region_click"
ROWS, COLUMNS, SLICES = 48, 72, 6
LEFT_HANDED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
TURNED = (0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.0, 0.6, 0.6, 0.0, -0.8, 0.0, 1.0, 0.0)
KINDS = {
    "picture": "picture.png",
    "colour": "colour.png",
    "stack": "stack.tif",
    "left_handed": "left_handed.nii.gz",
    "turned": "turned.nrrd",
    "oblique": "oblique.mha",
    "loop": "loop.dcm",
    "still": "still.dcm",
    "enhanced": "enhanced.dcm",
}
VIEWS = ["R-CC", "L-CC", "R-MLO", "L-MLO"]


def _drawing(shift: int = 0) -> np.ndarray:
    """Discs, of which one corner has none, so that no mirrored copy is the same."""
    drawn = np.roll(discs(ROWS, COLUMNS), 3 * shift, axis=1)
    drawn[:14, :30] = 10
    return drawn


def _write_enhanced(file: Path, pixels: np.ndarray) -> None:
    """Write an MR volume in one file, whose slices lie against the normal of their plane."""
    orientation = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    measures = item(PixelSpacing=[0.9, 0.7], SliceThickness=2)
    shared = item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])
    positions = [item(ImagePositionPatient=[-31, 12, 47 - 2 * n]) for n in range(len(pixels))]
    write_dicom(
        file,
        pixels,
        Modality="MR",
        SOPClassUID=EnhancedMRImageStorage,
        PatientName="enhanced",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=[item(PlanePositionSequence=[one]) for one in positions],
    )


def _write_studies(folder: Path) -> None:
    flat, deep = _drawing(), np.stack([_drawing(number) for number in range(SLICES)])
    Image.fromarray(flat).save(folder / KINDS["picture"])
    Image.fromarray(np.stack([flat] * 3, axis=-1)).save(folder / KINDS["colour"])
    tifffile.imwrite(folder / KINDS["stack"], deep, photometric="minisblack")
    for name, direction in {
        "left_handed": LEFT_HANDED,
        "turned": TURNED,
        "oblique": OBLIQUE,
    }.items():
        volume = sitk.GetImageFromArray(deep)
        volume.SetSpacing((0.7, 0.9, 2.0))
        volume.SetOrigin((-31.0, 12.0, 47.0))
        volume.SetDirection(direction)
        sitk.WriteImage(volume, str(folder / KINDS[name]))
    write_dicom(folder / KINDS["loop"], deep, FrameTime=40)
    write_dicom(folder / KINDS["still"], flat)
    _write_enhanced(folder / KINDS["enhanced"], deep)
    for view in VIEWS:
        Image.fromarray(flat).save(folder / f"anna_{view}.png")
    Image.fromarray(nuclei_phantom(5, rows=128, columns=160)[0]).save(folder / "nuclei.png")


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture(scope="module")
def server(profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tmp_path_factory.mktemp("folder"), f"{MODEL},{CLICKED},{SHIPPED}", any_modality="true"
    )
    _write_studies(server.studies)
    threshold_weights(server.live_file)
    threshold_weights(server.model_dir / f"{CLICKED}.pt", task=CLICKED)
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: Server, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _rows(server: Server, path: str, **query: str) -> list[dict[str, Any]]:
    reply = server.get(f"/proxy/dicom/qido/{path}", params=query)
    assert reply.ok, reply.text
    return [
        {tag: element.get("Value", [""])[0] for tag, element in row.items()} for row in reply.json()
    ]


def _studies(server: Server, image: str) -> list[dict[str, Any]]:
    return [row for row in _rows(server, "studies") if image in str(row["00100010"])]


def _study(server: Server, image: str) -> str:
    found = _studies(server, image)
    if not found:  # a DICOM file has the name of its patient
        uids = server.get("/datastore/image/info", params={"image": image}).json()
        raise AssertionError(f"{image} is not listed: {uids}")
    return str(found[0]["0020000D"])


def _places(server: Server, study: str) -> list[tuple[str, int]]:
    """Instance and frame of each slice, in the order of the file."""
    instances = sorted(
        _rows(server, f"studies/{study}/instances"), key=lambda row: int(row["00200013"])
    )
    return [
        (str(row["00080018"]), frame)
        for row in instances
        for frame in range(1, int(row["00280008"]) + 1)
    ]


def _answer(server: Server, image: str, model: str = MODEL, **params: Any) -> np.ndarray:
    """What the server answers by the id of the image, `(slices, rows, columns)`, as in its file."""
    reply = server.post(
        f"/infer/{model}",
        params={"image": image, "output": "image"},
        data={"params": json.dumps({"result_extension": ".nrrd", **params})},
    )
    assert reply.ok, reply.text
    (server.folder / "answer.nrrd").write_bytes(reply.content)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(server.folder / "answer.nrrd")))
    return found.reshape(-1, *found.shape[-2:])


def _saved(server: Server, kind: str) -> np.ndarray:
    """The label in the folder, `(slices, rows, columns)`, on the grid of its image."""
    (file,) = (server.studies / "labels" / "final").glob(f"{kind}.*")
    found = read_label(file, image_geometry(server.studies / KINDS[kind]))
    return found.reshape(-1, *found.shape[-2:])


def _on_screen(viewer: Viewer, places: list[tuple[str, int]]) -> np.ndarray:
    drawn = viewer.drawn()
    return np.stack([drawn[place] for place in places])


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_drawn_corrected_and_saved_into_the_folder_to_the_voxel(viewer, server, kind):
    study = _study(server, kind)
    places = _places(server, study)
    expected = _answer(server, kind)
    assert len(places) == len(expected) and 0 < expected.mean() < 1
    viewer.open(study)
    viewer.choose(MODEL)
    assert f"{MODEL} answered" in viewer.press("Run")
    assert np.array_equal(_on_screen(viewer, places), expected)
    viewer.paint(len(places) // 3)
    corrected = _on_screen(viewer, places)
    assert (corrected != expected).any()
    viewer.picture(f"folder_{kind}")
    assert "saved" in viewer.press("Submit")
    assert np.array_equal(_saved(server, kind), corrected)
    row = next(row for row in _rows(server, "studies") if row["0020000D"] == study)
    assert str(row["00081030"]).startswith("labelled")


def test_a_picture_of_nuclei_is_found_in_the_list_and_answered_by_shipped_weights(viewer, server):
    viewer.open_list()
    viewer.page.get_by_text("nuclei", exact=True).first.click()
    viewer.wait_until_open()
    viewer.choose(SHIPPED)
    assert f"{SHIPPED} answered" in viewer.press("Run")
    ((place, drawn),) = viewer.drawn().items()
    assert place in _places(server, _study(server, "nuclei"))
    assert np.array_equal(drawn, _answer(server, "nuclei", SHIPPED)[0]) and 0 < drawn.mean() < 0.9
    viewer.picture("folder_nuclei")


def test_the_pictures_of_an_exam_hang_as_four_views(viewer, server):
    viewer.open(_study(server, "anna"))
    assert viewer.hung() == VIEWS
    viewer.picture("folder_exam")


def test_digitised_film_with_its_view_as_orientation_takes_a_class_and_a_click(viewer, server):
    film = server.studies / "film.dcm"
    tags = {"Modality": "MG", "Laterality": "L", "PatientOrientation": "CC"}
    write_dicom(film, _drawing(), PatientName="film", **tags)
    try:
        server.wait_for(lambda: _studies(server, "film"), "a new file in the list")
        viewer.open(_study(server, "film"))
        assert "Class B is saved" in viewer.press("B")
        viewer.choose(TOOL)
        viewer.click("Add")
        viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [50, 20]))
        assert f"{TOOL} answered" in viewer.status()
        assert "undefined" not in viewer.page.locator(".monailabel").inner_text()
    finally:
        film.unlink()


def test_the_next_image_opens_that_very_image(viewer, server):
    viewer.open(_study(server, "nuclei"))
    series = viewer.next_image()
    listed = [row for row in _rows(server, "series") if row["0020000E"] == series]
    assert len(listed) == 1 and str(listed[0]["00081030"]) == "no label"
    assert listed[0]["0020000D"] in viewer.page.url


def test_an_answer_on_an_image_with_nothing_in_it_is_shown_with_a_warning(viewer, server):
    grey = server.studies / "empty_slide.png"
    Image.fromarray(np.full((ROWS, COLUMNS), 90, np.uint8)).save(grey)
    warning = viewer.page.locator(".ml-answer .ml-warning")
    try:
        server.wait_for(lambda: _studies(server, "empty_slide"), "a new file in the list")
        viewer.open(_study(server, "empty_slide"))
        viewer.choose(SHIPPED)
        assert f"{SHIPPED} answered" in viewer.press("Run")
        assert "same everywhere: there is nothing in it to find" in warning.inner_text()
        assert warning.is_visible() and warning.get_attribute("role") == "alert"
        viewer.picture("folder_warning")
    finally:
        grey.unlink()
    viewer.open(_study(server, "nuclei"))
    viewer.choose(SHIPPED)
    assert f"{SHIPPED} answered" in viewer.press("Run")
    assert warning.count() == 0


@pytest.mark.parametrize("kind", ["colour", "left_handed", "loop"])
def test_a_click_lands_on_the_pixel_of_the_file(viewer, server, kind):
    study = _study(server, kind)
    places = _places(server, study)
    viewer.open(study)
    viewer.choose(CLICKED)
    asked = Asked(viewer)
    viewer.click("Add")
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [50, 20]))
    assert f"{CLICKED} answered" in viewer.status()
    ((positive, negative),) = asked.points
    (point,) = positive
    assert point[:2] == [50, 20] and negative == []
    shown = viewer.page.evaluate("() => window.shownElements()[0].viewport.getCurrentImageId()")
    instance = viewer.page.evaluate(
        "id => window.cornerstone.metaData.get('instance', id).SOPInstanceUID", shown
    )
    frame = int(shown.rsplit("/", 1)[1])
    assert places[point[2]] == (instance, frame)
    expected = _answer(server, kind, CLICKED, foreground=positive, background=[], index="file")
    assert np.array_equal(_on_screen(viewer, places), expected)


def test_the_panel_says_why_a_damaged_picture_does_not_open(viewer, server):
    whole = (server.studies / "nuclei.png").read_bytes()
    damaged = server.studies / "damaged.png"
    damaged.write_bytes(whole[: len(whole) // 2])
    try:
        server.wait_for(lambda: _studies(server, "damaged"), "a new file in the list")
        study = _study(server, "damaged")
        viewer.page.goto(f"{server.url}/ohif/monai-label?StudyInstanceUIDs={study}")
        told = viewer.page.locator(".ml-status[data-kind=error]").inner_text()
    finally:
        damaged.unlink()
    assert told.startswith("damaged.png: damaged")
