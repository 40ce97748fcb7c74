"""The weights for breast density order phantoms, and their card says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib.classification.cases import list_task_exams
from lib.classification.predictor import ExamPredictor
from lib.phantoms.mammograms.exams import write_exams
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.config import SHIPPED_MODELS

DOCS = Path(__file__).parents[2] / "docs"
TASK = "density_dense_lite"
WEIGHTS = SHIPPED_MODELS / f"pretrained_{TASK}.pt"


def test_dense_phantoms_are_told_from_others_and_unseen_views_are_noted(tmp_path):
    write_exams(tmp_path, exams=12)
    task = get_task(TASK)
    predictor = ExamPredictor.from_checkpoint(task, load_checkpoint(WEIGHTS), "cpu", "fp32")
    sure: dict[str, list[float]] = {}
    for exam in list_task_exams(tmp_path, task, labelled=True):
        answer = predictor(exam, tissue=False)
        sure.setdefault(str(exam.density), []).append(float(answer.probabilities[1]))
        for name, view in answer.views.items():
            told = any("were trained on L-CC, R-CC, not on" in note for note in view.prepared.notes)
            assert told == name.endswith("MLO")
    pairs = [(d, a) for d in sure["D"] for a in sure["A"]]
    assert sum(d > a for d, a in pairs) >= 0.9 * len(pairs), sure


@pytest.mark.parametrize(("name", "column"), [("mini_mias", 0), ("ddsm", 1)])
def test_the_card_says_what_the_files_of_figures_say(name, column):
    card = (DOCS / "models" / f"{TASK}.md").read_text()
    exam, others = _figures(f"on_{name}"), [_figures(f"seed{seed}_on_{name}") for seed in (0, 2)]
    low, high = exam["intervals"]["auc"]
    auc, accuracy = exam["figures"]["auc"], exam["figures"]["accuracy"]
    (rest, right), (missed, found) = exam["confusion"]
    lines = {
        "AUC": f"{auc:.4f} ({low:.3f} to {high:.3f})",
        "accuracy": f"{accuracy:.4f}",
        "dense found": f"{found} of {missed + found}",
        "non-dense found": f"{rest} of {rest + right}",
        "calibration error": f"{exam['figures']['calibration_error']:.4f}",
        "AUC of the other two trainings": ", ".join(
            f"{other['figures']['auc']:.4f}" for other in others
        ),
    }
    for head, cell in lines.items():
        (line,) = (line for line in card.splitlines() if line.startswith(f"| {head} |"))
        assert line.strip("| ").split(" | ")[1 + column] == cell


def test_the_card_has_the_held_out_patients_and_the_licence():
    card = (DOCS / "models" / f"{TASK}.md").read_text()
    own, stored = _figures(""), load_checkpoint(WEIGHTS)
    assert f"an AUC of {own['figures']['auc']:.4f}" in card
    assert f"an accuracy of {own['figures']['accuracy']:.4f}" in card
    assert f"{own['cases']} held-out patients" in card
    assert f"Trained on {stored.provenance['training_cases']} views" in card
    assert "ImageNet" in stored.provenance["from"]["weights"]
    assert get_task(TASK).weights_licence == "CC-BY-4.0" and "CC BY 4.0" in card


def _figures(name: str) -> dict:
    file = DOCS / "results" / f"{TASK}{name and '_'}{name}.json"
    return json.loads(file.read_text())["levels"]["exam"]
