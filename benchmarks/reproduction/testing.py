"""How the weights of a run are tested, and the outcome in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduction.splits import Split
from lib.errors import choose
from lib.files import write_atomically
from lib.io.read import read_image
from lib.kinds import KINDS, kind_of
from lib.weights.runner import NetworkRunner

PANEL = "panel.npz"
BOOTSTRAP_SEED = 0


def test_run(predictor: NetworkRunner, split: Split, folder: Path) -> dict[str, Any]:
    """Return the figures of a run's weights on its test set.

    Masks of the panel's images are saved in the run's folder, for the page.
    """
    kind = kind_of(predictor.task)
    report = kind.evaluation.evaluate(predictor, split.test, BOOTSTRAP_SEED)
    if kind.painted:
        _save_panel(predictor, split, folder)
    return kind.evaluation.figures(report)


def describe_outcome(result: Mapping[str, Any]) -> str:
    """Return the figures of a run in words."""
    kind = choose("kind", result["identity"]["task"]["kind"], KINDS)
    return kind.evaluation.outcome(result)


def _save_panel(predictor: Any, split: Split, folder: Path) -> None:
    chosen = [item for item in split.test if item.id in split.panel]
    masks = {item.id: predictor(read_image(item.image)).mask.astype(np.uint8) for item in chosen}
    write_atomically(folder / PANEL, lambda file: np.savez_compressed(file, **masks))
