"""Figures of the samples of a simulation: informativeness by some weights, and their labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.active_learning.protocol import Protocol, Samples
from lib.active_learning.strategies import STRATEGIES
from lib.classification.cases import exams_of
from lib.data.case import Case, Prepared
from lib.data.ignore import UNKNOWN
from lib.data.studies import Item
from lib.kinds import kind_of, measure
from lib.segmentation.predictor import Predictor
from lib.training.batches import CACHE_BYTES, PreparedCases
from lib.training.shared_cases import SharedCases
from lib.uncertainty.informativeness import PASSES, Informativeness, measure_prepared
from lib.weights.checkpoint import load_checkpoint
from lib.weights.runner import NetworkRunner


class Measurer:
    """Measures samples; images are prepared once, figures kept until `keep_only` drops them.

    Attributes:
        prepared: the prepared images so far, which trainings may share.

    Args:
        cases: the prepared samples; others are then prepared whenever they are needed.
    """

    def __init__(
        self, protocol: Protocol, samples: Samples, cases: SharedCases | None = None
    ) -> None:
        self.protocol, self.samples = protocol, samples
        self.prepared: Prepared = cases.open() if cases else {}
        self._cache_bytes = 0 if cases else CACHE_BYTES
        self._measured: dict[tuple[Path, bool], dict[str, Informativeness]] = {}

    def measured(
        self, weights: Path, labelled: Collection[str], seed: int, copies: bool
    ) -> dict[str, Informativeness]:
        """Measure all samples with some weights; foreground is the label's where there is one.

        Args:
            copies: whether mirrored or turned copies are needed; figures with them serve both.
        """
        for key in ((weights, True), (weights, copies)):
            if key in self._measured:
                return self._measured[key]
        task, execution = self.protocol.task, self.protocol.execution
        runner = kind_of(task).predictor.from_checkpoint(
            task, load_checkpoint(weights), execution.device, execution.precision
        )
        strategies = [STRATEGIES[name] for name in self.protocol.strategies]
        passes = PASSES if any(strategy.dropout for strategy in strategies) else 0
        found = {}
        for id in self.samples.pool:
            found[id] = self._measure(runner, id, seed, passes, copies)
            if id in labelled:
                found[id] = replace(found[id], foreground=self.foreground(id))
        self._measured[weights, copies] = found
        return found

    def keep_only(self, weights: Path) -> None:
        """Drop what other weights measured."""
        self._measured = {k: v for k, v in self._measured.items() if k[0] == weights}

    def foreground(self, id: str) -> float:
        """Return the share of a labelled sample that its label marks; 1 for exams."""
        if kind_of(self.protocol.task).by_exam:
            return 1.0
        foreground = self._case(self.samples.pool[id])[1][0]
        return float((foreground > 0).sum() / (foreground != UNKNOWN).sum())

    def empty_of_test(self) -> int:
        """Return how many images of the test set have nothing marked."""
        if kind_of(self.protocol.task).by_exam:
            return 0
        return sum(not (self._case([item])[1][0] > 0).any() for item in self.samples.test)

    def _measure(
        self, runner: NetworkRunner, id: str, seed: int, passes: int, copies: bool
    ) -> Informativeness:
        items = self.samples.pool[id]
        if kind_of(self.protocol.task).by_exam:
            return measure(runner, exams_of(items)[0], seed, passes, copies)
        assert isinstance(runner, Predictor)
        image = self._case(items)[0].astype(np.float32)
        return measure_prepared(runner, image, seed, passes, copies)

    def _case(self, items: Sequence[Item]) -> Case:
        return PreparedCases(items, self.protocol.task, self._cache_bytes, self.prepared)[0]
