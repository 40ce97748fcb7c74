"""Losses of classifiers, by name.

Each takes logits `(N, classes)` and the true distribution `(N, classes)` and returns the loss of
each case, `(N)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from lib.errors import InputError, choose
from lib.tasks.training_spec import TrainingSpec

_Terms = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Categorical cross-entropy."""
    return -(truth * functional.log_softmax(logits, dim=1)).sum(1)


def squared_emd(logits: Tensor, truth: Tensor) -> Tensor:
    """Squared earth mover's distance between ordered classes.

    It is the sum of the squared differences of the cumulative distributions (Hou, Yu and Samaras
    2016, "Squared earth mover's distance-based loss for training deep neural networks", eq. 7). A
    class two steps away from the truth costs more than the next one.
    """
    difference = torch.cumsum(functional.softmax(logits, dim=1) - truth, dim=1)
    return difference.square().sum(1)


def cross_entropy_emd(logits: Tensor, truth: Tensor) -> Tensor:
    """Sum of both with equal weights; the distance alone hardly learns from a bad start."""
    return cross_entropy(logits, truth) + squared_emd(logits, truth)


CLASS_LOSSES: dict[str, _Terms] = {
    "cross_entropy": cross_entropy,
    "squared_emd": squared_emd,
    "cross_entropy_emd": cross_entropy_emd,
}


def class_weights(indices: Sequence[int], classes: int) -> tuple[float, ...]:
    """Return class weights that balance the classes of cases; their mean over the cases is 1.

    Each is cases / (classes x cases of the class) (King and Zeng 2001, "Logistic regression in rare
    events data", section 4). A class without a case has weight 1, which nothing uses.
    """
    counts = Counter(indices)
    return tuple(
        len(indices) / (len(counts) * counts[index]) if counts[index] else 1.0
        for index in range(classes)
    )


def get_class_loss(
    recipe: TrainingSpec, classes: int, weights: Sequence[float] | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the recipe's loss, a scalar of logits `(N, classes)` and true classes `(N)`.

    The sum is divided by the number of cases, not by their weights, so that the mean over processes
    equals the mean over one large batch.

    Args:
        weights: of each class, see `class_weights`; None is 1 for all.

    Raises:
        NotFoundError: unknown name.
        InputError: `label_smoothing` outside 0..1.
    """
    terms, share = choose("loss", recipe.loss, CLASS_LOSSES), recipe.label_smoothing
    if not 0 <= share < 1:
        raise InputError(f"label_smoothing must lie in 0..1, found {share}; 0.05 is usual")

    @lru_cache(maxsize=1)
    def weight_of(device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.tensor(weights, device=device, dtype=dtype)  # sent once, not in every step

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        # `one_hot` would ask the device whether all classes are known
        truth = target[:, None] == torch.arange(classes, device=target.device)
        each = terms(logits, truth.to(logits.dtype) * (1 - share) + share / classes)
        if weights is not None:
            each = each * weight_of(each.device, each.dtype)[target]
        return each.mean()

    return loss
