"""What a row of `lib.tasks.registry` is made of. Plain data; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from lib.errors import choose
from lib.tasks.exam_spec import ExamSpec
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec
from lib.tasks.spec_fields import LATER, parts_without_unused
from lib.tasks.training_spec import TrainingSpec, read_patch_size, show_patch_size

__all__ = [
    "PRESENCE",
    "STRUCTURE",
    "AugmentSpec",
    "ClickSpec",
    "InputSpec",
    "Kind",
    "OutputSpec",
    "TargetSpec",
    "TaskSpec",
    "TrainingSpec",
    "read_patch_size",
    "show_patch_size",
]

Kind = Literal["segmentation", "interactive", "classification"]
GREYS = ("normalised", "original")
STRUCTURE = "label_"
PRESENCE = "presence"
CLICK_MAPS = 2  # positive and negative


@dataclass(frozen=True)
class InputSpec:
    """How an image file becomes the network's input; the same for training and serving.

    Colour images become luminance (Rec. 601).

    Attributes:
        percentiles: the intensities at these percentiles become 0 and 1.
        dark_background: invert images whose median lies in the upper half of their range, so that
            stained sections (bright background) look like fluorescence.
        longest_side: pixels that the longer of rows and columns is resampled to, up or down; 0
            keeps the size. The answer has the image's own size all the same.
        isotropic: resample volumes whose spacing differs between axes to one spacing: that of the
            coarsest axis, but at most 1.5 times the geometric mean.
        min_side: fewest rows and columns accepted.
        max_pixels: most pixels accepted (8192 x 8192 by default).
        size: of mammograms, rows and columns that the breast is brought to; one number for a
            square. 0 where the task is not of mammograms.
        channels: of mammograms, the greys that the network sees: ``normalised`` (within the
            breast) and ``original`` (of the image), which tells more on films.
    """

    percentiles: tuple[float, float] = (0.5, 99.8)
    dark_background: bool = True
    longest_side: int = 0
    isotropic: bool = False
    min_side: int = 8
    max_pixels: int = 8192 * 8192
    size: int | tuple[int, int] = field(default=0, metadata=LATER)
    channels: tuple[str, ...] = field(default=("normalised",), metadata=LATER)

    def __post_init__(self) -> None:
        """Reject channels that are none."""
        for name in self.channels or ("none",):
            choose("input channel", name, dict.fromkeys(GREYS))

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of a prepared mammogram."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


@dataclass(frozen=True)
class TargetSpec:
    """How an accepted label image becomes the training target.

    Attributes:
        maps: what the network learns to answer, in order, then what only weighs the loss; names
            of `lib.data.targets.MAPS`, and ``label_2`` for what has that value, where a task has
            several structures. The first is always ``foreground``.
        gap: pixels cleared between touching instances, so that they come apart (the thesis's
            eroded borders); 0 keeps the labels as drawn. Instances narrower than the gap stay.
    """

    maps: tuple[str, ...] = ("foreground",)
    gap: int = 0

    @property
    def answered(self) -> tuple[str, ...]:
        """The maps that the network answers with; the others weigh the loss."""
        return tuple(name for name in self.maps if not name.endswith("_weight"))

    @property
    def structures(self) -> dict[str, int]:
        """The maps of single structures, and their values in label images."""
        return {
            name: int(name.removeprefix(STRUCTURE))
            for name in self.maps
            if name.startswith(STRUCTURE)
        }


@dataclass(frozen=True)
class AugmentSpec:
    """Random changes of a training patch, each with its own probability or range.

    Attributes:
        flips: mirror each axis with probability 0.5.
        flip_depth: whether the rows are among these axes; they are not where they are depth below a
            transducer, with shadows behind what casts them.
        rotate90: turn by a random multiple of 90 degrees (in the plane of the last two axes).
        rotate: largest turn by any angle, in degrees, either way (in the same plane).
        zoom: smallest and largest magnification, drawn log-uniformly; (1, 1) is off.
        elastic: standard deviation in pixels of the displacements of a coarse grid of four points
            along each axis, smoothly interpolated between (U-Net 2015, section 3.1); 0 is off.
        dilate: probability of a grey dilation of image and target by one pixel.
        blur: largest standard deviation in pixels of a Gaussian blur; 0 is off.
        gamma: largest exponent (and, inverted, smallest) applied to intensities; 1 is off.
        noise: largest standard deviation of added Gaussian noise, in units of the 0..1 range.
    """

    flips: bool = True
    flip_depth: bool = True
    rotate90: bool = False
    rotate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    dilate: float = 0.0
    blur: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class OutputSpec:
    """How probabilities become a mask and an instance map.

    Attributes:
        threshold: probability from which a pixel is foreground.
        presence_threshold: answered presence from which there is any foreground at all, where the
            task answers with that map; 0 is off.
        blur: standard deviation in pixels of a Gaussian over the probabilities before they are
            thresholded, for smooth outlines; 0 is off.
        keep: ``all`` objects, or the ``largest`` of each structure only.
        instances: separate touching objects and number them.
        separation: how: ``shape`` (watershed of the mask's distance transform), ``distance``
            (watershed of the answered distance map) or ``components`` (what is connected).
        smoothing: standard deviation in pixels of the Gaussian that smooths the distances before
            their maxima become watershed seeds.
        depth: height a maximum must rise above the saddle to its neighbour to be a seed of its
            own: pixels for ``shape``, 0..1 for ``distance``.
        seed_threshold: for ``distance``, least answered distance (0..1) of a seed.
        gap: pixels by which objects grow back where the target's borders were eroded.
        min_area: objects with fewer pixels are dropped from mask and instances.
    """

    threshold: float = 0.5
    presence_threshold: float = 0.0
    blur: float = 0.0
    keep: Literal["all", "largest"] = "all"
    instances: bool = False
    separation: Literal["shape", "distance", "components"] = "shape"
    smoothing: float = 1.0
    depth: float = 0.75
    seed_threshold: float = 0.3
    gap: int = 0
    min_area: int = 0


@dataclass(frozen=True)
class ClickSpec:
    """How clicks guide a network, and how training simulates them (`lib.interactive.clicks`).

    Attributes:
        radius: of the disc, or ball, that a click is drawn as, in pixels of the network's grid.
        footprint: radius of the disc that is set around a click which the network does not follow.
        first: most clicks of each sign that a training patch begins with, where it has any.
        automatic: share of the training patches that begin without clicks.
        corrections: most rounds of clicks that then follow, where the network's answer is wrong.
        objects: most objects that are corrected in a round, of tasks that tell them apart.
        validated: corrections of each validation case: the score is the mean over the answers
            after none, one, ... and all of them.
    """

    radius: float = 3.0
    footprint: float = field(default=1.0, metadata=LATER)
    first: int = 2
    automatic: float = 0.5
    corrections: int = 3
    objects: int = field(default=3, metadata=LATER)
    validated: int = 3


@dataclass(frozen=True)
class TaskSpec:
    """One row: what the task is, its network, and how it is trained and served.

    Attributes:
        labels: name of each structure, or class, and its value in label images.
        key_metric: the figure that picks the best epoch and decides on publishing.
        reference: where the network or recipe comes from.
        weights_licence: licence under which shipped weights may be used; empty where none ship.
        exam: of classification, the classes and how an exam is answered; else None.
        clicks: of interactive segmentation, how clicks guide it; else None.
    """

    name: str
    description: str
    kind: Kind
    labels: Mapping[str, int]
    network: EncoderDecoderSpec | ClassifierSpec
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
        """Reject rows whose parts do not fit each other."""
        choose("kind", self.kind, _CHECKS)(self)

    @property
    def encoder_decoder(self) -> EncoderDecoderSpec:
        """The network of a segmentation task."""
        assert isinstance(self.network, EncoderDecoderSpec), self.kind
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

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, as it is stored in checkpoints and reports."""
        return asdict(replace(self, labels=dict(self.labels)))

    def as_trained(self) -> dict[str, Any]:
        """Return what of the row decides the weights: all but the texts and the output options."""
        untrained = ("description", "reference", "weights_licence", "output")
        trained = parts_without_unused(self, self.as_dict())
        return {name: part for name, part in trained.items() if name not in untrained}


def _check_segmentation(task: TaskSpec) -> None:
    network = task.network
    if not isinstance(network, EncoderDecoderSpec):
        raise ValueError(f"task '{task.name}': segmentation needs an EncoderDecoderSpec")
    answered = task.target.answered
    if task.target.maps[:1] != ("foreground",) or len(answered) != network.out_channels:
        raise ValueError(
            f"task '{task.name}': the network's out_channels must be the number of answered "
            f"target maps, foreground first, found {network.out_channels} and {answered}"
        )
    pooled = network.pooled_channels
    if [name == PRESENCE for name in answered] != [
        place >= len(answered) - pooled for place in range(len(answered))
    ]:
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


def _check_classification(task: TaskSpec) -> None:
    network = task.network
    if not isinstance(network, ClassifierSpec) or task.exam is None:
        raise ValueError(f"task '{task.name}': classification needs a ClassifierSpec and an exam")
    names = task.exam.names
    if len(names) != network.out_channels or set(task.labels) != set(names):
        raise ValueError(
            f"task '{task.name}': the network's out_channels and the labels must be those of the "
            f"classes {', '.join(names)}, found {network.out_channels} and {dict(task.labels)}"
        )
    if len(task.input.channels) != network.in_channels or min(task.input.sides) < 1:
        raise ValueError(
            f"task '{task.name}': the network's in_channels must be the number of input channels, "
            f"and the input have a size, found {network.in_channels}, {task.input.channels} and "
            f"{task.input.size}"
        )


def _check_interactive(task: TaskSpec) -> None:
    _check_segmentation(task)
    guidance = task.encoder_decoder.guidance_channels
    if task.clicks is None or guidance != CLICK_MAPS:
        raise ValueError(
            f"task '{task.name}': interactive segmentation needs a ClickSpec and a network with "
            f"{CLICK_MAPS} guidance_channels, found {task.clicks} and {guidance}"
        )


_CHECKS: dict[str, Callable[[TaskSpec], None]] = {
    "segmentation": _check_segmentation,
    "interactive": _check_interactive,
    "classification": _check_classification,
}


class Rows(list[TaskSpec]):
    """The rows of one field, in the order in which they are listed."""

    def add(self, task: TaskSpec) -> TaskSpec:
        """Add `task` and return it, so that siblings can be made of it."""
        self.append(task)
        return task
