"""What lies over mammograms of a plain folder in OHIF, read from the pixels of the page.

Dense tissue and saliency must lie on the pixels that they are about however the view is turned, and
what the reader corrects, saves and opens again must be what is drawn.
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from server_support import Server
from test_density import _weights_that_answer_c as weights_that_answer_c
from viewer import PATIENCE_MS, Viewer

from lib.phantoms.mammograms.exams import exam_phantom
from lib.weights.checkpoint import load_checkpoint, save_checkpoint

DENSITY = "density_birads"
TISSUE = (86, 180, 233)  # the colour of dense tissue in the legend
VIEW, PLACE = "R-MLO", 2  # the view that is looked at, and its viewport
TURNED = {
    "as it opens": {},
    "zoomed and moved": {"zoom": 1.3, "pan": [12, -8]},
    "flipped": {"flipHorizontal": True},
    "turned": {"rotation": 90},
    "all": {"zoom": 1.2, "pan": [-10, 6], "rotation": 270, "flipHorizontal": True},
}
_TURN = """([place, how]) => {
    const { cornerstoneViewportService, viewportGridService } = window.services;
    const id = [...viewportGridService.getState().viewports.keys()][place];
    const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
    const asked = { rotation: 0, flipHorizontal: false, zoom: 1, pan: [0, 0], ...how };
    viewport.setViewPresentation(asked);
    viewport.render();
}"""
_PLACES = """([place, points]) => {
    const { cornerstoneViewportService, viewportGridService } = window.services;
    const id = [...viewportGridService.getState().viewports.keys()][place];
    const viewport = cornerstoneViewportService.getCornerstoneViewport(id);
    const { left, top, right, bottom } = viewport.canvas.getBoundingClientRect();
    const { imageData } = viewport.getImageData();
    return points.map(([x, y]) => {
        const [right_, down] = viewport.worldToCanvas(imageData.indexToWorld([x, y, 0]));
        const [X, Y] = [left + right_, top + down];
        // away from the rim, where OHIF writes
        return X > left + 40 && X < right - 40 && Y > top + 40 && Y < bottom - 40 ? [X, Y] : null;
    });
}"""
_PUT = """([place, text, value]) => {
    const { cornerstone, cornerstoneTools } = window;
    const { cornerstoneViewportService, viewportGridService } = window.services;
    const id = [...viewportGridService.getState().viewports.keys()][place];
    const shown = cornerstoneViewportService.getCornerstoneViewport(id).getCurrentImageId();
    for (const one of cornerstoneTools.segmentation.state.getSegmentations()) {
        for (const imageId of one.representationData.Labelmap.imageIds) {
            const image = cornerstone.cache.getImage(imageId);
            if (image.referencedImageId === shown) {
                const values = image.voxelManager.getScalarData();
                [...text].forEach((sign, index) => sign === '1' && (values[index] = value));
                cornerstoneTools.segmentation.triggerSegmentationEvents
                    .triggerSegmentationDataModified(one.segmentationId);
            }
        }
    }
}"""


def _weights_that_look(file: Path) -> None:
    """Write weights that answer C, for which all that the network finds speaks."""
    torch.manual_seed(0)
    weights_that_answer_c(file)
    checkpoint = load_checkpoint(file)
    for weight in checkpoint.weights.values():
        if weight.ndim == 2 and len(weight) == 4:
            weight[2] = 0.05
    save_checkpoint(file, checkpoint)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over a folder with the four pictures of an exam, and a density model."""
    server = Server(tmp_path_factory.mktemp("overlays"), DENSITY)
    for phantom in exam_phantom(7, 0, 0.06, "C").views:
        top = 2**phantom.detector.bits - 1
        grey = np.rint(255.0 * phantom.pixels / top).astype(np.uint8)
        Image.fromarray(grey).save(server.studies / f"eva_{phantom.view.name}.png")
    _weights_that_look(server.model_dir / f"{DENSITY}.pt")
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def profile(new_profile: Any) -> Any:
    return new_profile()


@pytest.fixture
def viewer(new_viewer, profile, server) -> Viewer:
    viewer = new_viewer(profile, server.url)
    viewer.page.set_viewport_size({"width": 1920, "height": 1080})
    found = server.get("/viewer/image", params={"image": f"eva_{VIEW}"}).json()
    viewer.open(found["StudyInstanceUID"])
    assert viewer.hung()[PLACE] == VIEW
    return viewer


def _infer(server: Server, model: str, **params: Any) -> dict[str, Any]:
    query = {"image": f"eva_{VIEW}", "output": "json"}
    data = {"params": json.dumps({"result_extension": ".png", **params})}
    answer = server.post(f"/infer/{model}", params=query, data=data)
    assert answer.ok, answer.text
    return dict(answer.json())


def _picture(server: Server, path: str) -> Image.Image:
    answer = server.get(path)
    assert answer.ok, answer.text
    return Image.open(io.BytesIO(answer.content))


def _opacity(viewer: Viewer, value: int) -> None:
    slider = viewer.page.get_by_label("Opacity", exact=True)
    slider.evaluate(
        "(slider, value) => { slider.value = value;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def _turn(viewer: Viewer, how: dict[str, Any], place: int = PLACE) -> None:
    viewer.page.evaluate(_TURN, [place, how])


def _comes(viewer: Viewer, there: Callable[[], bool]) -> bool:
    """Whether something is seen in the end: what lies over an image is drawn a moment after it."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not (seen := there()) and time.monotonic() < deadline:
        viewer.page.wait_for_timeout(200)
    return seen


def _colours(
    viewer: Viewer, points: np.ndarray, place: int = PLACE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours on the page at points `(n, 2)` (x, y) of the image, and which are seen."""
    places = viewer.page.evaluate(_PLACES, [place, points.tolist()])
    seen = np.array([found is not None for found in places])
    page = np.asarray(Image.open(io.BytesIO(viewer.page.screenshot())).convert("RGB"), float)
    found = [page[int(y), int(x)] for x, y in filter(None, places)]
    return np.array(found).reshape(-1, 3), seen


def _inside(mask: np.ndarray, margin: int, count: int = 60) -> np.ndarray:
    """Return points (x, y) that lie in a mask, `margin` pixels from its edge."""
    rows, columns = np.nonzero(ndimage.binary_erosion(mask, iterations=margin))
    chosen = np.random.default_rng(3).permutation(len(rows))[:count]
    return np.stack([columns[chosen], rows[chosen]], axis=1)


def _far(colours: np.ndarray, colour: tuple[float, ...]) -> np.ndarray:
    return np.abs(colours - colour).max(axis=1)


def _is_tissue(viewer: Viewer, points: np.ndarray, least: float = 0.95) -> bool:
    """Whether the page has the colour of tissue at (nearly) all points of the image."""
    found, seen = _colours(viewer, points)
    return bool(seen.sum() > 8 and (_far(found, TISSUE) < 12).mean() > least)


def test_dense_tissue_lies_on_its_pixels_however_the_view_is_turned_and_the_slider_changes_them(
    viewer, server
):
    answer = _infer(server, "percent_density")
    tissue = np.asarray(_picture(server, answer["tissue"][VIEW]))
    viewer.press("Percent density")
    dense, other = _inside(tissue == 1, 2, 400), _inside(tissue == 2, 3, 400)
    assert min(len(dense), len(other)) > 20

    def lies_there() -> bool:
        found, seen = _colours(viewer, other)
        grey = seen.sum() > 8 and (np.ptp(found, axis=1) < 12).mean() > 0.95
        return bool(grey) and _is_tissue(viewer, dense)

    def distance() -> float:
        return float(_far(_colours(viewer, dense)[0], TISSUE).mean())

    _opacity(viewer, 100)
    for name, how in TURNED.items():
        _turn(viewer, how)
        assert _comes(viewer, lies_there), name
        viewer.picture(f"overlay_tissue_{name}")
    viewer.page.set_viewport_size({"width": 1500, "height": 900})
    _turn(viewer, {})
    assert _comes(viewer, lambda: _is_tissue(viewer, dense)), "in a smaller window"
    _opacity(viewer, 0)
    assert _comes(viewer, lambda: distance() > 20), "nothing of the tissue is seen"
    distances = [distance()]
    for value in (30, 60, 100):
        _opacity(viewer, value)
        assert _comes(viewer, lambda: distance() < distances[-1]), f"more is seen at {value}"
        distances.append(distance())
    assert distances[0] > 4 * distances[-1] + 20


def test_saliency_lies_on_its_pixels_however_the_view_is_turned(viewer, server):
    assert f"{DENSITY} answered" in (viewer.choose(DENSITY) or viewer.press("Run"))
    viewer.page.get_by_label("Over the views", exact=True).select_option("gradcam")
    viewer.status()
    viewer.page.wait_for_function("() => document.querySelectorAll('.ml-layer').length === 4")
    answer = _infer(server, DENSITY, saliency="gradcam")
    layer = _picture(server, answer["saliency"]["R-CC"]["gradcam"]["layer"]).convert("RGBA")
    colours = np.asarray(layer, float)
    assert (colours[..., 3] > 100).mean() > 0.1, "the network looks somewhere"
    even = np.hypot(*np.gradient(colours.sum(axis=-1))) < 12  # no steep place
    points = _inside(even, 1, 150)

    def lies_there() -> bool:
        _opacity(viewer, 0)
        bare, seen = _colours(viewer, points, 0)
        _opacity(viewer, 100)
        found, _ = _colours(viewer, points, 0)
        own = colours[points[seen, 1], points[seen, 0]]
        alpha = own[:, 3:] / 255
        expected = own[:, :3] * alpha + bare * (1 - alpha)
        return bool(seen.sum() > 20 and (np.abs(found - expected).max(axis=1) < 16).mean() > 0.9)

    for name, how in TURNED.items():
        _turn(viewer, how, 0)
        assert _comes(viewer, lies_there), name
    viewer.picture("overlay_saliency")
    legend = viewer.page.locator(".ml-legend").inner_text()
    assert "class C" in legend and "no outline of tissue" in legend


def test_a_stroke_over_the_tissue_is_counted_and_its_undoing_too(viewer, server):
    answer = _infer(server, "percent_density")
    tissue = np.asarray(_picture(server, answer["tissue"][VIEW]))
    viewer.press("Percent density")
    _unfold(viewer)
    row = viewer.page.locator(".ml-percent table tr", has_text=VIEW)
    before = row.inner_text()
    percent = re.escape(before.split("%")[0].split()[-1])
    places = viewer.page.evaluate(_PLACES, [PLACE, _inside(tissue == 2, 6).tolist()])
    x, y = next(place for place in places if place)
    viewer.page.locator("[data-tool='brush']").click()
    viewer.page.mouse.move(x, y)
    viewer.page.mouse.down()
    viewer.page.mouse.move(x + 6, y + 6)
    viewer.page.mouse.up()
    corrected = row.filter(has_text="corrected, not saved yet")
    corrected.filter(has_not_text=re.compile(rf"(?<!\d){percent} %")).wait_for()
    viewer.page.locator("[data-do='undo']").click()
    viewer.page.wait_for_function(
        "([view, text]) => [...document.querySelectorAll('.ml-percent table tr')]"
        ".some(row => row.innerText.includes(view) && row.innerText === text)",
        arg=[VIEW, before],
    )


def test_corrected_tissue_is_counted_saved_with_the_class_and_opened_again(viewer, server):
    answer = _infer(server, "percent_density")
    tissue = np.asarray(_picture(server, answer["tissue"][VIEW])).copy()
    viewer.press("Percent density")
    table = viewer.page.locator(".ml-percent table")
    _unfold(viewer)
    assert all(view in table.inner_text() for view in ("R-CC", "L-CC", "R-MLO", "L-MLO"))
    rows, columns = np.nonzero(tissue == 2)
    brushed = np.zeros(tissue.shape, bool)
    brushed[rows[: len(rows) // 3], columns[: len(rows) // 3]] = True
    text = "".join("01"[int(value)] for value in brushed.ravel())
    viewer.page.evaluate(_PUT, [PLACE, text, 1])
    tissue[brushed] = 1
    percent = 100 * (tissue == 1).sum() / ((tissue == 1) | (tissue == 2)).sum()
    row = table.locator("tr", has_text=VIEW)
    row.filter(has_text="corrected, not saved yet").wait_for()
    row.filter(has_text=f"{percent:.1f} %").wait_for()
    assert "corrected tissue of 1 views" in viewer.press("C")
    saved = server.get("/viewer/density", params={"image": f"eva_{VIEW}"}).json()
    assert saved["labels"][0]["percent_density"][VIEW] == pytest.approx(percent, abs=0.06)
    found = server.get("/viewer/label", params={"image": f"eva_{VIEW}", "tag": "dense_tissue"})
    assert found.ok, found.text
    files = list((server.studies / "labels" / "dense_tissue").glob(f"eva_{VIEW}.*"))
    assert len(files) == 1 and _label(files[0]).tolist() == tissue.tolist()

    viewer.page.reload()
    viewer.wait_until_open()
    viewer.page.locator(".ml-saved-class").filter(has_text="Saved: C").wait_for()
    viewer.press("Saved tissue")
    viewer.page.locator(".ml-percent").filter(has_text=f"{percent:.1f} %").wait_for()
    dense = _inside(brushed, 2)
    _opacity(viewer, 100)
    assert _comes(viewer, lambda: _is_tissue(viewer, dense, 0.9))
    viewer.picture("overlay_reopened")


def _unfold(viewer: Viewer) -> None:
    """Show the percent of each view; what is unfolded stays so for the next test."""
    table = viewer.page.locator(".ml-percent table")
    if not table.is_visible():
        viewer.page.locator(".ml-percent summary").click()
    table.wait_for()


def _label(file: Path) -> np.ndarray:
    from lib.io.labels import read_label

    return read_label(file)
