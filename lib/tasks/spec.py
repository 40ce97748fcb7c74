"""A task: one row of `lib.tasks.registry`. Plain data; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from lib.errors import choose
from lib.tasks.click_spec import CLICK_MAPS, ClickSpec
from lib.tasks.exam_spec import ExamSpec
from lib.tasks.image_kind import DIMENSIONS, Dimensions
from lib.tasks.image_spec import (
    COLOURS,
    GREYS,
    PRESENCE,
    AugmentSpec,
    InputSpec,
    OutputSpec,
    TargetSpec,
)
from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec
from lib.tasks.spec_fields import LATER, parts_without_unused
from lib.tasks.training_spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One row: what the task is, its network, and how it is trained and served.

    Attributes:
        kind: name of a row of `lib.kinds`, which checks more than is checked here.
        labels: name of each structure, or class, and its value in label images.
        modalities: DICOM modalities of the images that it is for; empty for any. Images that have
            none, such as PNG, may be of any.
        strict: whether images of other modalities are refused. If not, they are not offered, and
            an answer that is asked for by name comes with a note: converters write any modality
            into the pictures of a microscope.
        dimensions: of the images that it is for, see `lib.tasks.fits`, what it was made for first;
            empty for any.
        key_metric: the figure that picks the best epoch and decides on publishing.
        reference: where the network or recipe comes from.
        weights_licence: licence under which shipped weights may be used; empty where none ship.
        exam: for classification: the classes and how an exam is answered; else None.
        clicks: for interactive segmentation: how clicks guide it; else None.

    Raises:
        ValueError: the parts do not fit each other; the message names the task.
    """

    name: str
    description: str
    kind: str
    labels: Mapping[str, int]
    network: EncoderDecoderSpec | ClassifierSpec | MonaiSpec
    modalities: tuple[str, ...] = ()
    strict: bool = True
    dimensions: tuple[Dimensions, ...] = ()
    input: InputSpec = field(default_factory=InputSpec)
    target: TargetSpec = field(default_factory=TargetSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    output: OutputSpec = field(default_factory=OutputSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    key_metric: str = "mean_iou"
    reference: str = ""
    weights_licence: str = ""
    exam: ExamSpec | None = field(default=None, metadata=LATER)
    clicks: ClickSpec | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        for name in self.dimensions:
            choose("dimensions", name, dict.fromkeys(DIMENSIONS))
        axes = range(self.network.spatial_dims)
        if not set(self.augment.never_flipped) <= set(axes):
            raise ValueError(
                f"augment.never_flipped: expected axes of the network, 0 to {axes[-1]}, found "
                f"{list(self.augment.never_flipped)}"
            )
        if isinstance(self.network, (EncoderDecoderSpec, MonaiSpec)):
            _check_maps(self, self.network)
        if isinstance(self.network, ClassifierSpec) or self.exam is not None:
            _check_classes(self)

    @property
    def encoder_decoder(self) -> EncoderDecoderSpec:
        """The network of a segmentation task of this app's own family."""
        assert isinstance(self.network, EncoderDecoderSpec), self.kind
        return self.network

    @property
    def map_network(self) -> EncoderDecoderSpec | MonaiSpec:
        """The network of a segmentation task."""
        assert not isinstance(self.network, ClassifierSpec), self.kind
        return self.network

    @property
    def classifier(self) -> ClassifierSpec:
        """The network of a classification task."""
        assert isinstance(self.network, ClassifierSpec), self.kind
        return self.network

    @property
    def exam_rules(self) -> ExamSpec:
        """Classes and rules of a classification task."""
        assert self.exam is not None, self.kind
        return self.exam

    @property
    def click_rules(self) -> ClickSpec:
        """How clicks guide a task of interactive segmentation."""
        assert self.clicks is not None, self.kind
        return self.clicks

    @property
    def image_dims(self) -> Literal[3] | None:
        """Axes that an image must have: three for volumes, else two or, slice by slice, three."""
        return 3 if self.network.spatial_dims == 3 else None

    @property
    def is_for(self) -> dict[str, list[str]]:
        """The images that it is for, as clients get to know it; empty lists are any."""
        return {"modalities": list(self.modalities), "dimensions": list(self.dimensions)}

    def for_any_image(self) -> TaskSpec:
        """Return the row without a word on the images that it is for."""
        return replace(self, modalities=(), dimensions=())

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, as it is stored in checkpoints and reports."""
        return asdict(replace(self, labels=dict(self.labels)))

    def as_trained(self) -> dict[str, Any]:
        """Return what of the row decides the weights: not texts, output, or what it is for."""
        untrained = {
            "description",
            "reference",
            "weights_licence",
            "output",
            "strict",
            *self.is_for,
        }
        trained = parts_without_unused(self, self.as_dict())
        return {name: part for name, part in trained.items() if name not in untrained}


def _check_maps(task: TaskSpec, network: EncoderDecoderSpec | MonaiSpec) -> None:
    answered = task.target.answered
    if task.target.maps[:1] != ("foreground",) or len(answered) != network.out_channels:
        raise ValueError(
            f"task '{task.name}': the network's out_channels must be the number of answered "
            f"target maps, foreground first, found {network.out_channels} and {answered}"
        )
    seen = task.input.channels
    if seen not in (GREYS[:1], COLOURS) or len(seen) != network.in_channels:
        raise ValueError(
            f"task '{task.name}': the network's in_channels must be the number of input channels, "
            f"which are {GREYS[0]}, or {', '.join(COLOURS)}; found {network.in_channels} and {seen}"
        )
    pooled = network.pooled_channels
    others = len(answered) - pooled
    if [name == PRESENCE for name in answered] != [False] * others + [True] * pooled:
        raise ValueError(
            f"task '{task.name}': the network's pooled_channels must answer the target map "
            f"{PRESENCE}, the last, found {pooled} and {answered}"
        )
    values = set(task.target.structures.values())
    if values and values != set(task.labels.values()):
        raise ValueError(
            f"task '{task.name}': the target needs a map for every label, or none, found "
            f"{sorted(values)} for {dict(task.labels)}"
        )
    if task.output.separation == "distance" and "distance" not in answered:
        raise ValueError(f"task '{task.name}': separation by distance needs that target map")
    guidance = network.guidance_channels
    if (task.clicks is None) != (guidance == 0) or guidance not in (0, CLICK_MAPS):
        raise ValueError(
            f"task '{task.name}': interactive segmentation needs a ClickSpec and a network with "
            f"{CLICK_MAPS} guidance_channels, found {task.clicks} and {guidance}"
        )


def _check_classes(task: TaskSpec) -> None:
    network = task.network
    if not isinstance(network, ClassifierSpec) or task.exam is None:
        raise ValueError(f"task '{task.name}': classification needs a ClassifierSpec and an exam")
    names = task.exam.names
    if len(names) != network.out_channels or set(task.labels) != set(names):
        raise ValueError(
            f"task '{task.name}': the network's out_channels and the labels must be those of the "
            f"classes {', '.join(names)}, found {network.out_channels} and {dict(task.labels)}"
        )
    seen = task.input.channels
    fits = len(seen) == network.in_channels and set(seen) <= set(GREYS)
    if not fits or min(task.input.sides) < 1:
        raise ValueError(
            f"task '{task.name}': the network's in_channels must be the number of input channels, "
            f"of {' and '.join(GREYS)}, and the input have a size, found {network.in_channels}, "
            f"{seen} and {task.input.size}"
        )


class Rows(list[TaskSpec]):
    """The rows of one field, in the order in which they are listed."""

    def add(self, task: TaskSpec) -> TaskSpec:
        """Add `task` and return it, so that siblings can be made of it."""
        self.append(task)
        return task


def plain(name: str) -> str:
    """Return a label name in the form for comparison: ``Dense_tissue`` as ``dense tissue``."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())
