"""The hint: one line for every situation."""

from __future__ import annotations

import pytest

from lib.tasks.image_kind import ImageKind
from monailabel_app.web.access import Access
from monailabel_app.web.hints import Situation, hint

STILL, VIEW = ImageKind("US", "2d"), ImageKind("MG", "mammogram")
LABEL = {"by": "ann", "when": "2026-11-28T10:00:00+00:00", "source": "OHIF"}
NOTHING = "No model fits this image yet: draw, scribble, click with region_click or draw a box; "


@pytest.mark.parametrize(
    ("situation", "line"),
    [
        ({"trainers": ["a"]}, f"{NOTHING}after 2 labels press Train"),
        ({"trainers": ["a"], "labelled": 1}, f"{NOTHING}after 1 more label press Train"),
        ({"trainers": ["a"], "labelled": 5}, f"{NOTHING}5 labels are there: press Train"),
        ({"access": Access.ANNOTATOR, "servable": "a"}, f"{NOTHING}then Submit"),
        (
            {"servable": "busi_lesion"},
            f"{NOTHING}then Submit; to train on it serve a task such as busi_lesion "
            f"(--conf models)",
        ),
        (
            {"trained": ["a", "b"]},
            "Press Run: a fits this image; then correct what is wrong, and Submit",
        ),
        (
            {"label": LABEL, "trained": ["a"]},
            "Labelled by ann on 2026-11-28: open the label to correct it, or go on with Next image",
        ),
        (
            {"access": Access.USER, "label": LABEL},
            "You may look, not store labels (that needs the role annotator): look around",
        ),
        (
            {"access": Access.USER, "trained": ["a"]},
            "You may look, not store labels (that needs the role annotator): press Run: a fits "
            "this image",
        ),
        (
            {"kind": ImageKind("", "2d"), "trained": ["nuclei"]},
            "Press Run to try nuclei: nothing in the file tells what this image is of; then "
            "correct what is wrong, and Submit",
        ),
        ({"error": "cut"}, "This image cannot be read: cut"),
        (
            {"kind": VIEW, "trainers": ["d"]},
            "No model fits this exam yet: choose A, B, C or D; after 2 labels press Train",
        ),
        (
            {"kind": VIEW, "trained": ["d"]},
            "Press Run: d fits this exam; then choose A, B, C or D, and Submit",
        ),
    ],
)
def test_each_situation_has_its_line(situation, line):
    assert hint(Situation(**{"kind": STILL, **situation})) == line
