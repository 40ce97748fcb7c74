"""The tasks in the panel as it was before it was rebuilt, and in MONAI Label's own for OHIF.

Both are run on a checkout of c3f1652, whose viewer shows MONAI Label's panel in its third tab."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import TimeoutError

from tasks.now import LESION, PLACE
from tasks.person import Impossible, Person

ASKED_MS = 20_000
AUTO, POINTS = 0, 1  # places of its tabs that run a model


def nuclei_before(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
    with person.step("answer"):
        person.viewer.press("Run")
    with person.step("correct"):
        person.viewer.choose("nuclei_click")
        person.viewer.click("Add")
        person.click_image(PLACE)
        person.wait_until_answered()
    with person.step("save"):
        person.viewer.press("Submit")
    with person.step("reopen"):
        person.back_to_list()
        person.open_from_list(row)
        person.viewer.press("Accepted")


def still_before(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
    with person.step("label"):
        person.viewer.choose("region_click")
        person.viewer.click("Add")
        person.click_image(LESION)
        person.wait_until_answered()
    with person.step("save"):
        person.require("label")
        person.viewer.press("Submit")
    with person.step("reopen"):
        person.require("label")
        person.back_to_list()
        person.open_from_list(row)
        person.viewer.press("Accepted")


def density_before(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
    with person.step("class"):
        if not person.page.locator(".ml-choice").count():
            raise Impossible("A to D appear only after a density model has answered")
    with person.step("classes"):
        raise Impossible("no exam can get a class without a model")
    with person.step("train"):
        _train(person)
        raise Impossible("there is no label to train on")
    with person.step("own"):
        raise Impossible("there is no model")


def nuclei_monailabel(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
        _connect(person)
    with person.step("answer"):
        _ask(person, AUTO)
    with person.step("correct"):
        person.page.get_by_text("Point Prompts").click()
        person.page.locator(".clickable-row:visible").filter(has_text="nuclei").first.click()
        person.click_image(PLACE)
        _ask(person, POINTS)
    with person.step("save"):
        _save(person)
    with person.step("reopen"):
        raise Impossible("it shows no saved label")


def still_monailabel(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
        _connect(person)
    with person.step("label"):
        person.page.get_by_text("Point Prompts").click()
        person.page.locator(".clickable-row:visible").last.click()
        person.click_image(LESION)
        _ask(person, POINTS)
    with person.step("save"):
        _save(person)
    with person.step("reopen"):
        raise Impossible("it shows no saved label")


def density_monailabel(person: Person, row: str) -> None:
    person.start_at_list()
    with person.step("open"):
        person.open_from_list(row)
        _connect(person)
    with person.step("class"):
        raise Impossible("it draws structures; an exam has no class")
    with person.step("classes"):
        raise Impossible("it draws structures; an exam has no class")
    with person.step("train"):
        raise Impossible("there is no label to train on")
    with person.step("own"):
        raise Impossible("it lists models that segment alone")


def _connect(person: Person) -> None:
    """Open its tab, by a script as it is the only tab of MONAI Label's own mode, and connect."""
    person.page.locator("[data-cy='monailabel-btn']").evaluate("button => button.click()")
    person.page.locator("#monailabelServerURL").wait_for()
    person.page.locator(".settingsTable button.actionButton").click()
    person.page.get_by_text("Auto-Segmentation").wait_for()


def _ask(person: Person, tab: int) -> None:
    """Run the model of a tab and wait for the answer."""
    log = person.viewer.log
    before = len(log)
    try:
        with person.page.expect_response("**/infer/**", timeout=ASKED_MS) as answer:
            person.page.locator(".modelSelector button.actionButton").nth(tab).click()
    except TimeoutError:
        if not any("undefined (reading 'imageData')" in line for line in log[before:]):
            raise
        reason = "it fails before it asks: it looks clicks up in a volume, which a still is not"
        raise Impossible(reason) from None
    if not answer.value.ok:
        raise Impossible(f"the server refuses what it sends ({answer.value.status})")


def _save(person: Person) -> None:
    buttons: Any = person.page.locator(".monaiLabelPanel button, .monaiLabelPanel a")
    texts = " ".join(buttons.all_inner_texts()).lower()
    if not any(word in texts for word in ("submit", "save", "export")):
        raise Impossible("it has no button that saves a label")


def _train(person: Person) -> None:
    """Look for a way to train in the panel."""
    if not person.page.locator(".monailabel").get_by_role("button", name="Train").count():
        raise Impossible("the panel trains nothing")
