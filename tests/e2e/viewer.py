"""OHIF in a real browser: what a reader does in it, and what is drawn, read from the page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# WebGL in software, and nothing that calls home
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 150_000  # with a busy machine; on a quiet one a step takes a few seconds

# OHIF draws its thumbnails in elements of cornerstone too, each for a moment
_ELEMENTS = """window.shownElements = () => window.cornerstone.getEnabledElements()
    .filter(({ renderingEngineId }) => renderingEngineId !== '_thumbnails')"""
# whether each viewport that is to show something does
_SHOWN = """() => {
    const { cornerstoneViewportService, viewportGridService } = window.services ?? {};
    const viewports = [...(viewportGridService?.getState()?.viewports.values() ?? [])]
        .filter(({ displaySetInstanceUIDs }) => displaySetInstanceUIDs?.length);
    return viewports.length > 0 && viewports.every(({ viewportId }) =>
        cornerstoneViewportService?.getCornerstoneViewport(viewportId)?.getImageData?.());
}"""
# whether something is shown, in OHIF's own modes too
_IN_ANY_MODE = """() => window.cornerstone?.getEnabledElements()
    .some(({ viewport, renderingEngineId }) =>
        renderingEngineId !== '_thumbnails' && viewport.getImageData?.())"""
# whether the server has told the panel what can be done with the image; older panels have no hint
_KNOWN = "() => document.querySelector('.ml-hint')?.textContent !== ''"
_ENDED = "() => ['done', 'error'].includes(document.querySelector('.ml-status')?.dataset.kind)"
_DRAWN = """() => {
    const { cornerstone, cornerstoneTools } = window;
    const found = {};
    for (const { representationData } of cornerstoneTools.segmentation.state.getSegmentations()) {
        for (const imageId of representationData.Labelmap.imageIds) {
            const image = cornerstone.cache.getImage(imageId);
            const over = image.referencedImageId;
            const { SOPInstanceUID } = cornerstone.metaData.get('instance', over);
            const frame = /frames\\/([0-9]+)/.exec(over)?.[1] ?? '1';
            const values = image.voxelManager.getScalarData();
            let text = '';
            values.forEach(value => (text += String.fromCharCode(value)));
            found[`${SOPInstanceUID}/${frame}`] = [image.rows, image.columns, btoa(text)];
        }
    }
    return found;
}"""
_PAINTED = """() => window.cornerstoneTools?.segmentation.state.getSegmentations().some(
    ({ representationData }) => representationData.Labelmap?.imageIds?.some(id => window.cornerstone
        .cache.getImage(id)?.voxelManager.getScalarData().some(value => value)))"""
_PAINT = """([place, side]) => {
    const { cornerstone, cornerstoneTools } = window;
    const [segmentation] = cornerstoneTools.segmentation.state.getSegmentations();
    const { imageIds } = segmentation.representationData.Labelmap;
    const image = cornerstone.cache.getImage(imageIds[place]);
    const values = image.voxelManager.getScalarData();
    for (let row = 0; row < side; row += 1) {
        for (let column = 0; column < side; column += 1) {
            values[row * image.columns + column] = 1 - values[row * image.columns + column];
        }
    }
}"""
_ASKED = "() => new URLSearchParams(location.search).get('initialSeriesInstanceUID')"
_INSTANCE = """() => {
    const { cornerstoneViewportService, displaySetService, viewportGridService } = window.services;
    const { activeViewportId, viewports } = viewportGridService.getState();
    const [uid] = viewports.get(activeViewportId)?.displaySetInstanceUIDs ?? [];
    const viewport = cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
    const displaySet = viewport?.getImageData?.() && displaySetService.getDisplaySetByUID(uid);
    if (!displaySet) return '';
    // the image before stays until this one has come
    const drawn = viewport.getCornerstoneImage?.()?.imageId ?? viewport.getImageIds()[0];
    return displaySet.imageIds?.includes(drawn) ? displaySet.instances[0].SOPInstanceUID : '';
}"""
_NUMBER = """instance => window.services.displaySetService.getActiveDisplaySets()
    .findIndex(found => found.instances.some(one => one.SOPInstanceUID === instance))"""
_HUNG = """() => {
    const { displaySetService, viewportGridService } = window.services;
    return [...viewportGridService.getState().viewports.values()].map(viewport => {
        const [uid] = viewport.displaySetInstanceUIDs;
        const instance = displaySetService.getDisplaySetByUID(uid).instances[0];
        return `${instance.ImageLaterality}-${instance.ViewPosition}`;
    });
}"""
# brings a slice into view in the first viewport of the image, and answers where its voxels, each
# slice, row and column, lie on the page
_ON_VOXELS = """async ([places, voxels]) => {
    const { cornerstone } = window;
    for (const { viewport } of window.shownElements()) {
        const ids = viewport.getImageIds();
        const numberOf = ([instance, frame]) => ids.findIndex(id =>
            cornerstone.metaData.get('instance', id)?.SOPInstanceUID === instance &&
            Number(/frames\\/([0-9]+)/.exec(id)?.[1] ?? 1) === frame);
        const [first, last] = [numberOf(places[0]), numberOf(places[places.length - 1])];
        if (first < 0 || last < 0) continue;
        const step = places.length > 1 ? (last - first) / (places.length - 1) : 0;
        const stack = viewport.type === 'stack';
        if (stack) await viewport.setImageIdIndex(first + step * voxels[0][0]);
        const { imageData } = viewport.getImageData();
        const worlds = voxels.map(([slice, row, column]) =>
            imageData.indexToWorld([column, row, stack ? 0 : first + step * slice])
        );
        if (!stack) viewport.jumpToWorld(worlds[0]);
        const { left, top } = viewport.canvas.getBoundingClientRect();
        return worlds.map(world => {
            const [x, y] = viewport.worldToCanvas(world);
            return [left + x, top + y];
        });
    }
}"""
# which axis of the voxels, 0 for slices, the first viewport cuts; planes of a volume are the
# patient's, not those that were acquired
_CUT = """() => {
    const [{ viewport }] = window.shownElements();
    if (viewport.type === 'stack') return 0;
    const { viewPlaneNormal } = viewport.getCamera();
    const { direction } = viewport.getImageData();
    const along = [2, 1, 0].map(axis => Math.abs(
        viewPlaneNormal.reduce((sum, part, at) => sum + part * direction[3 * axis + at], 0)));
    return along.indexOf(Math.max(...along));
}"""

Places = Sequence[tuple[str, int]]
Voxel = Sequence[float]


class Viewer:
    """One page of OHIF.

    Args:
        page: of Playwright.
        server: address of the MONAI Label server.
        pictures: folder for screenshots.
    """

    def __init__(self, page: Any, server: str, pictures: Path) -> None:
        self.page, self.server, self.pictures = page, server, pictures
        self.faults: list[str] = []
        self.log: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(_ELEMENTS)
        page.on("console", lambda line: self.log.append(f"{line.type}: {line.text[:300]}"))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.outside: list[str] = []  # addresses of other sites that the page asked for
        page.route(lambda url: not url.startswith(server), self._refuse)

    def _refuse(self, route: Any) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def open_list(self, query: str = "") -> None:
        """Open the list of studies."""
        self.page.goto(f"{self.server}/ohif/{query}", wait_until="commit", timeout=PATIENCE_MS)

    def open(self, study: str, instance: str = "") -> None:
        """Open a study, or an instance of it, in the mode of this app; wait for image and panel."""
        address = f"{self.server}/ohif/monai-label?StudyInstanceUIDs={study}"
        if instance:
            address += f"&initialSOPInstanceUID={instance}"
        self.page.goto(address, wait_until="commit", timeout=PATIENCE_MS)
        self.wait_until_open()

    def open_stored(self, study: str) -> None:
        """Open a study in OHIF's own viewer, and the first segmentation stored with it."""
        address = f"{self.server}/ohif/viewer?StudyInstanceUIDs={study}"
        self.page.goto(address, wait_until="commit", timeout=PATIENCE_MS)
        self.page.wait_for_function(_IN_ANY_MODE)
        stored = self.page.locator("[data-cy='study-browser-thumbnail-no-image']")
        stored.filter(has_text="SEG").first.dblclick()
        self.page.get_by_text("Yes", exact=True).click()
        self.page.wait_for_function(_PAINTED)

    def wait_until_open(self) -> None:
        for happened in (_ENDED, _SHOWN, _KNOWN):
            self.page.wait_for_function(happened)
        notice = self.page.get_by_text("Confirm and Hide")
        if notice.count():
            notice.click()

    def hang(self, instance: str) -> None:
        """Double-click the thumbnail of an instance, and wait until it is on the screen."""
        number = self.page.evaluate(_NUMBER, instance)
        self.page.locator("[data-cy='study-browser-thumbnail']").nth(number).dblclick()
        self.page.wait_for_function(f"instance => ({_INSTANCE})() === instance", arg=instance)

    def shown(self) -> str:
        """SOPInstanceUID of what the active viewport shows, of a volume the first slice."""
        return str(self.page.wait_for_function(_INSTANCE).json_value())

    def click(self, name: str) -> None:
        """Press a button of the panel."""
        self.page.locator(".monailabel").get_by_role("button", name=name, exact=True).click()

    def press(self, name: str) -> str:
        """Press a button of the panel, wait until it is done, and return what the panel says."""
        self.click(name)
        return self.status()

    def correct(self) -> str:
        """Press Correct beside what counts as the label of the shown image."""
        row = self.page.locator(f".ml-work[data-instance='{self.shown()}']:has(.ml-current)")
        row.get_by_role("button", name="Correct", exact=True).click()
        return self.status()

    def next_image(self) -> str:
        """Have the next image opened, and return its id."""
        with self.page.expect_navigation(wait_until="commit"):
            self.click("Next image")
        self.wait_until_open()
        return str(self.page.evaluate(_ASKED))

    def status(self) -> str:
        self.page.wait_for_function(_ENDED)
        line = self.page.locator(".ml-status")
        assert line.get_attribute("data-kind") == "done", line.inner_text()
        return str(line.inner_text())

    def choose(self, model: str) -> None:
        self.page.get_by_label("Model", exact=True).select_option(model)

    def offered(self) -> list[str]:
        """Return the models that the panel offers."""
        options = self.page.get_by_label("Model", exact=True).locator("option")
        return list(options.all_inner_texts())

    def drawn(self) -> dict[tuple[str, int], np.ndarray]:
        """Label maps `(rows, columns)` as they are on the screen, by instance and frame from 1."""
        found = {}
        for key, (rows, columns, text) in self.page.evaluate(_DRAWN).items():
            instance, frame = key.split("/")
            values = np.frombuffer(base64.b64decode(text), np.uint8)
            found[instance, int(frame)] = values.reshape(rows, columns)
        return found

    def paint(self, place: int, side: int = 4) -> None:
        """Turn round a square at the corner of the first label map's image at `place`."""
        self.page.evaluate(_PAINT, [place, side])

    def take(self, tool: str) -> None:
        """Have a drawing tool on, by its button unless it is on already."""
        button = self.page.locator(f"[data-tool='{tool}']")
        if button.get_attribute("aria-pressed") != "true":
            button.click()
        self.page.locator(f"[data-tool='{tool}'][aria-pressed='true']").wait_for()

    def cut(self) -> int:
        """Return which axis of the voxels, slices, rows or columns, the first viewport cuts."""
        return int(self.page.evaluate(_CUT))

    def at(self, places: Places, *voxels: Voxel) -> list[tuple[float, float]]:
        """Bring a voxel into view in the first viewport of an image; return where some lie.

        Args:
            places: SOPInstanceUID and frame from 1 of each slice.
            voxels: slice, row and column of each, all in one plane of the viewport; whole numbers
                are the middles.

        Returns:
            Places on the page, pixels.
        """
        asked = [[float(part) for part in voxel] for voxel in voxels]
        found = self.page.evaluate(_ON_VOXELS, [list(map(list, places)), asked])
        return [(float(x), float(y)) for x, y in found]

    def click_pixel(self, place: tuple[str, int], column: int, row: int) -> None:
        """Click on the middle of a pixel of one slice or frame; see `at`."""
        (spot,) = self.at([place], (0, row, column))
        self.page.mouse.click(*spot)

    def click_voxel(self, places: Places, voxel: Voxel) -> str:
        """Click on a voxel with the tool that is on; see `at`. Return what the panel says."""
        (spot,) = self.at(places, voxel)
        self.page.mouse.click(*spot)
        return self.status()

    def drag(self, places: Places, *voxels: Voxel) -> str:
        """Drag over voxels with the tool that is on; see `at`. Return what the panel says."""
        first, *others = self.at(places, *voxels)
        mouse = self.page.mouse
        mouse.move(*first)
        mouse.down()
        for spot in others:
            mouse.move(*spot)
        mouse.up()
        return self.status()

    def set_brush(self, diameter: float) -> None:
        """Enter the size of brush and eraser, pixels."""
        size = self.page.locator("input.ml-size")
        size.fill(f"{diameter:.0f}")
        size.press("Enter")

    def hung(self) -> list[str]:
        """Return the views in the order of their viewports."""
        return list(self.page.evaluate(_HUNG))

    def picture(self, name: str) -> None:
        """Keep a screenshot."""
        self.page.screenshot(path=str(self.pictures / f"{name}.png"))
