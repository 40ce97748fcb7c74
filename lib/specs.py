"""What a row of `lib.tasks` is made of. Plain data; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from lib.errors import InputError, choose

Kind = Literal["segmentation"]


@dataclass(frozen=True)
class EncoderDecoderSpec:
    """The knobs of the U-Net / V-Net family (`lib.networks.encoder_decoder`).

    Attributes:
        topology: ``unet`` (plain stages) or ``vnet`` (each stage adds its input to its output).
        kernel_size: side of the convolution kernels, odd.
        downsampling: ``max_pool`` (2x2) or ``conv`` (2x2 convolution of stride 2).
        initialization: ``xavier`` (Glorot normal) or ``he`` (Kaiming normal).
        channels: feature maps of each level, fine to coarse; their number is the depth.
        convolutions: convolutions of each level's stage, as many as `channels`.
        norm: ``none``, ``batch`` or ``instance``, after every convolution.
        padding: ``same`` keeps sizes; ``valid`` convolves without padding, so that the answer is
            smaller than the input (U-Net 2015: 572 to 388).
        decoder_width: feature maps of a decoder stage, in multiples of its level's `channels`;
            2 in V-Net 2016, whose stages keep the maps of the concatenation.
    """

    spatial_dims: Literal[2, 3] = 2
    in_channels: int = 1
    out_channels: int = 1
    topology: Literal["unet", "vnet"] = "unet"
    kernel_size: int = 3
    downsampling: Literal["max_pool", "conv"] = "max_pool"
    activation: Literal["relu", "leaky_relu", "prelu"] = "relu"
    initialization: Literal["xavier", "he"] = "xavier"
    channels: tuple[int, ...] = (8, 16, 32, 64, 128)
    convolutions: tuple[int, ...] = (2, 2, 2, 2, 2)
    norm: Literal["none", "batch", "instance"] = "none"
    padding: Literal["same", "valid"] = "same"
    decoder_width: int = 1

    def __post_init__(self) -> None:
        """Reject specs that describe no network."""
        if len(self.channels) != len(self.convolutions) or not self.channels:
            raise ValueError(
                f"channels and convolutions must have one entry per level, found "
                f"{len(self.channels)} and {len(self.convolutions)}"
            )
        positive = (*self.channels, *self.convolutions, self.decoder_width)
        if self.kernel_size % 2 == 0 or min(positive) < 1:
            raise ValueError(
                f"kernel_size must be odd and channels, convolutions and decoder_width positive, "
                f"found {self.kernel_size}, {self.channels}, {self.convolutions}, "
                f"{self.decoder_width}"
            )
        if self.padding == "valid" and self.topology == "vnet":
            raise ValueError("a vnet stage adds its input to its output, so padding must be same")
        for name, allowed in (
            ("topology", ("unet", "vnet")),
            ("downsampling", ("max_pool", "conv")),
            ("activation", ("relu", "leaky_relu", "prelu")),
            ("initialization", ("xavier", "he")),
            ("norm", ("none", "batch", "instance")),
            ("padding", ("same", "valid")),
        ):
            choose(name, asdict(self)[name], dict.fromkeys(allowed))

    @property
    def divisor(self) -> int:
        """What every spatial size of the input must be a multiple of."""
        return 2 ** (len(self.channels) - 1)

    def output_size(self, input_size: int) -> int | None:
        """Return the side of the answer to an input of that side; None if it does not pass."""
        size, last = input_size, len(self.channels) - 1
        lost = [
            count * (self.kernel_size - 1) if self.padding == "valid" else 0
            for count in self.convolutions
        ]
        for level in range(last):
            size -= lost[level]
            if size <= 0 or size % 2:
                return None
            size //= 2
        size -= lost[last]
        if self.norm == "instance" and size < 2:  # one pixel has no spread to normalise by
            return None
        for level in reversed(range(last)):
            size = 2 * size - lost[level]
        return size if size > 0 else None

    def input_size(self, at_least: int) -> int:
        """Return the smallest side of an input whose answer has at least that side."""
        size = at_least
        while (self.output_size(size) or 0) < at_least:
            size += 1
        return size


@dataclass(frozen=True)
class InputSpec:
    """How an image file becomes the network's input; the same for training and serving.

    Colour images become luminance (Rec. 601).

    Attributes:
        percentiles: the intensities at these percentiles become 0 and 1.
        dark_background: invert images whose median lies in the upper half of their range, so that
            stained sections (bright background) look like fluorescence.
        min_side: shortest side accepted, in pixels.
        max_pixels: most pixels accepted (8192 x 8192 by default).
    """

    percentiles: tuple[float, float] = (0.5, 99.8)
    dark_background: bool = True
    min_side: int = 8
    max_pixels: int = 8192 * 8192


@dataclass(frozen=True)
class TargetSpec:
    """How an accepted label image becomes the training target.

    Attributes:
        maps: what the network learns to answer, in order, then what only weighs the loss; names
            of `lib.targets.MAPS`. The first is always ``foreground``.
        gap: pixels cleared between touching instances, so that they come apart (the thesis's
            eroded borders); 0 keeps the labels as drawn. Instances narrower than the gap stay.
    """

    maps: tuple[str, ...] = ("foreground",)
    gap: int = 0

    @property
    def answered(self) -> tuple[str, ...]:
        """The maps that the network answers with; the others weigh the loss."""
        return tuple(name for name in self.maps if not name.endswith("_weight"))


@dataclass(frozen=True)
class AugmentSpec:
    """Random changes of a training patch, each with its own probability or range.

    Attributes:
        flips: mirror each axis with probability 0.5.
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
        if self.output.separation == "distance" and "distance" not in answered:
            raise ValueError(f"task '{self.name}': separation by distance needs that target map")

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, as it is stored in checkpoints and reports."""
        return asdict(replace(self, labels=dict(self.labels)))

    def as_trained(self) -> dict[str, Any]:
        """Return what of the row decides the weights: all but the texts and the output options."""
        untrained = ("description", "reference", "weights_licence", "output")
        return {name: part for name, part in self.as_dict().items() if name not in untrained}
