"""A published study: its configurations, its printed figures, and the figures to reach.

Plain data, without torch; `benchmarks.reproduction.published` has the studies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lib.datasets.importing import ImportReport
from lib.errors import InputError, choose, unknown
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What the publication prints of one configuration, in 0..1; None where it prints nothing.

    Attributes:
        steps: after which this is, where it prints several moments of a training.
    """

    loss: float | None = None
    mean_iou: float | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    steps: int | None = None

    @property
    def implied_mean_iou(self) -> float | None:
        """The two-class mean IoU that accuracy, precision and recall leave possible.

        With all pixels as 1 and t the share of true positives, the wrong ones are
        t (1/precision - 1) + t (1/recall - 1) = 1 - accuracy, which gives t and both IoUs.
        """
        if self.accuracy is None or not self.precision or not self.recall:
            return None
        wrong = 1 - self.accuracy
        hits = wrong / (1 / self.precision + 1 / self.recall - 2)
        return (hits / (hits + wrong) + (self.accuracy - hits) / (1 - hits)) / 2


@dataclass(frozen=True)
class Bound:
    """A published figure that a run must reach on the test set, and its source."""

    metric: str
    value: float
    origin: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration of a study.

    Attributes:
        name: as the publication calls it.
        task: the row of `lib.tasks.registry`; several variants may share one.
        bounds: none where nothing is printed to reach.
        recipes: run where none is asked for.
        collapses: recipes under which the publication says it fails; `bounds` are not for these.
        steps: of its runs; None for the study's.
        source: of the images: the studies folder, or "volumes", seeded phantoms of our own.
        training: options of the recipe, under every recipe, that make it this variant.
        pretrained: start from the weights of another task; see
            `benchmarks.reproduction.initial_weights`.
        other_steps: what is printed of further moments of the training.
        size: of the input of a task on exams, pixels; 0 keeps the row's.
        accuracy: of exams, what is printed on test exams, 0..1: by view ("R-CC"), breast ("R")
            and "exam".
    """

    name: str
    task: str
    printed: Printed = Printed()
    bounds: tuple[Bound, ...] = ()
    recipes: Sequence[str] = ("ours",)
    collapses: Sequence[str] = ()
    steps: int | None = None
    source: Literal["studies", "volumes"] = "studies"
    training: Mapping[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    other_steps: tuple[Printed, ...] = ()
    size: int = 0
    accuracy: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A way to train a row.

    Attributes:
        setting: turns the row into the one that is trained.
        weights: which are tested, those best on the validation cases or those of the last step.
    """

    title: str
    setting: Callable[[TaskSpec], TaskSpec]
    weights: Literal["best", "last"] = "best"


@dataclass(frozen=True, kw_only=True)
class Study:
    """A publication's experiments on one data set.

    Attributes:
        name: of the command, in lower case.
        source: the publication.
        published: name of the recipe that is the publication's own; empty where there is none.
        steps: of each run; None for the row's.
        subject: what a run answers: decides how it is tested and what the page shows.
        folds: of the cross-validation by patient, each a run of its own; 0 is none.
        test_share: share of the images that are tested on, by a hash of the group, or the id; not
            used with folds.
        val_share: share of the other images that choose the step.
        often_absent: whether many images lack the structure: the page has the figures of
            `lib.segmentation.metrics.image_scores` and the mask that is always empty, and its
            panel an image of each class.
        importer: copies the data set as published (first) into a studies folder (second).
        note: what must be said of the study, on its page.
        tables: the publication's names of the table of mean IoU and of the pixel figures.
        differences: what no recipe shows: keys "what", "published" and "here".
    """

    name: str
    title: str
    source: str
    variants: tuple[Variant, ...]
    recipes: Mapping[str, Recipe]
    published: str = ""
    steps: int | None = None
    subject: Literal["masks", "exams"] = "masks"
    folds: int = 0
    test_share: float = 0.3
    val_share: float = 0.2
    often_absent: bool = False
    importer: Callable[[Path, Path], ImportReport] | None = None
    note: str = ""
    tables: Sequence[str] = ()
    differences: Sequence[Mapping[str, str]] = ()

    def label(self, variant: Variant) -> str:
        """Return the name of the variant's runs: its row, with its size, or its name if shared."""
        if variant.size:
            return f"{variant.task}-{variant.size}"
        shared = sum(other.task == variant.task for other in self.variants) > 1
        return f"{variant.task}-{variant.name.lower()}" if shared else variant.task

    def row(self, variant: Variant, recipe: str) -> TaskSpec:
        """Return the row that is trained for `variant` under `recipe`.

        Raises:
            NotFoundError: an unknown recipe, or a variant without a row.
        """
        task = choose("recipe", recipe, self.recipes).setting(get_task(variant.task))
        if variant.size:
            task = replace(task, input=replace(task.input, size=variant.size))
        return replace(task, training=replace(task.training, **variant.training))

    def at_sizes(self, sizes: Iterable[int]) -> Study:
        """Return the study with a variant of each row at these input sizes too.

        The publication prints nothing of those. A study without sizes stays as it is.
        """
        if not any(variant.size for variant in self.variants):
            return self
        variants = list(self.variants)
        for first in {v.task: v for v in reversed(self.variants) if v.size}.values():
            present = {v.size for v in self.variants if v.task == first.task}
            name = first.name.removesuffix(f"{first.size} px")
            variants += [
                replace(first, name=f"{name}{size} px", size=size, accuracy={})
                for size in sorted(set(sizes) - present)
            ]
        tasks = list(dict.fromkeys(variant.task for variant in self.variants))
        variants.sort(key=lambda variant: (tasks.index(variant.task), variant.size))
        return replace(self, variants=tuple(variants))

    def of_sizes(self, variants: Sequence[Variant], sizes: Sequence[int] = ()) -> list[Variant]:
        """Return the variants of these input sizes, by default of the sizes in their rows.

        Args:
            sizes: that `at_sizes` was given.

        Raises:
            InputError: sizes are given for a study that has none.
        """
        if sizes and not any(variant.size for variant in variants):
            raise InputError(
                f"--sizes is for studies with several input sizes; '{self.name}' has none"
            )
        return [
            variant
            for variant in variants
            if not variant.size
            or variant.size in (sizes or (max(get_task(variant.task).input.sides),))
        ]

    def choose(self, names: str) -> list[Variant]:
        """Return the variants called `names`, by row or by the publication's name.

        Args:
            names: separated by commas, or "all".

        Raises:
            InputError: none, or an unknown one; the message names the nearest.
        """
        if names.strip() == "all":
            return list(self.variants)
        table: dict[str, list[Variant]] = {}
        for variant in self.variants:
            for word in (variant.task, variant.name.lower(), self.label(variant)):
                table[word] = [*table.get(word, []), variant]
        words = [word.strip().lower() for word in names.split(",") if word.strip()]
        for word in words:
            if word not in table:
                raise unknown("variant", word, [v.task for v in self.variants])
        if not words:
            raise InputError("no variant given; expected names separated by commas, or 'all'")
        return list({v.name: v for word in words for v in table[word]}.values())


def plain(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level: keys joined by dots, tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= plain(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
