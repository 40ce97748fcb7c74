"""The panel in OHIF: where its controls lie, by keyboard alone, for screen readers, its look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from server_support import MODEL, Server, threshold_weights
from viewer import Viewer

from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom

SIZES = [(1280, 720), (1920, 1080)]
CELLS, EXAM = "cells", "Phantom^1-0"
ALWAYS = ["Model", "Run", "Submit", "Next image", "Task to train", "Train", "Epochs"]
TOOLS = ["Structure", "Add", "Remove", "Box", "Lasso", "Brush", "Eraser", "Undo", "Redo"]
SEEN = {CELLS: [*ALWAYS, *TOOLS], EXAM: [*ALWAYS, *TOOLS, *"ABCD", "Percent density"]}
# name, [left, top, right, bottom] and whether what holds it cuts it, of each control that is shown
_CONTROLS = """() => {
    const root = document.querySelector('.monailabel');
    const boxOf = element => {
        const { left, top, right, bottom } = element.getBoundingClientRect();
        return [left, top, right, bottom];
    };
    const cuts = ([left, top, right, bottom], holder) => {
        const [l, t, r, b] = boxOf(holder);
        return left < l - 0.5 || top < t - 0.5 || right > r + 0.5 || bottom > b + 0.5;
    };
    return [...root.querySelectorAll('button, select, input, summary, a')]
        .filter(one => one.getClientRects().length && one.checkVisibility())
        .map(one => {
            const box = boxOf(one);
            const holders = [];
            for (let at = one.parentElement; at !== root.parentElement; at = at.parentElement) {
                const { overflowX, overflowY } = getComputedStyle(at);
                if (`${overflowX}${overflowY}`.includes('hidden') || at === root ||
                    `${overflowX}${overflowY}`.includes('auto')) holders.push(at);
            }
            const name = one.ariaLabel || one.textContent.trim() || one.title;
            return { name, box, cut: holders.some(holder => cuts(box, holder)) };
        });
}"""
_WIDER = """() => [...document.querySelectorAll('html, .monailabel, .monailabel *')]
    .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1
        && !['visible', 'clip'].includes(getComputedStyle(one).overflowX))
    .map(one => `${one.tagName}.${one.className}`)"""
_FOCUSED = """() => {
    const one = document.activeElement;
    const inside = Boolean(one?.closest('.monailabel'));
    return inside
        ? one.ariaLabel || one.labels?.[0]?.textContent.trim() || one.textContent.trim()
        : null;
}"""
_FLIPPED = """() => window.shownElements()[0].viewport.getCamera().flipHorizontal"""
_LOOK = """() => {
    const { state, config } = window.cornerstoneTools.segmentation;
    const [{ segmentationId }] = state.getSegmentations();
    const [{ viewportId }] = window.shownElements();
    const specifier = { viewportId, segmentationId, type: 'Labelmap' };
    return [
        config.style.getStyle(specifier).fillAlpha,
        config.visibility.getSegmentIndexVisibility(viewportId, specifier, 1),
    ];
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("panel"), f"{MODEL},nuclei_click,density_birads,nuclei")
    for number, name in enumerate((CELLS, "more")):
        cells = nuclei_phantom(5 + number, rows=128, columns=160)[0]
        Image.fromarray(cells).save(server.studies / f"{name}.png")
    write_exams(server.studies, seed=1, exams=1, scale=0.06, labelled=0)
    threshold_weights(server.live_file)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def studies(server: Server) -> dict[str, str]:
    """UIDs of the studies by the name of their patient."""
    rows = server.get("/proxy/dicom/studies").json()
    return {row["00100010"]["Value"][0]["Alphabetic"]: row["0020000D"]["Value"][0] for row in rows}


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile()


@pytest.fixture
def viewer(new_viewer, server: Server, profile) -> Viewer:
    return new_viewer(profile, server.url)


def _overlap(one: list[float], other: list[float]) -> bool:
    """Whether two boxes `[left, top, right, bottom]` share more than an edge."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width > 1 and height > 1


def _violations(viewer: Viewer, **arguments: Any) -> list[str]:
    """What axe-core finds wrong, with the elements that it finds it on."""
    found = Axe().run(viewer.page, **arguments).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


def _tab_to(viewer: Viewer, name: str) -> list[str]:
    """Press Tab until a control of the panel has the focus; return those that had it before."""
    passed: list[str] = []
    for _ in range(150):
        viewer.page.keyboard.press("Tab")
        focused = viewer.page.evaluate(_FOCUSED)
        if focused == name:
            return passed
        passed.append(focused)
    raise AssertionError(f"Tab never leads to {name}, only to {passed}")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", [CELLS, EXAM])
def test_what_is_needed_is_in_the_window_whole_and_apart(viewer, studies, name, size):
    viewer.page.set_viewport_size({"width": size[0], "height": size[1]})
    viewer.open(studies[name])
    for state in ("opened", "answered"):
        controls = viewer.page.evaluate(_CONTROLS)
        boxes = {one["name"]: one["box"] for one in controls}
        whole = {one["name"] for one in controls if not one["cut"]}
        viewer.picture(f"panel_{name}_{size[0]}_{state}")
        assert not set(SEEN[name]) - whole, "cut, below the fold or not there"
        for left, top, right, bottom in (boxes[wanted] for wanted in SEEN[name]):
            assert 0 <= left and 0 <= top and right <= size[0] and bottom <= size[1]
        pairs = [(a, b) for at, a in enumerate(controls) for b in controls[at + 1 :]]
        apart = [one for one in pairs if not (one[0]["cut"] or one[1]["cut"])]
        assert not [(a["name"], b["name"]) for a, b in apart if _overlap(a["box"], b["box"])]
        assert viewer.page.evaluate(_WIDER) == [], "nothing scrolls sideways"
        viewer.press("Run" if name == CELLS else "Percent density")


@pytest.mark.parametrize("name", [CELLS, EXAM])
def test_the_panel_is_accessible_before_and_after_an_answer(viewer, studies, name):
    viewer.open(studies[name])
    assert _violations(viewer, context=".monailabel") == []
    viewer.press("Run" if name == CELLS else "Percent density")
    assert _violations(viewer, context=".monailabel") == []
    viewer.paint(0)  # what is not saved is asked about
    viewer.click("Next image")
    viewer.page.get_by_role("alertdialog").wait_for()
    assert _violations(viewer, context=".ml-question") == []


def test_a_model_is_run_and_its_label_submitted_by_keyboard_alone(viewer, server, studies):
    viewer.open(studies[CELLS])
    keys = viewer.page.keyboard
    _tab_to(viewer, "Model")
    keys.type(MODEL)
    assert _tab_to(viewer, "Run") == []
    keys.press("Enter")
    assert f"{MODEL} answered" in viewer.status()
    assert viewer.page.evaluate(_FOCUSED) == "Run", "the focus stays where it was"
    _tab_to(viewer, "Structure")
    keys.type("nuclei")
    _tab_to(viewer, "nuclei")
    keys.press("Space")
    assert viewer.page.evaluate(_LOOK)[1] is False
    keys.press("Space")
    _tab_to(viewer, "Label opacity")
    before = viewer.page.evaluate(_LOOK)[0]
    keys.press("ArrowRight")
    assert viewer.page.evaluate(_LOOK) == [pytest.approx(before + 0.01), True]
    _tab_to(viewer, "Submit")
    keys.press("Enter")
    assert viewer.status() == "The label is saved"
    assert _tab_to(viewer, "Next image") == []
    assert (server.studies / "labels" / "final" / f"{CELLS}.nrrd").exists()
    passed = []
    while (focused := viewer.page.evaluate(_FOCUSED)) is not None and len(passed) < 40:
        passed.append(focused)
        keys.press("Tab")
    assert focused is None, "Tab leads out of the panel again"


def test_the_size_of_objects_is_told_to_models_that_take_it(viewer, studies):
    viewer.open(studies["more"])
    sent: list[dict[str, Any]] = []
    read = 'params"\r\n\r\n'  # the part of the form

    def note(request: Any) -> None:
        if "/infer/" in request.url:
            sent.append(json.loads((request.post_data or "").split(read)[1].split("\r\n")[0]))

    viewer.page.on("request", note)
    field = viewer.page.get_by_label("Diameter of objects in pixels", exact=True)
    viewer.choose(MODEL)
    assert not field.is_visible()
    viewer.choose("nuclei")
    assert field.is_visible() and _violations(viewer, context=".monailabel") == []
    assert viewer.page.evaluate(_WIDER) == []
    viewer.press("Run")
    field.fill("25.5")
    viewer.press("Run")
    viewer.choose(MODEL)
    viewer.press("Run")
    viewer.choose("nuclei")
    assert [one.get("diameter") for one in sent] == [None, 25.5, None]
    for wrong, words in (("0.5", "number of pixels from 1"), ("161", "more than the image")):
        field.fill(wrong)
        viewer.click("Run")
        line = viewer.page.locator(".ml-status[data-kind='error']", has_text=words)
        line.wait_for()
    viewer.picture("panel_diameter")


def test_keys_in_the_panel_are_no_shortcuts_of_the_viewer(viewer, studies):
    viewer.open(studies[CELLS])
    keys = viewer.page.keyboard
    assert not viewer.page.evaluate(_FLIPPED)
    keys.press("h")
    viewer.page.wait_for_function(_FLIPPED)
    for label in ("Model", "Epochs", "Task to train"):
        viewer.page.get_by_label(label, exact=True).focus()
        keys.press("h")
        assert viewer.page.evaluate(_FLIPPED), f"h in {label} flips the image"
    viewer.page.evaluate("() => addEventListener('keydown', event => (window.seen = event.key))")
    viewer.page.locator(".ml-versions summary").focus()
    keys.press("Space")
    assert viewer.page.evaluate("() => window.seen") is None
    keys.press("h")
    assert viewer.page.evaluate("() => window.seen") == "h", "others still are"


def test_it_is_the_only_panel_on_its_side(viewer, studies):
    viewer.open(studies[CELLS])
    header = viewer.page.locator("[data-cy='side-panel-header-right']").locator("..")
    assert header.inner_text().strip() == "MONAI Label"
    tabs = viewer.page.evaluate("() => window.services.panelService.getPanels('right').length")
    assert tabs == 1


def test_what_was_opened_is_open_again(viewer, studies):
    viewer.open(studies[CELLS])
    saved = viewer.page.locator("details[data-fold='saved']")
    assert saved.evaluate("box => box.open")
    saved.locator("summary").click()
    viewer.open(studies[CELLS])
    assert not saved.evaluate("box => box.open")
    saved.locator("summary").click()


def test_the_other_pages_are_accessible(viewer, server):
    for path in ("", "reading"):
        viewer.page.goto(f"{server.url}/{path}")
        viewer.page.wait_for_load_state("networkidle")
        viewer.picture(f"page_{path or 'start'}")
        assert _violations(viewer) == [], path
