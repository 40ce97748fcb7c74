"""The kinds of tasks: one row each, where everything that depends on the kind is found.

A further kind is a `TaskKind` that is given to `register`; its tasks have its name as their `kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from lib.active_learning.review import EXAM_REVIEWS, IMAGE_REVIEWS, Scorer
from lib.active_learning.strategies import CLASS_STRATEGIES, MAP_STRATEGIES
from lib.classification.cases import EXAM_CASES
from lib.classification.losses import CLASS_LOSSES
from lib.classification.predictor import ExamPredictor
from lib.classification.scoring import EXAM_SCORING
from lib.classification.summary import EXAM_EVALUATION
from lib.data.case import CaseFunctions, Cases, Evaluation, Figures, Scoring
from lib.data.labels import matching_items
from lib.data.reader_choice import LATEST
from lib.data.studies import Item
from lib.errors import InputError, choose
from lib.image import Image
from lib.interactive.predictor import ClickPredictor
from lib.interactive.training import CLICK_CASES, CLICK_SCORING
from lib.mammography.exams import Exam
from lib.segmentation.evaluation import SEGMENTATION_EVALUATION
from lib.segmentation.losses import LOSSES
from lib.segmentation.predictor import Predictor
from lib.segmentation.training import SEGMENTATION_CASES, SEGMENTATION_SCORING
from lib.tasks.click_spec import CLICK_MAPS
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import PASSES, Informativeness, measure_exam, measure_image
from lib.weights.runner import NetworkRunner

EntryPoint = str | Callable[..., Any]
"""A class or function, or its name as "package.module:name".

Names are for what stands above `lib`, which must not be imported here. As the entry points of
Python packages they are resolved when they are first used.
"""


@dataclass(frozen=True, kw_only=True)
class TaskKind:
    """One kind of task.

    Attributes:
        name: what tasks have as their `kind`.
        check: raises `ValueError` for a task that is not of this kind; `TaskSpec` has checked that
            its parts fit each other.
        losses: by the names that `TrainingSpec.loss` may have.
        predictor: answers with a network of such a task.
        by_exam: whether a case that is labelled at once is an exam; else it is an image.
        painted: whether its labels are painted, so that viewers offer the names of its structures.
        label: what it is trained on: a label image, or a density.
        mirrored: whether `predictor` has the option ``flips``.
        measure: the function `measure` for this kind.
        reviews: the scoring methods of `lib.active_learning.review` that fit, by name.
        strategies: names of the fitting `lib.active_learning.strategies.STRATEGIES`.
        simulation_metric: the figure that simulations of active learning compare.
        answer_files: answers on files for the command line, by a task and
            `monailabel_app.cli.infer.InferOptions`; returns what failed and why.
        infer_task: answers on the server, see `infer.build`; None where the server does not.
        trainer: trains on the server, see `trainers.base`; None where the server does not.
    """

    name: str
    check: Callable[[TaskSpec], None]
    cases: CaseFunctions
    losses: Mapping[str, Callable[..., Any]]
    scoring: Scoring
    predictor: type[NetworkRunner]
    evaluation: Evaluation
    by_exam: bool = False
    painted: bool = True
    label: Literal["mask", "density"] = "mask"
    mirrored: bool = True
    measure: Callable[..., Informativeness] = measure_image
    reviews: Mapping[str, Scorer]
    strategies: tuple[str, ...]
    simulation_metric: str
    answer_files: EntryPoint
    infer_task: EntryPoint | None = None
    trainer: EntryPoint | None = None

    def matching(self, items: Sequence[Item], task: TaskSpec) -> tuple[list[Item], dict[str, str]]:
        """Return the labelled items that the task can be trained on, and why not the others.

        See `lib.data.labels.matching_items`; densities have no names to compare.
        """
        return matching_items(items, task) if self.label == "mask" else (list(items), {})

    @property
    def served(self) -> bool:
        """Whether the server can answer and train."""
        return self.infer_task is not None and self.trainer is not None

    @property
    def unit(self) -> str:
        """What one case is called."""
        return "exam" if self.by_exam else "image"


KINDS: dict[str, TaskKind] = {}


def register(kind: TaskKind) -> TaskKind:
    """Add a row and return it.

    Raises:
        InputError: the name is taken.
    """
    if kind.name in KINDS:
        raise InputError(f"kind '{kind.name}' is already registered; give the new row its own name")
    KINDS[kind.name] = kind
    return kind


def kind_of(task: TaskSpec) -> TaskKind:
    """Return the row of the kind of `task`.

    Raises:
        NotFoundError: there is no such kind; the message names the nearest one.
        ValueError: the task lacks what its kind needs.
    """
    kind = choose("kind", task.kind, KINDS)
    kind.check(task)
    return kind


def list_labelled(studies: Path, task: TaskSpec, readers: str = LATEST) -> list[Item]:
    """Return the labelled cases of a studies folder.

    Args:
        readers: whose labels, one of `lib.data.reader_choice.READERS`.

    Raises:
        InputError: there are none, or a label or an image cannot be read.
    """
    cases = kind_of(task).cases
    if readers == LATEST:
        return cases.list(studies, task, True)
    return list(cases.of_readers(studies, task, readers))


def resolve(entry: EntryPoint) -> Any:
    """Return the class or function that an entry point names."""
    return resolve_name(entry) if isinstance(entry, str) else entry


def score_cases(predictor: NetworkRunner, cases: Cases) -> Figures:
    """Return the figures of whole cases; several processes share the work."""
    return kind_of(predictor.task).scoring.score(predictor, cases)


def measure(
    predictor: NetworkRunner,
    case: Image | Exam,
    seed: int = 0,
    passes: int = PASSES,
    copies: bool = True,
) -> Informativeness:
    """Measure how informative a label of one image, or of one exam, would be.

    Other threads may use the predictor meanwhile; their answers are not disturbed.

    Args:
        case: as `lib.io.read.read_image` or `lib.mammography.exams.list_exams` return it.
        seed: of the dropped features.
        passes: number of passes with dropped features; with 0, which is faster, `entropy` is 0.
        copies: whether to answer on mirrored or turned copies too; without, which is faster,
            `disagreement` is 0.

    Raises:
        InputError: the image or exam cannot be answered on.
    """
    return kind_of(predictor.task).measure(predictor, case, seed, passes, copies)


def _check_maps(task: TaskSpec) -> None:
    if isinstance(task.network, ClassifierSpec):
        raise ValueError(f"task '{task.name}': {task.kind} needs an EncoderDecoderSpec")


def _check_clicks(task: TaskSpec) -> None:
    _check_maps(task)
    if task.clicks is None or not isinstance(task.network, EncoderDecoderSpec):
        raise ValueError(
            f"task '{task.name}': interactive segmentation needs a ClickSpec and a network with "
            f"{CLICK_MAPS} guidance_channels, found none"
        )


def _check_classes(task: TaskSpec) -> None:
    if not isinstance(task.network, ClassifierSpec):
        raise ValueError(f"task '{task.name}': {task.kind} needs a ClassifierSpec and an exam")


SEGMENTATION = register(
    TaskKind(
        name="segmentation",
        check=_check_maps,
        cases=SEGMENTATION_CASES,
        losses=LOSSES,
        scoring=SEGMENTATION_SCORING,
        predictor=Predictor,
        evaluation=SEGMENTATION_EVALUATION,
        reviews=IMAGE_REVIEWS,
        strategies=MAP_STRATEGIES,
        simulation_metric="dice_kaggle",
        answer_files="monailabel_app.cli.infer:answer_images",
        infer_task="infer.segmentation:SegmentationInfer",
        trainer="trainers.segmentation:SegmentationTrain",
    )
)
INTERACTIVE = register(
    replace(
        SEGMENTATION,
        name="interactive",
        check=_check_clicks,
        cases=CLICK_CASES,
        scoring=CLICK_SCORING,
        predictor=ClickPredictor,
        infer_task="infer.clicks:ClickInfer",
    )
)
CLASSIFICATION = register(
    TaskKind(
        name="classification",
        check=_check_classes,
        cases=EXAM_CASES,
        losses=CLASS_LOSSES,
        scoring=EXAM_SCORING,
        predictor=ExamPredictor,
        evaluation=EXAM_EVALUATION,
        by_exam=True,
        painted=False,
        label="density",
        mirrored=False,
        measure=measure_exam,
        reviews=EXAM_REVIEWS,
        strategies=CLASS_STRATEGIES,
        simulation_metric="exam_kappa",
        answer_files="monailabel_app.cli.infer:answer_exams",
        infer_task="infer.classification:ClassificationInfer",
        trainer="trainers.classification:ClassificationTrain",
    )
)
