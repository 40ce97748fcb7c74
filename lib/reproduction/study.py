"""What a published study is: its configurations, the figures it prints, and what we must reach.

Plain data, without torch; the tables themselves are modules of their own (`lib.reproduction.thesis`
is the first), gathered in `lib.reproduction.catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lib.datasets.studies import Item
from lib.errors import InputError, unknown
from lib.tasks import TaskSpec


@dataclass(frozen=True)
class Printed:
    """What the publication prints of one configuration, in 0..1; None where it prints nothing."""

    loss: float | None = None
    mean_iou: float | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None

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
    """A figure of `lib.metrics` that a run must reach on the test part, and where it is from."""

    metric: str
    value: float
    origin: str


@dataclass(frozen=True)
class Variant:
    """One configuration of a study.

    Attributes:
        name: as the publication calls it.
        task: the row of `lib.tasks`.
        bound: None where nothing is printed to reach.
        recipes: run where none is asked for.
        collapses: recipes under which the publication says it fails; `bound` is not for these.
        steps: of its runs; None for the study's.
        source: of the images: the studies folder, or "volumes", seeded phantoms of our own.
    """

    name: str
    task: str
    printed: Printed = Printed()
    bound: Bound | None = None
    recipes: tuple[str, ...] = ("ours",)
    collapses: tuple[str, ...] = ()
    steps: int | None = None
    source: Literal["studies", "volumes"] = "studies"


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


def by_key(item: Item) -> str:
    """Return what decides the part of an item where images are independent of each other."""
    return item.key


@dataclass(frozen=True)
class Study:
    """A publication's experiments on one data set.

    Attributes:
        name: of the command, in lower case.
        source: the publication.
        test_share: part of the images that is tested on, by a hash of `key`.
        key: what keeps items together: the image, the subject.
        published: name of the recipe that is the publication's own.
        tables: the publication's names of the table of mean IoU and of the pixel figures.
        differences: what no recipe shows: (what, in the publication, here).
    """

    name: str
    title: str
    source: str
    variants: tuple[Variant, ...]
    recipes: Mapping[str, Recipe]
    published: str
    steps: int
    test_share: float = 0.3
    key: Callable[[Item], str] = by_key
    tables: tuple[str, str] = ("Tab. 2", "Tab. 3")
    differences: tuple[tuple[str, str, str], ...] = field(default=())

    def choose(self, names: str) -> list[Variant]:
        """Return the variants called `names`, by row or by the publication's name.

        Args:
            names: separated by commas, or "all".

        Raises:
            InputError: none, or an unknown one; the message names the nearest.
        """
        if names.strip() == "all":
            return list(self.variants)
        table = {key: v for v in self.variants for key in (v.task, v.name.lower())}
        words = [word.strip().lower() for word in names.split(",")]
        wanted = [word for word in words if word]
        for word in wanted:
            if word not in table:
                raise unknown("variant", word, [v.task for v in self.variants])
        if not wanted:
            raise InputError("no variant given; expected names separated by commas, or 'all'")
        return list({table[word].task: table[word] for word in wanted}.values())


def plain(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested data as one level, keys joined by dots, tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat |= plain(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
