"""From nothing to an own model in the browser: the kinds of studies, and a place that holds them.

A place is a folder or an archive. A new kind is a row of
`journey_kinds.KINDS`, and a writer in each place.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
from journey_kinds import SAMPLES, Kind, Sample
from scipy import ndimage
from server_support import TRAINING_SECONDS, Server
from skimage.measure import find_contours
from viewer import Viewer

# of answers, of what the mouse draws, and of what is drawn elsewhere before and after a click
LEAST_DICE, LEAST_DRAWN, LEAST_KEPT = 0.8, 0.9, 0.95
CORNERS, MARGIN = 12, 3  # of a lasso; pixels around a structure


class Place(Protocol):
    """Where the samples of one kind lie: written when it is made, before its server starts.

    Attributes:
        server: running while the place is in use; its models folder is empty at first.
        samples: in their order; all methods take a number of this order.
    """

    server: Server
    samples: list[Sample]

    def image(self, number: int) -> str:
        """Return what names the image in requests."""

    def study(self, number: int) -> str:
        """Return the StudyInstanceUID."""

    def places(self, number: int) -> list[tuple[str, int]]:
        """Return SOPInstanceUID and frame from 1 of each slice, in the order of the sample."""

    def stored(self, number: int) -> np.ndarray | str:
        """Return the accepted label, read from where it is kept and not from the server.

        Returns:
            `(slices, rows, columns)` in the order of the sample, or the class of an exam.
        """

    def accept(self, number: int) -> None:
        """Store the truth as the accepted label, as an annotator would by REST."""


def on_screen(viewer: Viewer, places: list[tuple[str, int]]) -> np.ndarray:
    """Return what is drawn, `(slices, rows, columns)` in the order of `places`."""
    drawn = viewer.drawn()
    return np.stack([drawn[place] for place in places])


def walk(viewer: Viewer, place: Place, kind: Kind) -> None:
    """Do what a reader does with a kind of study, from no model to the next sample."""
    viewer.page.route("**/train/*", lambda route: _train_quickly(route, kind.quick))
    steps = _ExamSteps if place.samples[0].density else _LabelSteps
    journey = steps(viewer, place, kind)
    journey.open()
    journey.label_first()
    journey.train()
    journey.run()
    journey.correct()
    journey.reopen()
    journey.next_sample()


def _train_quickly(route: Any, quick: dict[str, object]) -> None:
    """Train small: what the panel leaves to its defaults takes minutes."""
    if route.request.method == "POST":
        params = {**json.loads(route.request.post_data), **quick}
        route.continue_(post_data=json.dumps(params))
    else:
        route.continue_()


class _Steps:
    """What the journeys of all kinds have in common."""

    in_browser = 1  # samples that are labelled in the browser

    def __init__(self, viewer: Viewer, place: Place, kind: Kind) -> None:
        self.viewer, self.place, self.kind = viewer, place, kind

    def section(self, name: str) -> Any:
        return self.viewer.page.locator(f"[data-section='{name}']")

    def picture(self, step: str) -> None:
        self.viewer.picture(f"journey_{self.kind.name}_{step}")

    def open(self) -> None:
        instance, _ = self.place.places(0)[0]
        self.viewer.open(self.place.study(0), instance)
        hint = self.section("image").get_by_text("after 2 labels press Train")
        assert "No model fits this" in hint.inner_text()
        self.picture("1_open")

    def label_first(self) -> None:
        raise NotImplementedError

    def train(self) -> None:
        """Train in the panel, once the other samples are labelled, and see it go live."""
        for number in range(self.in_browser, SAMPLES - 1):
            self.place.accept(number)
        train = self.section("train")
        train.get_by_label("Task to train").select_option(self.kind.task)
        self.viewer.page.locator(".ml-supply").get_by_text(
            f"{SAMPLES - 1} accepted labels"
        ).wait_for()
        train.get_by_label("Epochs", exact=True).fill(str(self.kind.epochs))
        self.viewer.press("Train")
        outcome = train.locator(".ml-outcome").filter(has_text=self.kind.task)
        outcome.wait_for(timeout=1000 * TRAINING_SECONDS)
        self.picture("3_trained")
        said = outcome.inner_text()
        assert "published" in said, said

    def run(self) -> None:
        raise NotImplementedError

    def correct(self) -> None:
        raise NotImplementedError

    def reopen(self) -> None:
        raise NotImplementedError

    def next_sample(self) -> None:
        """The only sample of this kind without a label is opened, not an image of another kind."""
        self.viewer.next_image()
        last = self.place.places(SAMPLES - 1)
        assert self.viewer.shown() in {instance for instance, _ in last}
        self.picture("7_next")


class _LabelSteps(_Steps):
    """Of what is drawn."""

    @property
    def drawn(self) -> np.ndarray:
        return on_screen(self.viewer, self.place.places(0))

    @property
    def truth(self) -> np.ndarray:
        return self.place.samples[0].truth

    def label_first(self) -> None:
        """Draw each structure by the mouse, slice by slice."""
        if self.kind.tool == "box":
            self.viewer.choose("region_click")
        self.viewer.take(self.kind.tool)
        draw = {"brush": self.brush, "box": self.box, "lasso": self.lasso}[self.kind.tool]
        axis = self.viewer.cut()
        for index, plane in enumerate(np.moveaxis(self.truth, axis, 0)):
            numbers, count = ndimage.label(plane)
            for number in range(1, count + 1):
                track = draw(numbers == number)
                self.viewer.drag(self.place.places(0), *np.insert(track, axis, index, axis=1))
        self.picture("2_label")
        score = dice(self.drawn > 0, self.truth)
        assert score > LEAST_DRAWN, score
        self.submit()

    def brush(self, structure: np.ndarray) -> list[tuple[float, float]]:
        """Take a brush as large as a structure in a plane; return a place in its middle, twice."""
        self.viewer.set_brush(2 * np.sqrt(structure.sum() / np.pi))
        return 2 * [ndimage.center_of_mass(structure)]

    def box(self, structure: np.ndarray) -> list[tuple[float, float]]:
        """Return two corners of a box around a structure in a plane."""
        low, high = (end(np.nonzero(structure), axis=1) for end in (np.min, np.max))
        return [tuple(low - MARGIN), tuple(high + MARGIN)]

    def lasso(self, structure: np.ndarray) -> list[tuple[float, float]]:
        """Return places along the outline of a structure in a plane."""
        (outline,) = find_contours(np.pad(structure, 1), 0.5)
        some = np.linspace(0, len(outline) - 1, CORNERS, endpoint=False).round().astype(int)
        return list(outline[some] - 1)

    def submit(self) -> None:
        expected = self.drawn > 0
        assert "saved" in self.viewer.press("Submit")
        assert np.array_equal(self.place.stored(0) > 0, expected)

    def run(self) -> None:
        self.viewer.choose(self.kind.task)
        said = self.viewer.press("Run")
        assert f"{self.kind.task} answered" in said, said
        found = self.drawn > 0
        score = dice(found, self.answerable)
        assert score > LEAST_DICE, (score, found.sum((1, 2)), self.answerable.sum((1, 2)))
        self.picture("4_run")

    @property
    def answerable(self) -> np.ndarray:
        """What of the truth the task answers."""
        numbers, _ = ndimage.label(self.truth)
        sizes = np.bincount(numbers[numbers > 0])
        return numbers == sizes.argmax() if self.kind.largest_only else self.truth

    def correct(self) -> None:
        """Click on a structure that the answer lacks; where it lacks none, take the smallest away.

        What is drawn elsewhere stays, but for outlines that are found anew.
        """
        before = self.drawn > 0
        numbers, count = ndimage.label(self.truth)
        each = {number: numbers == number for number in range(1, count + 1)}
        smallest = min(each.values(), key=np.sum)
        lacking = [structure for structure in each.values() if not (structure & before).any()]
        structure = lacking[0] if lacking else smallest
        self.viewer.take("add" if lacking else "remove")
        depth = ndimage.distance_transform_edt(structure)
        middle = np.unravel_index(depth.argmax(), depth.shape)
        said = self.viewer.click_voxel(self.place.places(0), middle)
        after = self.drawn > 0
        self.picture("5_corrected")
        assert after[middle] == bool(lacking), said
        around = ndimage.binary_dilation(structure, iterations=MARGIN)
        there = middle[0]  # a click on a loop is about its frame alone
        found, wanted = after[there] & around[there], structure[there] & bool(lacking)
        assert dice(found, wanted) > LEAST_DICE, (found.sum(), wanted.sum())
        kept = dice(after & ~around, before & ~around)
        assert kept == 1 if lacking else kept > LEAST_KEPT, kept
        self.submit()

    def reopen(self) -> None:
        self.viewer.open(self.place.study(0), self.place.places(0)[0][0])
        self.viewer.correct()
        assert np.array_equal(self.drawn > 0, self.place.stored(0) > 0)
        self.picture("6_reopened")


class _ExamSteps(_Steps):
    """Of the class of an exam."""

    in_browser = 3  # exams that get their class in the panel

    def label_first(self) -> None:
        """Give several exams their class, none of which any model has answered on."""
        for number in range(self.in_browser):
            if number:
                self.open_exam(number)
            self.submit(number, self.place.samples[number].density)
        self.picture("2_label")

    def open_exam(self, number: int) -> None:
        self.viewer.open(self.place.study(number), self.place.places(number)[0][0])

    def submit(self, number: int, density: str) -> None:
        assert f"Class {density} is saved" in self.viewer.press(density)
        assert self.place.stored(number) == density

    def run(self) -> None:
        """See the own model tell exams of both classes apart."""
        for number in (1, 0):
            self.open_exam(number)
            self.viewer.choose(self.kind.task)
            assert f"{self.kind.task} answered" in self.viewer.press("Run")
            letter = self.viewer.page.locator(".ml-letter").inner_text()
            assert letter == self.place.samples[number].density
        self.picture("4_run")

    def correct(self) -> None:
        self.submit(0, "B")
        self.picture("5_corrected")

    def reopen(self) -> None:
        self.open_exam(0)
        self.section("density").get_by_text("Saved: B by").wait_for()
        self.section("saved").get_by_text("density B").wait_for()
        self.picture("6_reopened")


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks; of two empty ones 1."""
    total = found.sum() + truth.sum()
    return float(2 * (found & truth).sum() / total) if total else 1.0
