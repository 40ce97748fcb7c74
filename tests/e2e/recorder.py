"""What a scripted person does in a page: clicks, drags, keys and seconds of each named step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

# on `window` in the capture phase, so before any listener of the page; synthetic events are no
# person's, but for the choice from a list: two clicks, on the list and on its entry
_LISTEN = """() => {
    const far = 4; // CSS pixels that a pointer may move in a click
    let pressed = null;
    const tell = kind => window.recordInput?.(kind);
    const listen = (name, tellOf) =>
        window.addEventListener(name, event => event.isTrusted && tellOf(event), true);
    listen('pointerdown', event => (pressed = [event.clientX, event.clientY]));
    listen('pointerup', event => {
        const [x, y] = pressed ?? [event.clientX, event.clientY];
        pressed = null;
        tell(Math.hypot(event.clientX - x, event.clientY - y) > far ? 'drags' : 'clicks');
    });
    listen('keydown', event => event.repeat || tell('keys'));
    window.addEventListener('change', ({ target }) => {
        if (target.tagName === 'SELECT') {
            tell('clicks');
            tell('clicks');
        }
    }, true);
}"""


@dataclass
class Step:
    """What one step took.

    Attributes:
        clicks: of any mouse button; a choice from a list is two, a double-click too.
        drags: pressed, moved by more than 4 CSS pixels, let go.
        keys: presses, each character of a text one.
        seconds: from the step's start to its end; the scripted person does not think.
    """

    name: str
    clicks: int = 0
    drags: int = 0
    keys: int = 0
    seconds: float = 0.0

    @property
    def actions(self) -> int:
        return self.clicks + self.drags + self.keys

    def row(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": round(self.seconds, 1)}


class Recorder:
    """Counts what is done in a page of Playwright; make it before the page is first opened."""

    def __init__(self, page: Any) -> None:
        self.steps: list[Step] = []
        self._page = page
        self._step: Step | None = None
        page.expose_function("recordInput", self._count)
        page.add_init_script(f"({_LISTEN})()")

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Count what is done within as one step; outside of steps nothing counts."""
        self._step, begun = Step(name), time.monotonic()
        try:
            yield self._step
            self._page.evaluate("0")  # what the page told before has then arrived
        finally:
            self._step.seconds = time.monotonic() - begun
            self.steps.append(self._step)
            self._step = None

    def _count(self, kind: str) -> None:
        if self._step is not None:
            setattr(self._step, kind, getattr(self._step, kind) + 1)
