"""One line of what can be done with an image now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.tasks.image_kind import ImageKind
from monailabel_app.web.access import Access

LEAST_LABELS = 2  # that can be trained on: one is held out
_DRAW = "draw, scribble, click with region_click or draw a box"
_CHOOSE = "choose A, B, C or D"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What there is for an image.

    Attributes:
        error: why it cannot be read; empty if it can.
        label: of its accepted label ``by`` and ``when`` (ISO 8601); None without one.
        trained: names of the models with weights that fit, the best first.
        trainers: names of the tasks that fit and that the person may train.
        servable: name of a task that is not served and would fit; empty where there is none.
        labelled: number of labels that the first of these can be trained on.
        access: what the person may do.
    """

    kind: ImageKind
    error: str = ""
    label: dict[str, str] | None = None
    trained: Sequence[str] = ()
    trainers: Sequence[str] = ()
    servable: str = ""
    labelled: int = 0
    access: Access = Access.ADMIN


def hint(found: Situation) -> str:
    """Return what can be done, as one sentence for a reader."""
    if found.error:
        return f"This image cannot be read: {found.error}"
    exam = found.kind.dimensions == "mammogram"
    word = "exam" if exam else "image"
    if found.access < Access.ANNOTATOR:
        run = _run(found, word) if found.trained else "look around"
        return f"You may look, not store labels (that needs the role annotator): {run}"
    correct = _CHOOSE if exam else "correct what is wrong"
    if found.label is not None:
        day = f" on {found.label['when'][:10]}" if found.label["when"] else ""
        who = f"Labelled by {found.label['by']}{day}"
        return f"{who}: open the label to correct it, or go on with Next image"
    if found.trained:
        return f"P{_run(found, word)[1:]}; then {correct}, and Submit"
    return f"No model fits this {word} yet: {_CHOOSE if exam else _DRAW}; {_train(found)}"


def _run(found: Situation, word: str) -> str:
    """Return what the best model can do; of a picture nothing tells what it is of."""
    model, kind = found.trained[0], found.kind
    if kind.modality or kind.dimensions == "mammogram":
        return f"press Run: {model} fits this {word}"
    return f"press Run to try {model}: nothing in the file tells what this {word} is of"


def _train(found: Situation) -> str:
    if not found.trainers:
        if found.access < Access.ADMIN or not found.servable:
            return "then Submit"
        return f"then Submit; to train on it serve a task such as {found.servable} (--conf models)"
    missing = LEAST_LABELS - found.labelled
    if missing > 0:
        more = f"{missing} labels" if missing > 1 else "1 more label"
        return f"after {more} press Train"
    return f"{found.labelled} labels are there: press Train"
