"""What a run knows of how well it does: the losses of its steps and the figures of validations."""

from __future__ import annotations

import logging
import math
from typing import Literal

import ignite.distributed as idist
import torch
from torch import Tensor

from lib.data.case import VALIDATION_LOSS, Figures
from lib.distributed import over_processes
from lib.errors import DivergedError, choose
from lib.kinds import kind_of, score_cases
from lib.training.batches import PreparedCases
from lib.weights.runner import NetworkRunner

logger = logging.getLogger(__name__)


class Validator:
    """Scores the network on the held-out cases, and remembers the figures.

    Attributes:
        initial: figures of the weights that the run started from.
        losses: of the steps since the last validation.
        history: one entry per validation: step, mean loss since the one before, figures.
        kept: figures of the weights to keep; empty before the first validation.
        warning: why the last figures look better than the answers are; empty where they do not.

    Args:
        predictor: answers with the weights that are trained, or with their average.
        cases: the held-out cases.
        keep: which weights to keep: the ``best`` so far, or the ``last``.
    """

    def __init__(
        self, predictor: NetworkRunner, cases: PreparedCases, keep: Literal["best", "last"]
    ) -> None:
        self.predictor, self.cases, self.keep = predictor, cases, keep
        self.task = cases.task
        self.initial: Figures = {}
        self.losses: list[Tensor] = []
        self.history: list[Figures] = []
        self.kept: Figures = {}
        self.warning = ""

    @property
    def loss(self) -> float:
        """The last validation loss; for tasks without one, the negative of the key metric."""
        last = self.history[-1]
        return last.get(VALIDATION_LOSS, -last[self.task.key_metric])

    def score_initial(self) -> None:
        """Score the weights that the run starts from."""
        self.initial = score_cases(self.predictor, self.cases)

    def validate(self, step: int) -> bool:
        """Score the weights after `step`; return whether they are the ones to keep.

        Raises:
            DivergedError: the mean loss since the last validation is not finite.
            NotFoundError: the task's key metric is none of the figures.
        """
        mean_loss = self._mean_loss(step)
        self.losses.clear()
        figures = score_cases(self.predictor, self.cases)
        self.warning = kind_of(self.task).scoring.collapsed(self.task, step, figures)
        if self.warning and idist.get_rank() == 0:
            logger.warning(self.warning)
        key = self.task.key_metric
        score = choose(f"key_metric of task '{self.task.name}'", key, figures)
        self.history.append({"step": step, "loss": mean_loss, **figures})
        better = not self.kept or score > self.kept[key]
        if better or self.keep == "last":
            self.kept = figures
            return True
        return False

    def out_of_patience(self) -> bool:
        """Tell whether as many validations as the recipe's patience were not better than the best.

        Ignite's EarlyStopping counts the same, but a resumed run would have to restore its counter
        from the history, which has the answer already.
        """
        patience = self.task.training.early_stop_patience
        scores = [entry[self.task.key_metric] for entry in self.history]
        return bool(scores) and 0 < patience <= len(scores) - 1 - scores.index(max(scores))

    def _mean_loss(self, step: int) -> float:
        """Return the mean of `losses` over steps and processes."""
        mean = float(over_processes(torch.stack(self.losses).double().mean()))
        mean /= idist.get_world_size()
        if not math.isfinite(mean):
            raise DivergedError(
                f"the loss of '{self.task.name}' is no longer finite at step {step}; lower the "
                f"learning rate (now {self.task.training.learning_rate}) or set a gradient clip"
            )
        return mean
