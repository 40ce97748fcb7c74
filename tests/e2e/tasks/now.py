"""The tasks in the panel as it is."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tasks.inputs import Studies
from tasks.person import Person

PLACE = (150, 100)  # column, row of a click on a picture of nuclei
LESION = (223, 110)


def nuclei(person: Person, row: str) -> None:
    """Correct a nucleus in a picture with a model's answer."""
    person.start_at_list()
    with person.step("open", "tasks_nuclei_open"):
        person.open_by_row(row)
    with person.step("answer", "tasks_nuclei_answer"):
        person.viewer.press("Run")
    with person.step("correct", "tasks_nuclei_correct"):
        person.click_image(PLACE)
        person.wait_until_answered()
    with person.step("save", "tasks_nuclei_save"):
        person.viewer.press("Submit")
    with person.step("reopen", "tasks_nuclei_reopen"):
        person.back_to_list()
        person.open_by_row(row)
        person.viewer.press("Correct")


def still(person: Person, made: Studies, row: str) -> None:
    """Label the first lesion in an ultrasound still that no model answers on."""
    person.start_at_list()
    with person.step("open", "tasks_still_open"):
        person.open_by_row(row)
    with person.step("label", "tasks_still_label"):
        person.click_image(LESION)
        person.wait_until_drawn()
    truth = made.lesions[person.viewer.shown()]
    drawn = person.viewer.drawn()[person.viewer.shown(), 1] > 0
    both = 2 * float((drawn & truth).sum()) / float(drawn.sum() + truth.sum())
    person.figures["first_label_dice"] = round(both, 3)
    with person.step("save", "tasks_still_save"):
        person.viewer.press("Submit")
    with person.step("reopen", "tasks_still_reopen"):
        person.back_to_list()
        person.open_by_row(row)
        person.viewer.press("Correct")


def density(person: Person, made: Studies, row: str) -> None:
    """Come from exams without any label to a density model of one's own."""
    person.start_at_list()
    with person.step("open", "tasks_density_open"):
        person.open_by_row(row)
    first = _study(person)
    with person.step("class", "tasks_density_class"):
        person.viewer.press(made.exams[first])
    with person.step("classes"):
        for _ in range(len(made.exams) - 1):
            with person.page.expect_navigation(wait_until="commit"):
                person.viewer.click("Next image")
            person.viewer.wait_until_open()
            person.viewer.press(made.exams[_study(person)])
    with person.step("train", "tasks_density_train"):
        person.viewer.press("Train")
        person.wait_until_trained("published")
    with person.step("own", "tasks_density_own"):
        person.viewer.press("Run")


def _study(person: Person) -> str:
    """The study that is open, as the address has it."""
    return parse_qs(urlsplit(person.page.url).query)["StudyInstanceUIDs"][0]
