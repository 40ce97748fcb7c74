"""How well weights do, in words: overlaps, exams that are right, and weights without figures."""

from __future__ import annotations

import pytest

from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint
from lib.weights.figures import UNTESTED, card_of, validation_figure
from monailabel_app.config import DEFAULT_MODELS, SHIPPED_MODELS

NUCLEI, EXAMS = get_task("nuclei"), get_task("density_birads")


def _exam_words(accuracy: float, count: float | None = None) -> str:
    metrics = {"exam_accuracy": accuracy, **({"exam_count": count} if count else {})}
    return validation_figure(EXAMS, metrics, {"validation_cases": 120})["words"]


def test_an_overlap_is_that_of_what_was_outlined_and_not_of_the_background():
    metrics = {"mean_iou": 0.93, "fg_dice": 0.9351}
    found = validation_figure(NUCLEI, metrics, {"validation_cases": 89})
    assert found == {
        "metric": "fg_dice",
        "value": 0.9351,
        "images": 89,
        "words": "overlaps by 0.94 with readers' outlines on 89 images held out",
    }
    assert validation_figure(NUCLEI, {"mean_iou": 0.5}, {})["words"] == (
        "overlaps by 0.50 with readers' outlines and the background on the images held out"
    )


def test_volumes_and_clicks_are_named():
    volumes, clicks = get_task("ultrasound3d_vnet"), get_task("nuclei_click")
    assert validation_figure(volumes, {"fg_dice": 0.5}, {"validation_cases": 1})["words"] == (
        "overlaps by 0.50 with readers' outlines on 1 volume held out"
    )
    assert "clicks" in validation_figure(clicks, {"click_dice": 0.9}, {})["words"]


@pytest.mark.parametrize(
    ("accuracy", "count", "words"),
    [
        (0.9, 30, "right in 9 of 10 exams like these (27 of 30 held out)"),
        (0.98, 50, "right in more than 9 of 10 exams like these (49 of 50 held out)"),
        (1.0, 4, "right in 10 of 10 exams like these (4 of 4 held out)"),
        (0.5, None, "right in 5 of 10 exams like these (held out)"),
    ],
)
def test_exams_are_counted_and_not_their_views(accuracy, count, words):
    assert _exam_words(accuracy, count) == words


@pytest.mark.parametrize(
    "metrics", [{}, {"mean_iou": float("nan")}, {"mean_iou": "0.9"}, {"mean_iou": 1e300}]
)
def test_weights_without_a_figure_are_untested(metrics):
    found = validation_figure(NUCLEI, metrics, {"validation_cases": 3})
    assert found == {"metric": None, "value": None, "images": None, "words": UNTESTED}
    assert card_of(NUCLEI, metrics, {"training_cases": "x" * 999}).endswith(f"{UNTESTED}.")


# images trained on, images held out, licence: as the cards in docs/models tell them
NUCLEI_SHIPPED = (376, 89, "CC0-1.0")
TRAINED = {
    "density_dense_lite": (127, 21, "CC-BY-4.0"),  # views, and exams held out
    "fetal_head": (232, 68, "CC-BY-4.0"),
    "nerve": (162, 42, "CC-BY-4.0"),
    "nerve_click": (162, 42, "CC-BY-4.0"),
    "nuclei": (813, 165, "CC-BY-4.0"),
}
# sections with H&E are among the images; nerves are faint; 21 exams are few
HARDER = {"nuclei": 0.8, "nerve": 0.7, "nerve_click": 0.7, "density_dense_lite": 0.7}


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_what_ships_has_a_figure_and_a_card(name):
    task = get_task(name)
    checkpoint = load_checkpoint(SHIPPED_MODELS / f"pretrained_{name}.pt")
    found = validation_figure(task, checkpoint.metrics, checkpoint.provenance)
    trained, held_out, licence = TRAINED.get(name, NUCLEI_SHIPPED)
    assert found["images"] == held_out and found["value"] > HARDER.get(name, 0.9)
    card = card_of(task, checkpoint.metrics, checkpoint.provenance)
    cases = "views" if task.kind == "classification" else "images"
    assert (
        f"Trained on {trained} labelled {cases}; weights under {licence}; {found['words']}" in card
    )
    assert found["words"].startswith(("overlaps by 0.", "right in 7 of 10 exams"))
