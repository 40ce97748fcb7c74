"""The reading room in a real browser: one-key answers, second reads, disagreement and consensus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_support import Server

from lib.phantoms.mammograms.exams import write_exams

EXAMS = 3
DENSITY = "density_birads"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over a folder of exams that nobody has read."""
    server = Server(tmp_path_factory.mktemp("reading"), DENSITY)
    write_exams(server.studies, seed=1, exams=EXAMS, scale=0.06, labelled=0)
    yield server.start()
    server.stop()


class Room:
    """The page, opened by one reader in a profile of its own."""

    def __init__(self, viewer: Any, server: Server) -> None:
        self.viewer, self.page = viewer, viewer.page
        self.page.set_viewport_size({"width": 1280, "height": 720})
        self.page.goto(f"{server.url}/reading")
        self.page.wait_for_selector("#views img")  # of the first list that is not empty

    def name(self, reader: str) -> None:
        """Enter the reader's name, as the page asks for."""
        self.page.get_by_label("Reader").fill(reader)
        self.page.keyboard.press("Enter")
        self.said("Press A, B, C or D")

    def said(self, text: str) -> None:
        self.page.locator("#status").filter(has_text=text).wait_for()

    def press(self, key: str) -> None:
        """Answer with a key, and wait until it is saved."""
        title = self.title()
        self.page.keyboard.press(key)
        self.said(f"{title}: {key.upper()} is saved")

    def title(self) -> str:
        return str(self.page.locator("#exam").inner_text())

    def open(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab).click()

    def tabs(self) -> list[str]:
        return [str(tab) for tab in self.page.get_by_role("tab").all_inner_texts()]

    def texts(self) -> str:
        return str(self.page.locator("body").inner_text())


@pytest.fixture
def new_room(new_profile, new_viewer, server):
    return lambda: Room(new_viewer(new_profile(), server.url), server)


def _readers(server: Server) -> dict[str, dict[str, str]]:
    """Return the densities by exam and reader, as another program of theirs would ask for them."""
    rows = server.get("/agreement").json()["densities"]["exams"]
    return {row["exam"]: row["densities"] for row in rows}


def test_two_readers_read_apart_and_settle_what_they_differ_on(new_room, server, tmp_path: Path):
    anna = new_room()
    anna.page.keyboard.press("Escape")
    anna.page.locator("#exam").click()
    anna.page.keyboard.press("b")
    anna.said("Enter your name first")
    assert not any("final" in item["labels"] for item in server.images().values())
    anna.name("<b>anna</b>")
    assert anna.page.locator("#views img").count() == 4
    assert anna.page.locator("figcaption").all_inner_texts() == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    first = anna.title()
    anna.viewer.picture("reading_room")
    for key in "abc":
        anna.press(key)
    assert anna.tabs() == ["To read (0)", "Second read (0)", "Disagreements (0)", "Done (3)"]
    anna.page.keyboard.press("Backspace")
    assert "C" in anna.page.locator("[aria-pressed=true]").inner_text()

    bert = new_room()
    bert.name("bert")
    assert bert.tabs() == ["To read (0)", "Second read (3)", "Disagreements (0)", "Done (0)"]
    bert.open("Second read")
    assert "read by <b>anna</b>" in bert.texts()
    assert bert.title() == first
    assert bert.page.locator("[aria-pressed=true]").count() == 0
    assert bert.page.locator("#others").inner_text() == ""
    for key in "abd":
        bert.press(key)
    bert.open("Disagreements")
    assert bert.tabs()[2] == "Disagreements (1)"
    assert "<b>anna</b>: C" in bert.texts() and "bert: D" in bert.texts()
    bert.page.locator("#agreement summary").click()
    assert "67 %" in bert.page.locator("#agreement").inner_text()
    bert.viewer.picture("reading_room_disagreement")
    bert.page.keyboard.press("d")
    bert.page.get_by_role("tab", name="Disagreements (0)").wait_for()
    assert bert.tabs() == ["To read (0)", "Second read (0)", "Disagreements (0)", "Done (3)"]
    settled = [given for given in _readers(server).values() if "consensus" in given]
    assert settled == [{"<b>anna</b>": "C", "bert": "D", "consensus": "D"}]


def test_an_exam_opens_in_the_viewer_and_the_way_back_leads_to_it(new_room, server):
    room = new_room()
    room.name("cleo")
    room.open("Done")
    room.page.locator("#exams button").nth(1).click()
    title = room.title()
    room.page.reload()
    room.page.wait_for_selector("#views img")
    assert room.title() == title
    room.page.locator("#ohif").click()
    room.page.wait_for_url("**/ohif/monai-label?StudyInstanceUIDs=*")
    back = room.page.locator(".ml-reading")
    back.wait_for()
    assert "anna" not in room.page.locator(".monailabel").inner_text()  # nor what she said
    back.click()
    room.page.wait_for_selector("#views img")
    assert room.title() == title


def test_the_viewer_tells_a_second_reader_nothing_until_the_own_class(new_room, server):
    anna = new_room()
    anna.name("<b>anna</b>")
    dora = new_room()
    dora.name("dora")
    dora.open("Done")
    dora.page.locator("#exams button").first.click()
    dora.page.locator("#ohif").click()
    density = dora.page.locator(".ml-saved-class")
    density.filter(has_text="is shown after your own class").wait_for()
    assert "<b>anna</b>" in density.inner_text()
    assert dora.page.locator(".ml-density .ml-saved").count() == 0
    panel = dora.page.locator(".monailabel")
    assert "density" not in panel.locator("[data-section=saved]").inner_text()
    panel.get_by_role("button", name="D", exact=True).click()
    density.filter(has_text="Before: ").wait_for()
    assert "by <b>anna</b>" in density.inner_text() and "Saved: D" in density.inner_text()
    dora.viewer.picture("second_reader")
    assert "dora" in {reader for given in _readers(server).values() for reader in given}
