"""What was asked of a study, and the runs that this makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.where import Where
from benchmarks.reproduction.initial_weights import choose_prior
from benchmarks.reproduction.run import Run
from benchmarks.reproduction.study import Study, Variant
from lib.errors import InputError
from lib.tasks.training_spec import TrainingSpec

VALIDATIONS = 14


@dataclass(frozen=True)
class Campaign:
    """What was asked for.

    Attributes:
        out: folder of the runs and the report.
        steps: of every run; None for the study's own number.
        epochs: passes of every run, instead of steps.
        folds: of a study with cross-validation; None for its own number.
        recipe: of every variant; empty for the variants' own.
        jobs: runs at once, each in its own process.
        data_name: of the images, for the record.
        changes: of the recipe's training options, beside steps; for tests and trials.
        prior: weights file for the variants that start from one; None for `shipped`.
        shipped: weights of nuclei that come with the app, for these variants if they fit.
    """

    study: Study
    out: Path
    variants: tuple[Variant, ...]
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: str = ""
    jobs: int = 1
    where: Where = Where()
    data_name: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    prior: Path | None = None
    shipped: Path | None = None
    epochs: int | None = None
    folds: int | None = None

    def __post_init__(self) -> None:
        """Refuse folds of a study without."""
        if self.folds and not self.study.folds:
            raise InputError(
                f"--folds is of studies with cross-validation, '{self.study.name}' has one test "
                f"part; leave it away"
            )

    def runs(self) -> list[Run]:
        """Return the runs in the order of the study's table, seeds and their folds innermost.

        Raises:
            InputError: an unknown recipe, or a variant without a row.
        """
        return [
            self._run(variant, recipe, seed, fold)
            for variant in self.variants
            for recipe in ((self.recipe,) if self.recipe else variant.recipes)
            for seed in self.seeds
            for fold in self._folds()
        ]

    def _folds(self) -> list[tuple[int, int]] | list[None]:
        count = self.folds or self.study.folds
        return [(number, count) for number in range(count)] if count else [None]

    def _run(self, variant: Variant, recipe: str, seed: int, fold: tuple[int, int] | None) -> Run:
        task = self.study.row(variant, recipe)
        training = replace(self._length(task.training, variant), **dict(self.changes))
        name = f"{self.study.label(variant)}-{recipe}-seed{seed}"
        if fold:
            name += f"-fold{fold[0]}of{fold[1]}"
        return Run(
            variant.name,
            replace(task, training=training),
            recipe,
            seed,
            self.out / name,
            self.study.recipes[recipe],
            variant.source,
            fold=fold,
        )

    def _length(self, recipe: TrainingSpec, variant: Variant) -> TrainingSpec:
        """Return the recipe with the steps, or passes, that were asked for, else the study's."""
        if self.epochs:
            return replace(recipe, epochs=self.epochs)
        steps = self.steps or variant.steps or self.study.steps
        if recipe.epochs and not steps:
            return recipe
        steps = steps or recipe.steps
        interval = max(1, steps // VALIDATIONS)
        return replace(recipe, epochs=0, steps=steps, val_interval=interval)

    def with_priors(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs, those that start from weights with what these are.

        Raises:
            InputError: the given weights cannot be read, or no run asks for them.
        """
        wanting = {variant.name for variant in self.variants if variant.prior}
        if self.prior and not wanting:
            raise InputError(
                f"--prior '{self.prior.name}' is of no use: none of the chosen variants starts "
                f"from weights; leave it away"
            )
        return [
            replace(
                run, prior=choose_prior(run.task, self.prior, self.shipped, self.out / "nuclei")
            )
            if run.variant in wanting
            else run
            for run in runs
        ]
