"""What a row of `lib.tasks` is made of. Plain data; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from lib.errors import InputError
from lib.network_specs import EncoderDecoderSpec

Kind = Literal["segmentation"]
STRUCTURE = "label_"
PRESENCE = "presence"


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
    """

    percentiles: tuple[float, float] = (0.5, 99.8)
    dark_background: bool = True
    longest_side: int = 0
    isotropic: bool = False
    min_side: int = 8
    max_pixels: int = 8192 * 8192


@dataclass(frozen=True)
class TargetSpec:
    """How an accepted label image becomes the training target.

    Attributes:
        maps: what the network learns to answer, in order, then what only weighs the loss; names
            of `lib.targets.MAPS`, and ``label_2`` for what has that value, where a task has
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
class TrainingSpec:
    """The recipe, with the names MONAI Label and MONAI use; requests may override the values.

    Attributes:
        loss: a name of `lib.losses.LOSSES`.
        optimizer: a name of `lib.optimization.OPTIMIZERS`.
        schedule: ``constant`` or ``cosine`` (with a linear warm-up over the first 2 %).
        steps: optimiser steps of a full training run.
        batch_size: patches per step, over all processes.
        patch_size: sides of the training patch in pixels; one number for a square or cube.
        val_split: share of the images kept for validation, chosen by a hash of their group or id.
        val_interval: steps between validations.
        early_stop_patience: validations without a better metric before stopping; 0 is never.
        gradient_clip: largest norm of the gradient; 0 is off.
        averaging: decay per step of the exponential moving average of the weights, which is what
            is validated and kept; 0 is off.
        foreground_share: share of the patches that are centred on a foreground pixel, where there
            is one; the others lie anywhere.
    """

    loss: str = "bce_dice"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    steps: int = 3500
    batch_size: int = 8
    patch_size: int | tuple[int, ...] = 256
    val_split: float = 0.2
    val_interval: int = 250
    early_stop_patience: int = 0
    gradient_clip: float = 0.0
    averaging: float = 0.0
    foreground_share: float = 0.0

    def patch_sides(self, spatial_dims: int) -> tuple[int, ...]:
        """Return the sides of the training patch along each axis."""
        if isinstance(self.patch_size, int):
            return (self.patch_size,) * spatial_dims
        return self.patch_size


def read_patch_size(value: object) -> int | tuple[int, ...]:
    """Read a side in pixels, or one for each axis as in 32x64x64.

    Raises:
        InputError: no whole numbers, or one below 1.
    """
    try:
        sides = tuple(int(side) for side in str(value).lower().split("x"))
    except ValueError:
        sides = (0,)
    if min(sides) < 1:
        raise InputError(f"expected sides of at least 1, as 256 or 32x64x64, found '{value}'")
    return sides[0] if len(sides) == 1 else sides


def show_patch_size(patch_size: int | tuple[int, ...]) -> int | str:
    """Return what `read_patch_size` reads."""
    return patch_size if isinstance(patch_size, int) else "x".join(map(str, patch_size))


@dataclass(frozen=True)
class TaskSpec:
    """One row: what the task is, its network, and how it is trained and served.

    Attributes:
        labels: name of each structure and its value in label images.
        key_metric: the figure of `lib.metrics` that picks the best epoch and gates publishing.
        reference: where the network or recipe comes from.
        weights_licence: licence under which shipped weights may be used; empty where none ship.
    """

    name: str
    description: str
    kind: Kind
    labels: Mapping[str, int]
    network: EncoderDecoderSpec
    input: InputSpec = field(default_factory=InputSpec)
    target: TargetSpec = field(default_factory=TargetSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    output: OutputSpec = field(default_factory=OutputSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    key_metric: str = "mean_iou"
    reference: str = ""
    weights_licence: str = ""

    def __post_init__(self) -> None:
        """Reject rows whose parts do not fit each other."""
        answered = self.target.answered
        if self.target.maps[:1] != ("foreground",) or len(answered) != self.network.out_channels:
            raise ValueError(
                f"task '{self.name}': the network's out_channels must be the number of answered "
                f"target maps, foreground first, found {self.network.out_channels} and {answered}"
            )
        pooled = self.network.pooled_channels
        if [name == PRESENCE for name in answered] != [
            place >= len(answered) - pooled for place in range(len(answered))
        ]:
            raise ValueError(
                f"task '{self.name}': the network's pooled_channels must answer the target map "
                f"{PRESENCE}, the last, found {pooled} and {answered}"
            )
        values = set(self.target.structures.values())
        if values and values != set(self.labels.values()):
            raise ValueError(
                f"task '{self.name}': the target needs a map for every label, or none, found "
                f"{sorted(values)} for {dict(self.labels)}"
            )
        if self.output.separation == "distance" and "distance" not in answered:
            raise ValueError(f"task '{self.name}': separation by distance needs that target map")

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
        return {name: part for name, part in self.as_dict().items() if name not in untrained}
