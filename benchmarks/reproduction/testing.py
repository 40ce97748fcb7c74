"""How the weights of a run are tested, by kind of task, and the outcome in a few words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduction.splits import Split
from lib.classification.cases import exams_of
from lib.classification.evaluation import report_on, score_exams
from lib.classification.predictor import ExamPredictor
from lib.errors import choose
from lib.files import write_atomically
from lib.io.read import read_image
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import Predictor
from lib.weights.runner import NetworkRunner

PANEL = "panel.npz"
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Testing:
    """What a study asks of a kind of task.

    Attributes:
        test: figures of a predictor on the test set; the folder is the run's.
        told: the outcome of a run in words, from its figures.
    """

    test: Callable[[Any, Split, Path], dict[str, Any]]
    told: Callable[[Mapping[str, Any]], str]


def test_run(predictor: NetworkRunner, split: Split, folder: Path) -> dict[str, Any]:
    """Return the figures of a run's weights on its test set."""
    return choose("kind", predictor.task.kind, TESTING).test(predictor, split, folder)


def told(result: Mapping[str, Any]) -> str:
    """Return the figures of a run in words."""
    kind = result["identity"]["task"]["kind"]
    return choose("kind", kind, TESTING).told(result)


# --- segmentation --------------------------------------------------------------------------------


def _test_masks(predictor: Predictor, split: Split, folder: Path) -> dict[str, Any]:
    """Evaluate the test set, and save the panel's masks for the page."""
    report = evaluate(predictor, split.test, BOOTSTRAP_SEED).as_dict()
    chosen = [item for item in split.test if item.id in split.panel]
    masks = {item.id: predictor(read_image(item.image)).mask.astype(np.uint8) for item in chosen}
    write_atomically(folder / PANEL, lambda file: np.savez_compressed(file, **masks))
    figures = {name: value for name, value in report.items() if name != "about"}
    return {**figures, "test_images": len(split.test), "bootstrap_seed": BOOTSTRAP_SEED}


def _masks_told(result: Mapping[str, Any]) -> str:
    low, high = result["intervals"]["mean_iou"]
    found = [f"mean IoU {result['pooled']['mean_iou']:.4f} ({low:.4f}..{high:.4f})"]
    if "dice_kaggle" in (presence := result.get("presence", {})):
        found.append(f"Kaggle Dice {presence['dice_kaggle']:.4f}")
    return f"{', '.join(found)} on unseen images"


# --- classification ------------------------------------------------------------------------------


def _test_exams(predictor: ExamPredictor, split: Split, folder: Path) -> dict[str, Any]:
    """Return the answers on the exams of the fold, and the figures of these alone."""
    rules = predictor.task.exam_rules
    scored, failed = score_exams(predictor, exams_of(split.test))
    report = report_on(scored, rules, BOOTSTRAP_SEED, failed)
    return {
        "classes": list(rules.names),
        "size": predictor.task.input.size,
        "temperature": predictor.temperature,
        "exam_figures": report.levels["exam"]["figures"],
        "exams": report.exams,
        "not_answered": failed,
    }


def _exams_told(result: Mapping[str, Any]) -> str:
    figures = result["exam_figures"]
    return (
        f"accuracy {figures['accuracy']:.4f}, kappa {figures['kappa']:.4f} on "
        f"{len(result['exams'])} unseen exams"
    )


TESTING = {
    "segmentation": Testing(_test_masks, _masks_told),
    "interactive": Testing(_test_masks, _masks_told),
    "classification": Testing(_test_exams, _exams_told),
}
