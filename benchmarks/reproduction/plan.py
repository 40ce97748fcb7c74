"""What was asked of a study, and the runs that this makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.campaign import Execution
from benchmarks.reproduction.initial_weights import InitialWeights, choose_initial_weights
from benchmarks.reproduction.run import Run
from benchmarks.reproduction.study import Study, Variant
from lib.errors import InputError
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import TrainingSpec

VALIDATIONS = 14


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What was asked for.

    Attributes:
        out: folder of the runs and the report.
        steps: of every run; None for the study's own number.
        epochs: passes of every run, instead of steps.
        folds: of a study with cross-validation; None for its own number.
        recipe: of every variant; empty for the variants' own.
        jobs: runs at the same time, each in its own process.
        data_name: of the images, for the report.
        changes: training options that differ from the recipe, beside steps; for tests and trials.
        initial_weights: file for the variants that start from one; None for `shipped`.
        shipped: weights of nuclei that come with the app, for these variants if they fit.
    """

    study: Study
    out: Path
    variants: tuple[Variant, ...]
    steps: int | None = None
    epochs: int | None = None
    folds: int | None = None
    seeds: tuple[int, ...] = (0,)
    recipe: str = ""
    jobs: int = 1
    execution: Execution = Execution()
    data_name: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    initial_weights: Path | None = None
    shipped: Path | None = None

    def __post_init__(self) -> None:
        """Refuse folds for a study without cross-validation."""
        if self.folds and not self.study.folds:
            raise InputError(
                f"--folds is for studies with cross-validation; '{self.study.name}' has one test "
                f"set: leave the option out"
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
            variant=variant.name,
            task=replace(task, training=training),
            recipe=recipe,
            seed=seed,
            folder=self.out / name,
            setting=self.study.recipes[recipe],
            source=variant.source,
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

    def with_initial_weights(self, runs: Sequence[Run]) -> list[Run]:
        """Return the runs, with the weights that those of a pretrained variant start from.

        Raises:
            InputError: the given weights cannot be read, or no run starts from weights.
        """
        pretrained = {variant.name for variant in self.variants if variant.pretrained}
        if self.initial_weights and not pretrained:
            raise InputError(
                f"--prior '{self.initial_weights.name}' is of no use: none of the chosen variants "
                f"starts from weights; leave the option out"
            )

        def choose(task: TaskSpec) -> InitialWeights:
            phantoms = self.out / "nuclei"
            return choose_initial_weights(task, self.initial_weights, self.shipped, phantoms)

        return [
            replace(run, initial_weights=choose(run.task)) if run.variant in pretrained else run
            for run in runs
        ]
