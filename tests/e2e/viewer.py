"""OHIF in a real browser: what a reader does in it, and what is drawn, read from the page."""

from __future__ import annotations

import base64
import shutil
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

_SHOWN = """() => window.cornerstone?.getRenderingEngines().flatMap(engine => engine.getViewports())
    .filter(viewport => viewport.getImageData?.()).length"""
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
_HUNG = """() => {
    const { displaySetService, viewportGridService } = window.services;
    return [...viewportGridService.getState().viewports.values()].map(viewport => {
        const [uid] = viewport.displaySetInstanceUIDs;
        const instance = displaySetService.getDisplaySetByUID(uid).instances[0];
        return `${instance.ImageLaterality}-${instance.ViewPosition}`;
    });
}"""


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
        page.on("console", lambda line: self.log.append(f"{line.type}: {line.text[:300]}"))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.route(lambda url: not url.startswith(server), lambda route: route.abort())

    def open_list(self, query: str = "") -> None:
        """Open the list of studies."""
        self.page.goto(f"{self.server}/ohif/{query}", wait_until="commit", timeout=PATIENCE_MS)

    def open(self, study: str) -> None:
        """Open a study in the mode of this app, and wait for its images and the panel."""
        address = f"{self.server}/ohif/monai-label?StudyInstanceUIDs={study}"
        self.page.goto(address, wait_until="commit", timeout=PATIENCE_MS)
        self.wait_until_open()

    def open_stored(self, study: str) -> None:
        """Open a study in OHIF's own viewer, and the first segmentation stored with it."""
        address = f"{self.server}/ohif/viewer?StudyInstanceUIDs={study}"
        self.page.goto(address, wait_until="commit", timeout=PATIENCE_MS)
        stored = self.page.locator("[data-cy='study-browser-thumbnail-no-image']")
        stored.filter(has_text="SEG").first.dblclick()
        self.page.get_by_text("Yes", exact=True).click()
        self.page.wait_for_function(_PAINTED)

    def wait_until_open(self) -> None:
        self.page.wait_for_function(_ENDED)
        self.page.wait_for_function(_SHOWN)
        notice = self.page.get_by_text("Confirm and Hide")
        if notice.count():
            notice.click()

    def click(self, name: str) -> None:
        """Press a button of the panel."""
        self.page.locator(".monailabel").get_by_role("button", name=name, exact=True).click()

    def press(self, name: str) -> str:
        """Press a button of the panel, wait until it is done, and return what the panel says."""
        self.click(name)
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

    def hung(self) -> list[str]:
        """Return the views in the order of their viewports."""
        return list(self.page.evaluate(_HUNG))

    def picture(self, name: str) -> None:
        """Keep a screenshot."""
        self.page.screenshot(path=str(self.pictures / f"{name}.png"))
