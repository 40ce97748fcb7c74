"""The recipe of a task. Plain data; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lib.errors import InputError
from lib.tasks.spec_fields import LATER

Compile = Literal["auto", "on", "off"]
COMPILE: dict[str, Compile] = {"auto": "auto", "on": "on", "off": "off"}


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """The recipe, with the names MONAI Label and MONAI use; requests may override the values.

    Attributes:
        loss: a name of the `losses` that the kind of task has in `lib.kinds`.
        optimizer: a name of `lib.training.optimizers.OPTIMIZERS`.
        schedule: ``constant``, ``cosine`` (with a linear warm-up over the first 2 %), or
            ``plateau`` (times `plateau_factor` after `plateau_patience` validations without a
            better figure).
        steps: optimiser steps of a full training run.
        batch_size: patches per step, over all processes.
        patch_size: sides of the training patch in pixels; one number for a square or cube.
        val_split: share of the images kept for validation, chosen by a hash of their group or id.
        val_interval: steps between validations; 0 is once in every pass over the cases.
        early_stop_patience: validations without a better metric before stopping; 0 is never.
        gradient_clip: largest norm of the gradient; 0 is off.
        averaging: decay per step of the exponential moving average of the weights, which is what
            is validated and kept; 0 is off.
        foreground_share: share of the patches that are centred on a foreground pixel, where there
            is one; the others lie anywhere.
        epochs: passes over the training cases instead of `steps`; 0 is off.
        label_smoothing: share of the truth that is spread over all classes, 0..1.
        class_weights: ``balanced`` weighs each case by the rarity of its class.
        plateau_factor, plateau_patience: for the schedule ``plateau``.
        start: weights of a run that is given none: ``random``, or ``imagenet`` for the encoder of a
            network that has a known one (`EncoderDecoderSpec.encoder`).
        encoder_rate: learning rate of a known encoder, as a share of `learning_rate`.
        encoder_statistics: means and variances of a known encoder's batch normalisation,
            ``trained`` on, or ``kept`` as they are; random weights have none to keep.
    """

    loss: str = "bce_dice"
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    steps: int = 3500
    batch_size: int = 8
    patch_size: int | tuple[int, ...] = 256
    val_split: float = 0.2
    val_interval: int = 250
    early_stop_patience: int = 0
    gradient_clip: float = 0.0
    averaging: float = 0.0
    foreground_share: float = 0.0
    epochs: int = field(default=0, metadata=LATER)
    label_smoothing: float = field(default=0.0, metadata=LATER)
    class_weights: Literal["none", "balanced"] = field(default="none", metadata=LATER)
    plateau_factor: float = field(default=0.1, metadata=LATER)
    plateau_patience: int = field(default=15, metadata=LATER)
    start: Literal["random", "imagenet"] = field(default="random", metadata=LATER)
    encoder_rate: float = field(default=1.0, metadata=LATER)
    encoder_statistics: Literal["trained", "kept"] = field(default="trained", metadata=LATER)

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
