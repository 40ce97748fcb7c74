"""The one table of tasks. A new task, or a ninth variant, is one row of it.

Infer task, trainer, command line, model card and tests all read the row. Siblings are made with
`dataclasses.replace` of another row. Nothing here imports torch, so listing the tasks is instant.
"""

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

    def __post_init__(self) -> None:
        """Reject specs that describe no network."""
        if len(self.channels) != len(self.convolutions) or not self.channels:
            raise ValueError(
                f"channels and convolutions must have one entry per level, found "
                f"{len(self.channels)} and {len(self.convolutions)}"
            )
        if self.kernel_size % 2 == 0 or min(*self.channels, *self.convolutions) < 1:
            raise ValueError(
                f"kernel_size must be odd and channels and convolutions positive, found "
                f"{self.kernel_size}, {self.channels}, {self.convolutions}"
            )
        for name, allowed in (
            ("topology", ("unet", "vnet")),
            ("downsampling", ("max_pool", "conv")),
            ("activation", ("relu", "leaky_relu", "prelu")),
            ("initialization", ("xavier", "he")),
            ("norm", ("none", "batch", "instance")),
        ):
            choose(name, asdict(self)[name], dict.fromkeys(allowed))

    @property
    def divisor(self) -> int:
        """What every spatial size of the input must be a multiple of."""
        return 2 ** (len(self.channels) - 1)


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
        gap: pixels cleared between touching instances, so that they come apart (the thesis's
            eroded borders); 0 keeps the labels as drawn. Instances narrower than the gap stay.
    """

    gap: int = 0


@dataclass(frozen=True)
class AugmentSpec:
    """Random changes of a training patch, each with its own probability or range.

    Attributes:
        flips: mirror each axis with probability 0.5.
        rotate90: turn by a random multiple of 90 degrees.
        zoom: smallest and largest magnification, drawn log-uniformly; (1, 1) is off.
        gamma: largest exponent (and, inverted, smallest) applied to intensities; 1 is off.
        noise: largest standard deviation of added Gaussian noise, in units of the 0..1 range.
    """

    flips: bool = True
    rotate90: bool = False
    zoom: tuple[float, float] = (1.0, 1.0)
    gamma: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class OutputSpec:
    """How probabilities become a mask and an instance map.

    Attributes:
        threshold: probability from which a pixel is foreground.
        instances: separate touching objects by watershed and number them.
        smoothing: standard deviation in pixels of the Gaussian that smooths the distance
            transform before its maxima become watershed seeds.
        depth: height in pixels a maximum must rise above the saddle to its neighbour to be a
            seed of its own.
        min_area: objects with fewer pixels are dropped from mask and instances.
    """

    threshold: float = 0.5
    instances: bool = False
    smoothing: float = 1.0
    depth: float = 0.75
    min_area: int = 0


@dataclass(frozen=True)
class TrainingSpec:
    """The recipe, with the names MONAI Label and MONAI use; requests may override the values.

    Attributes:
        loss: a name of `lib.losses.LOSSES`.
        optimizer: a name of `lib.training.OPTIMIZERS`.
        schedule: ``constant`` or ``cosine`` (with a linear warm-up over the first 2 %).
        steps: optimiser steps of a full training run.
        batch_size: patches per step, over all processes.
        patch_size: side of the square training patch in pixels.
        val_split: share of the images kept for validation, chosen by a hash of their id.
        val_interval: steps between validations.
        early_stop_patience: validations without a better metric before stopping; 0 is never.
        gradient_clip: largest norm of the gradient; 0 is off.
    """

    loss: str = "bce_dice"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    steps: int = 3500
    batch_size: int = 8
    patch_size: int = 256
    val_split: float = 0.2
    val_interval: int = 250
    early_stop_patience: int = 0
    gradient_clip: float = 0.0


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

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain data, as it is stored in checkpoints and reports."""
        return asdict(replace(self, labels=dict(self.labels)))


TASKS: dict[str, TaskSpec] = {}


def register(task: TaskSpec) -> TaskSpec:
    """Add `task` to the table and return it.

    Raises:
        InputError: the name is taken.
    """
    if task.name in TASKS:
        raise InputError(f"task '{task.name}' is already registered; give the new row its own name")
    TASKS[task.name] = task
    return task


def get_task(name: str) -> TaskSpec:
    """Return the row called `name`.

    Raises:
        NotFoundError: no such row; the message names the nearest one.
    """
    return choose("task", name, TASKS)


THESIS = "U-Net and V-Net variants for nuclei and ultrasound nerve segmentation, table 1"

_VHLLRHE = register(
    TaskSpec(
        name="nuclei_vhllrhe",
        description="Nuclei in fluorescence and stained microscopy: V-Net in 2D, 5x5 kernels, "
        "leaky ReLU, He initialisation, cross-entropy + Dice",
        kind="segmentation",
        labels={"nuclei": 1},
        network=EncoderDecoderSpec(
            topology="vnet",
            kernel_size=5,
            downsampling="conv",
            activation="leaky_relu",
            initialization="he",
            convolutions=(1, 2, 3, 3, 3),
        ),
        augment=AugmentSpec(rotate90=True, zoom=(0.8, 1.25), gamma=1.4, noise=0.04),
        output=OutputSpec(instances=True, min_area=12),
        training=TrainingSpec(
            learning_rate=1e-3, schedule="cosine", gradient_clip=1.0, patch_size=128
        ),
        reference=f"{THESIS} (VHLLRHe); Milletari et al. 2016",
        weights_licence="CC0-1.0",
    )
)


def _thesis(code: str, description: str, loss: str, **network: Any) -> TaskSpec:
    """Register a sibling of `nuclei_vhllrhe` that differs in the given knobs only."""
    return register(
        replace(
            _VHLLRHE,
            name=f"nuclei_{code.lower()}",
            description=f"Nuclei in microscopy: {description}",
            network=replace(_VHLLRHE.network, **network),
            training=replace(_VHLLRHE.training, loss=loss),
            reference=f"{THESIS} ({code})",
            weights_licence="",
        )
    )


_UNET: dict[str, Any] = {"topology": "unet", "convolutions": (2, 2, 2, 2, 2)}
_RELU: dict[str, Any] = {"activation": "relu", "initialization": "xavier"}

_thesis(
    "U3CLR",
    "U-Net, 3x3 kernels, ReLU, Xavier, cross-entropy",
    "bce",
    **_UNET,
    **_RELU,
    kernel_size=3,
    downsampling="max_pool",
)
_thesis(
    "U5HLLR",
    "U-Net, 5x5 kernels, leaky ReLU, He, cross-entropy + Dice",
    "bce_dice",
    **_UNET,
    downsampling="max_pool",
)
_thesis(
    "HUV",
    "U-Net with strided-convolution down-sampling, 5x5 kernels, ReLU, Xavier, cross-entropy",
    "bce",
    **_UNET,
    **_RELU,
)
_thesis("VCR", "V-Net in 2D, ReLU, Xavier, cross-entropy", "bce", **_RELU)
_thesis(
    "VHLR",
    "V-Net in 2D, leaky ReLU, Xavier, cross-entropy + Dice",
    "bce_dice",
    initialization="xavier",
)
_thesis("VCLR", "V-Net in 2D, leaky ReLU, Xavier, cross-entropy", "bce", initialization="xavier")
_thesis("VDLRHe", "V-Net in 2D, leaky ReLU, He, Dice only", "dice")
