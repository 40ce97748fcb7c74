"""What training asks of segmentation: the loss, and figures of whole validation cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lib.data.case import Cases, Figures, Scoring
from lib.distributed import over_processes, own_indices
from lib.segmentation.losses import get_loss
from lib.segmentation.metrics import PIXEL_COUNTS, image_scores, pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import PRESENCE, OutputSpec
from lib.tasks.spec import TaskSpec


def score_masks(predictor: Predictor, cases: Cases) -> Figures:
    """Return figures of pixels pooled over cases, and means over cases of `image_scores`.

    Both are those of `lib.segmentation.metrics`. Several processes share the work.
    """
    table = torch.zeros((len(cases), len(PIXEL_COUNTS) + 1), dtype=torch.float64)
    spec, answered = predictor.task.output, predictor.task.target.answered
    for index in own_indices(len(cases)):
        image, target = cases[index]
        maps = predictor.probabilities(image.astype(np.float32), flips=False)
        mask, sure = answered_mask(maps, answered, spec)
        case = pixel_counts(mask, target[0])
        row = [*(case[name] for name in PIXEL_COUNTS), float(sure.max())]
        table[index] = torch.tensor(row, dtype=torch.float64)
    *columns, presence = over_processes(table).numpy().T
    counts = dict(zip(PIXEL_COUNTS, columns, strict=True))
    pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
    figures = {**pooled, **image_scores(counts, presence)}
    return {name: float(value) for name, value in figures.items()}


def answered_mask(
    maps: np.ndarray, answered: Sequence[str], spec: OutputSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of answered maps `(maps, *spatial)`, and the probability of any structure."""
    mask, sure = maps[0] >= spec.threshold, maps[0]
    if PRESENCE in answered:
        sure = maps[answered.index(PRESENCE)]
        mask &= sure >= spec.presence_threshold
    return mask, sure


def empty_mask(task: TaskSpec, step: int, scores: Figures) -> str:
    """Return a warning of the collapse to the empty mask; it scores well on rare structures."""
    if scores["found"] > 0:
        return ""
    return (
        f"'{task.name}' answers no foreground on any validation case at step {step}: "
        f"collapsed to the empty mask; if it stays so, lower the learning rate (now "
        f"{task.training.learning_rate}) or choose loss bce_dice (now {task.training.loss})"
    )


SEGMENTATION_SCORING = Scoring(
    loss=lambda task, items: get_loss(task.training.loss, task.target.maps),
    score=score_masks,
    collapsed=empty_mask,
)
