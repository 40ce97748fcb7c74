"""The scripted person: works step by step in a browser, by mouse and keyboard alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from recorder import Recorder
from viewer import _PAINTED, Viewer

WINDOW = {"width": 1280, "height": 720}
EPOCHS = 6  # of the training, whatever the panel asks for: clicks are counted, not patience
PATIENCE_MS, TRAINING_MS = 45_000, 900_000
COLOURS = 96  # of a kept screenshot
# the middle of a pixel on the screen
_PLACE = """([column, row]) => {
    const [{ viewport }] = window.shownElements();
    const { left, top } = viewport.canvas.getBoundingClientRect();
    const { imageData } = viewport.getImageData();
    const [x, y] = viewport.worldToCanvas(imageData.indexToWorld([column, row, 0]));
    return [left + x, top + y];
}"""


class Impossible(Exception):
    """A step that cannot be done in a panel, and why."""


class Person:
    """One person at one page.

    Args:
        profile: of a browser, with a window of `WINDOW`.
        server: its address.
        pictures: folder of the screenshots after each step; None keeps none.
    """

    def __init__(self, profile: Any, server: str, pictures: Path | None = None) -> None:
        self.page = profile.new_page()
        self.recorder = Recorder(self.page)
        self.viewer = Viewer(self.page, server, pictures or Path())
        self._pictures = pictures
        self.page.set_default_timeout(PATIENCE_MS)
        self.missing: dict[str, str] = {}
        self.figures: dict[str, float] = {}  # what a task found beside its steps
        self.page.route("**/train/*", _shortened)

    @contextmanager
    def step(self, name: str, picture: str = "") -> Iterator[None]:
        """Do one step, counted; what is impossible is kept with its reason, and work goes on."""
        try:
            with self.recorder.step(name):
                yield
        except Impossible as reason:
            self.missing[name] = str(reason)
            self.recorder.steps.pop()
            return
        if picture and self._pictures:
            self.page.mouse.move(2, 2)
            file = self._pictures / f"{picture}.png"
            self.page.screenshot(path=str(file))
            Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)

    def start_at_list(self) -> None:
        """Go to the address that the server prints, and wait for the list of studies."""
        self.viewer.open_list()
        self.page.get_by_text("Study List").first.wait_for()
        notice = self.page.get_by_text("Confirm and Hide")  # once in a browser
        if notice.count():
            notice.click()

    def open_from_list(self, text: str) -> None:
        """Open the study of a row of the list in the mode of the app, by its button."""
        self._row(text).click()
        self.page.get_by_role("button", name="MONAI Label", exact=True).click()
        self.viewer.wait_until_open()

    def open_by_row(self, text: str) -> None:
        """Open the study of a row of the list where the row does that."""
        self._row(text).click()
        self.viewer.wait_until_open()

    def _row(self, text: str) -> Any:
        return self.page.locator("[data-cy='study-list-results'] tr[data-cy]", has_text=text).first

    def wait_until_answered(self) -> None:
        """Wait until the panel says that a model has answered, or what is wrong."""
        line = self.page.locator(".ml-status")
        refused = self.page.locator(".ml-status[data-kind='error']")
        line.filter(has_text="answered").or_(refused).wait_for()
        if refused.count():
            told = re.sub(r" '[\d.]{20,}'", "", refused.inner_text()).split(":")[0]
            raise Impossible(f"the panel says: {told}")

    def wait_until_drawn(self) -> None:
        """Wait until a label map holds something."""
        self.page.wait_for_function(_PAINTED)

    def wait_until_trained(self, outcome: str) -> None:
        """Wait until a training has ended in a way."""
        self.page.locator(".ml-outcome").filter(has_text=outcome).wait_for(timeout=TRAINING_MS)

    def require(self, name: str) -> None:
        """Do not go on where an earlier step was impossible."""
        if name in self.missing:
            raise Impossible("there is nothing to go on with")

    def back_to_list(self) -> None:
        self.page.locator("[data-cy='return-to-work-list']").click()
        self.page.get_by_text("Study List").first.wait_for()

    def place(self, pixel: tuple[int, int]) -> tuple[float, float]:
        """Where a pixel `(column, row)` of the first viewport lies on the screen."""
        x, y = self.page.evaluate(_PLACE, list(pixel))
        return float(x), float(y)

    def click_image(self, pixel: tuple[int, int]) -> None:
        self.page.mouse.click(*self.place(pixel))


def _shortened(route: Any) -> None:
    """Ask for a training of `EPOCHS`."""
    if route.request.method != "POST":
        route.continue_()
        return
    params = {**json.loads(route.request.post_data or "{}"), "max_epochs": EPOCHS}
    route.continue_(post_data=json.dumps(params))
