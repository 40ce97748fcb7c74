"""Tools of OHIF's panel, with the mouse and no weights: what a drag draws, to the pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from server_support import MODEL, Server, discs, write_dicom
from skimage.draw import polygon2mask
from viewer import Viewer

from lib.io.labels import read_label
from lib.io.read import image_geometry

STRUCTURES, LESION = "ultrasound3d_structures", "busi_lesion"
ROWS, COLUMNS, SLICES = 48, 72, 6
KINDS = {
    "picture": "picture.png",
    "colour": "colour.png",
    "still": "still.dcm",
    "loop": "loop.dcm",
    "volume": "volume.nrrd",
}
# the middle of a pixel of the active viewport's plane, [column, row], on the page
_PLACE = """([number, column, row]) => {
    const { viewport } = window.shownElements()[number];
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const { imageData } = viewport.getImageData();
    const slice = viewport.type === 'stack' ? 0 : viewport.getSliceIndex();
    const [x, y] = viewport.worldToCanvas(imageData.indexToWorld([column, row, slice]));
    return [left + x, top + y];
}"""
_INDEX = """([number, x, y]) => {
    const { viewport } = window.shownElements()[number];
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const world = viewport.canvasToWorld([x - left, y - top]);
    return [...viewport.getImageData().imageData.worldToIndex(world)];
}"""
_CANVAS = """number => {
    const { canvas } = window.shownElements()[number].viewport;
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [left, top, width, height];
}"""


@pytest.fixture(scope="module")
def profile(new_profile: Any) -> Any:
    return new_profile(viewport={"width": 1280, "height": 720})


@pytest.fixture(scope="module")
def server(profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without any weights."""
    folder = tmp_path_factory.mktemp("tools")
    server = Server(folder, f"{MODEL},{LESION},{STRUCTURES}", any_modality="true")
    flat = discs(ROWS, COLUMNS)
    deep = np.stack([np.roll(flat, 3 * number, axis=1) for number in range(SLICES)])
    Image.fromarray(flat).save(server.studies / KINDS["picture"])
    Image.fromarray(np.stack([flat, flat // 2, flat], -1)).save(server.studies / KINDS["colour"])
    write_dicom(server.studies / KINDS["still"], flat)
    write_dicom(server.studies / KINDS["loop"], deep, FrameTime=40)
    volume = sitk.GetImageFromArray(deep)
    volume.SetSpacing((0.7, 0.9, 2.0))
    sitk.WriteImage(volume, str(server.studies / KINDS["volume"]))
    yield server.start()
    server.stop()


@pytest.fixture
def viewer(new_viewer, server: Server, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _open(viewer: Viewer, server: Server, kind: str, structure: str = "nuclei") -> None:
    found = server.get("/viewer/image", params={"image": kind}).json()
    viewer.open(found["StudyInstanceUID"])
    viewer.page.locator("select.ml-structure").select_option(structure)


def _tool(viewer: Viewer, name: str) -> None:
    """Press a tool's button, and see that it is the only one that is on."""
    viewer.page.locator(f"[data-tool='{name}']").click()
    assert _on(viewer) == [name]


def _on(viewer: Viewer) -> list[str]:
    pressed = viewer.page.locator("[data-tool][aria-pressed='true']").all()
    return [str(button.get_attribute("data-tool")) for button in pressed]


def _drag(viewer: Viewer, places: list[tuple[float, float]], number: int = 0) -> np.ndarray:
    """Drag over pixels [column, row]; return where it went, (points, 3) as index of the image."""
    page = viewer.page
    spots = [page.evaluate(_PLACE, [number, *place]) for place in places]
    _drag_over(viewer, spots)
    return np.array([page.evaluate(_INDEX, [number, *spot]) for spot in spots])


def _drag_over(viewer: Viewer, spots: list[tuple[float, float]]) -> None:
    """Drag over places of the page, and wait until what was dragged is drawn."""
    mouse = viewer.page.mouse
    mouse.move(*spots[0])
    mouse.down()
    for spot in spots[1:]:
        mouse.move(*spot, steps=4)
    mouse.up()
    viewer.status()


def _drawn(viewer: Viewer) -> np.ndarray:
    """All label maps on the screen, `(slices, rows, columns)` in the order of OHIF's images."""
    return np.stack(list(viewer.drawn().values()))


def _press(viewer: Viewer, what: str) -> str:
    viewer.page.locator(f"[data-do='{what}']").click()
    return viewer.status()


def _inside(points: np.ndarray) -> np.ndarray:
    """The pixels whose middles lie inside a polygon of [column, row]."""
    return polygon2mask((ROWS, COLUMNS), points[:, 1::-1])


def _box(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    low, high = np.minimum(one, other), np.maximum(one, other)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    inside = (columns >= low[0]) & (columns <= high[0]) & (rows >= low[1]) & (rows <= high[1])
    return np.asarray(inside)


def _saved(server: Server, kind: str) -> np.ndarray:
    (file,) = (server.studies / "labels" / "final").glob(f"{kind}.*")
    found = read_label(file, image_geometry(server.studies / KINDS[kind]))
    return found.reshape(-1, *found.shape[-2:])


@pytest.mark.parametrize("kind", ["picture", "colour", "still", "loop"])
def test_box_lasso_brush_and_eraser_draw_what_was_dragged_and_it_is_saved(viewer, server, kind):
    _open(viewer, server, kind)
    _tool(viewer, "lasso")
    corners = [(12.2, 8.3), (40.1, 10.2), (33.4, 30.1), (15.3, 27.2)]
    track = _drag(viewer, corners)
    expected = _inside(track[:, :2])
    assert np.array_equal(_drawn(viewer)[0], expected)

    _tool(viewer, "box")
    ends = _drag(viewer, [(60.3, 40.4), (50.2, 20.3)])
    boxed = expected | _box(ends[0, :2], ends[1, :2])
    assert np.array_equal(_drawn(viewer)[0], boxed)

    viewer.page.locator("input.ml-size").fill("7")
    _tool(viewer, "brush")
    start, end = _drag(viewer, [(30, 38), (44, 38)])[:, :2]
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    away = np.hypot(columns - np.clip(columns, start[0], end[0]), rows - start[1])
    painted = boxed | (away <= 3.5)
    assert np.array_equal(_drawn(viewer)[0], painted)
    _tool(viewer, "eraser")
    _drag(viewer, [(35, 38), (44, 38)])
    erased = _drawn(viewer)[0]
    assert not erased[:, 36:44][36:41].any() and (erased <= painted).all()
    viewer.picture(f"tools_{kind}")

    for before in (painted, boxed, expected, np.zeros_like(expected)):
        _press(viewer, "undo")
        assert np.array_equal(_drawn(viewer)[0], before)
    for after in (expected, boxed, painted, erased):
        _press(viewer, "redo")
        assert np.array_equal(_drawn(viewer)[0], after)
    assert "saved" in viewer.press("Submit")
    saved = _saved(server, kind)
    assert np.array_equal(saved[0], erased) and not saved[1:].any()


def _ordered(viewer: Viewer, server: Server, kind: str) -> np.ndarray:
    """What is drawn, in the order of the file's slices."""
    study = server.get("/viewer/image", params={"image": kind}).json()["StudyInstanceUID"]
    rows = server.get(f"/proxy/dicom/studies/{study}/instances").json()
    rows.sort(key=lambda row: int(row["00200013"]["Value"][0]))
    drawn = viewer.drawn()
    return np.stack([drawn[row["00080018"]["Value"][0], 1] for row in rows])


def test_a_lasso_fills_the_slice_that_is_shown_in_each_plane_of_a_volume(viewer, server):
    _open(viewer, server, "volume")
    viewer.choose("region_click")
    viewer.page.locator("select.ml-structure").select_option("cyst")
    _tool(viewer, "lasso")
    expected = np.zeros((SLICES, ROWS, COLUMNS), np.uint8)
    for plane, away in enumerate((2, 0, 1)):  # the axis that the plane cuts, x first
        left, top, width, height = viewer.page.evaluate(_CANVAS, plane)
        x, y = left + width / 2, top + height / 2
        spots = [(x - 30, y - 9), (x + 25, y - 10), (x + 20, y + 9), (x - 25, y + 7)]
        track = np.array([viewer.page.evaluate(_INDEX, [plane, *spot]) for spot in spots])
        _drag_over(viewer, spots)
        others = [axis for axis in range(3) if axis != away]
        shape = [expected.shape[2 - axis] for axis in others]
        inside = polygon2mask(shape, track[:, others])
        cut = expected.transpose(2, 1, 0)  # x, y, z
        level = round(track[0, away] + 1e-6)
        np.moveaxis(cut, away, 0)[level][inside] = 2
        assert inside.any() and np.array_equal(_ordered(viewer, server, "volume"), expected)
    viewer.picture("tools_volume")


def test_scribbles_and_clicks_go_into_the_chosen_structure_and_are_taken_back(viewer, server):
    _open(viewer, server, "volume")
    viewer.choose("region_click")
    viewer.page.locator("select.ml-structure").select_option("gland")
    _tool(viewer, "lasso")
    _drag(viewer, [(4, 22), (10, 22), (10, 27), (4, 27)])
    gland = _ordered(viewer, server, "volume")
    assert set(np.unique(gland)) == {0, 1}
    viewer.page.locator("select.ml-structure").select_option("cyst")
    _tool(viewer, "scribble")
    _drag(viewer, [(46, 12), (48, 14)])
    scribbled = _ordered(viewer, server, "volume")
    assert (scribbled == 2).sum() > 20 and np.array_equal(scribbled == 1, gland == 1)
    _tool(viewer, "scribble-background")
    _drag(viewer, [(40, 4), (54, 4)])
    assert viewer.page.locator(".ml-line-background").count()
    cut = _ordered(viewer, server, "volume")
    assert np.array_equal(cut == 1, gland == 1)
    _tool(viewer, "add")
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [0, 48, 36]))
    assert "follows 1 click" in viewer.status()
    clicked = _ordered(viewer, server, "volume")
    assert (clicked == 2).sum() > (cut == 2).sum() and np.array_equal(clicked == 1, gland == 1)
    for before in (cut, scribbled, gland, np.zeros_like(gland)):
        _press(viewer, "undo")
        assert np.array_equal(_ordered(viewer, server, "volume"), before)
        assert viewer.page.locator(".ml-mark").count() == 0
    for after in (gland, scribbled, cut, clicked):
        _press(viewer, "redo")
        assert np.array_equal(_ordered(viewer, server, "volume"), after)
    assert viewer.page.locator(".ml-mark").count() == 1


def test_an_answer_is_corrected_by_a_click_and_undone_without_another_model(viewer, server):
    _open(viewer, server, "colour")
    viewer.press("Run")
    answer = _drawn(viewer)[0]
    assert answer[36, 36] == 1
    _tool(viewer, "remove")
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [0, 36, 36]))
    viewer.status()
    corrected = _drawn(viewer)[0]
    assert corrected[36, 36] == 0 and corrected[12, 12] == answer[12, 12] == 1
    _press(viewer, "undo")
    _tool(viewer, "add")
    viewer.page.keyboard.down("Alt")
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [0, 36, 36]))
    viewer.page.keyboard.up("Alt")
    viewer.status()
    assert np.array_equal(_drawn(viewer)[0], corrected), "Alt turns the sign"
    for expected in (answer, np.zeros_like(answer)):
        _press(viewer, "undo")
        assert np.array_equal(_drawn(viewer)[0], expected)
    assert viewer.page.locator("[data-do='undo']").get_attribute("aria-disabled") == "true"


def test_region_click_finds_the_structure_in_a_box(viewer, server):
    _open(viewer, server, "picture")
    viewer.choose("region_click")
    viewer.page.locator("select.ml-structure").select_option("lesion")
    _tool(viewer, "box")
    _drag(viewer, [(2, 2), (22, 24)])
    found, disc = _drawn(viewer)[0], discs(ROWS, COLUMNS) > 100
    disc[24:], disc[:, 22:] = False, False
    assert 2 * (found & disc).sum() / (found.sum() + disc.sum()) > 0.9


def test_keys_choose_tools_and_sizes_and_do_nothing_while_a_number_is_typed(viewer, server):
    _open(viewer, server, "picture")
    keys, size = viewer.page.keyboard, viewer.page.locator("input.ml-size")
    tools = "brush eraser scribble scribble-background box lasso add remove".split()
    for key, tool in zip("besgxfad", tools, strict=True):
        keys.press(key)
        assert _on(viewer) == [tool]
    keys.press("Escape")
    assert _on(viewer) == []
    size.fill("20")
    size.press("b")
    assert _on(viewer) == []
    size.press("Tab")
    for key, expected in ((".", "22"), (",", "20")):
        keys.press(key)
        assert size.input_value() == expected
    keys.press("?")
    viewer.page.locator(".ml-keys").get_by_text("Next structure").wait_for()
    viewer.picture("tools_keys")
    keys.press("b")
    viewer.page.mouse.click(*viewer.page.evaluate(_PLACE, [0, 36, 24]))
    viewer.status()
    painted = _drawn(viewer)[0]
    assert painted.any()
    for key, expected in (("Control+z", 0 * painted), ("Control+Shift+z", painted)):
        keys.press(key)
        viewer.status()
        assert np.array_equal(_drawn(viewer)[0], expected)
