"""How the views of an exam become one answer. Plain data; nothing here imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from lib.tasks.spec_fields import check_choices

Rule = Literal["mean", "denser_breast"]
# what a request may ask for, and the methods of `lib.classification.saliency` that answer it
SALIENCY: dict[str, tuple[str, ...]] = {
    "none": (),
    "gradcam": ("gradcam",),
    "gradient": ("gradient",),
    "both": ("gradcam", "gradient"),
}


@dataclass(frozen=True)
class ClassSpec:
    """One class that a task answers with.

    Attributes:
        name: as it is shown.
        birads: BI-RADS densities that belong to it, A to D.
        mias: tissues of mini-MIAS that belong to it: F, G, D.
        halves: words for half of the scale that belong to it: non-dense, dense.
    """

    name: str
    birads: tuple[str, ...] = ()
    mias: tuple[str, ...] = ()
    halves: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExamSpec:
    """What is answered on an exam, and when the answer needs a reader.

    Attributes:
        classes: in the order of the network's outputs, from the least dense to the densest; exams
            of other densities are left out.
        rule: ``mean`` of the probabilities of all views; or ``denser_breast``: the mean of each
            breast's views, and of both breasts the one with the denser class.
        least_confidence: probability of the answered class below which a reader is needed, 0..1.
        disagreement: steps between the classes of two views from which a reader is needed.
    """

    classes: tuple[ClassSpec, ...]
    rule: Rule = "mean"
    least_confidence: float = 0.6
    disagreement: int = 1

    def __post_init__(self) -> None:
        """Reject classes that share a density, and thresholds that mean nothing."""
        check_choices(self)
        for scale in ("birads", "mias", "halves"):
            labels = [label for item in self.classes for label in asdict(item)[scale]]
            if len(labels) != len(set(labels)):
                raise ValueError(f"a density belongs to one class, found {scale} {labels}")
        if len(self.classes) < 2:
            raise ValueError(f"classes must be at least 2, found {len(self.classes)}")
        if not 0 <= self.least_confidence <= 1 or self.disagreement < 1:
            raise ValueError(
                f"least_confidence must lie in 0..1 and disagreement be at least 1, found "
                f"{self.least_confidence} and {self.disagreement}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in their order."""
        return tuple(item.name for item in self.classes)

    def class_index(self, density: str | None, scale: str = "birads") -> int | None:
        """Return the index of the class that a density belongs to; None where there is none.

        Args:
            density: a letter of the scale, or one of ``non-dense`` and ``dense``.
            scale: "birads" or "mias"; the letter D exists in both.
        """
        for index, item in enumerate(self.classes):
            letters = item.mias if scale == "mias" else item.birads
            if density in (*letters, *item.halves):
                return index
        return None
