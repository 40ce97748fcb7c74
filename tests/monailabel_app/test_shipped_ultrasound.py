"""The weights for ultrasound answer on phantoms, and their card says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lib.image import Geometry, Image
from lib.phantoms.ultrasound.studies import fetal_frame
from lib.segmentation.metrics import dice
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.config import SHIPPED_MODELS

DOCS = Path(__file__).parents[2] / "docs"
WEIGHTS = SHIPPED_MODELS / "pretrained_fetal_head.pt"


def test_the_head_of_a_phantom_is_found():
    predictor = Predictor.from_checkpoint(
        get_task("fetal_head"), load_checkpoint(WEIGHTS), "cpu", "fp32"
    )
    found = []
    for seed in range(3):
        phantom = fetal_frame(seed)
        flat = Geometry.flat(*phantom.image.shape)
        answer = predictor(Image(phantom.image, flat, Path("head.png")))
        found.append(dice(answer.mask > 0, phantom.label > 0))
    assert np.mean(found) > 0.8, found


def test_the_card_says_what_the_file_of_figures_says():
    figures = json.loads((DOCS / "results" / "fetal_head.json").read_text())
    head, card = figures["structures"]["head"], (DOCS / "models" / "fetal_head.md").read_text()
    assert f"| Dice, mean over frames | {head['dice']:.4f} |" in card
    assert f"| Dice, pooled over pixels | {figures['pooled']['fg_dice']:.4f} |" in card
    assert f"| Hausdorff distance, pixels of 400x270 | {head['hausdorff']:.3f} |" in card
    before = json.loads((DOCS / "results" / "fetal_head_mm.json").read_text())["structures"]["head"]
    assert before["unit"] == "mm" and f"the mean Dice was {before['dice']:.4f}" in card
    off = before["circumference_absolute_error"]
    assert f"| circumference, mean absolute error, mm | {off:.3f} |" in card
    assert f"{head['images']} held-out" in card and "CC BY 4.0" in card
    assert get_task("fetal_head").weights_licence == "CC-BY-4.0"


def test_the_card_of_the_nerve_says_what_the_file_of_figures_says():
    figures = json.loads((DOCS / "results" / "nerve.json").read_text())
    card = (DOCS / "models" / "nerve.md").read_text()
    for name, of in figures["structures"].items():
        low, high = of["intervals"]["dice"]
        line = f"| {name}, Dice, mean over {of['images']} frames | {of['dice']:.4f} |"
        assert f"{line} {low:.4f} to {high:.4f} |" in card
    pooled = figures["pooled"]["fg_dice"]
    assert f"| both as one, Dice, pooled over pixels | {pooled:.4f} |" in card
    assert f"{figures['about']['images']} held-out" in card and "CC BY 4.0" in card
    assert get_task("nerve").weights_licence == "CC-BY-4.0"
    stored = load_checkpoint(SHIPPED_MODELS / "pretrained_nerve.pt")
    assert stored.provenance["training_cases"] + figures["about"]["images"] == 204
    assert "ImageNet" in stored.provenance["from"]["weights"]
