"""The one table of tasks. A new task, or a ninth variant, is one row of it.

Infer task, trainer, command line, model card and tests all read the row. Siblings are made with
`dataclasses.replace` of another row. Nothing here imports torch, so listing the tasks is instant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lib.errors import InputError, choose
from lib.network_specs import EncoderDecoderSpec
from lib.specs import (
    AugmentSpec,
    InputSpec,
    Kind,
    OutputSpec,
    TargetSpec,
    TaskSpec,
    TrainingSpec,
)

__all__ = [
    "TASKS",
    "AugmentSpec",
    "EncoderDecoderSpec",
    "InputSpec",
    "Kind",
    "OutputSpec",
    "TargetSpec",
    "TaskSpec",
    "TrainingSpec",
    "get_task",
    "register",
]

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
            learning_rate=1e-3, schedule="cosine", gradient_clip=1.0, patch_size=256
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

# The default: what did best on validation images of the rows tried, under 12 MB and 0.5 s.
register(
    replace(
        _VHLLRHE,
        name="nuclei",
        description="Nuclei in fluorescence and stained microscopy, touching ones apart: U-Net "
        "with instance normalisation that answers foreground, depth and borders",
        network=EncoderDecoderSpec(
            activation="leaky_relu",
            initialization="he",
            channels=(20, 40, 80, 160, 320),
            norm="instance",
            out_channels=3,
        ),
        target=TargetSpec(maps=("foreground", "distance", "border")),
        augment=AugmentSpec(rotate90=True, rotate=10.0, zoom=(0.7, 1.45), gamma=1.5, noise=0.05),
        output=OutputSpec(
            instances=True, separation="distance", depth=0.2, seed_threshold=0.2, min_area=24
        ),
        training=replace(
            _VHLLRHE.training, learning_rate=2e-3, averaging=0.998, steps=8000, val_interval=500
        ),
        reference="Ronneberger et al. 2015 (network); Naylor et al. 2019 (depth as a target)",
        weights_licence="CC0-1.0",
    )
)

# The two originals. Their papers' training is kept where it makes the network what it is: border
# weights and elastic deformation of U-Net, Dice loss of V-Net.
register(
    replace(
        _VHLLRHE,
        name="nuclei_unet2015",
        description="Nuclei in microscopy: U-Net as published in 2015, unpadded convolutions, 64 "
        "to 1024 maps, border-weighted cross-entropy",
        network=EncoderDecoderSpec(
            initialization="he", channels=(64, 128, 256, 512, 1024), padding="valid"
        ),
        target=TargetSpec(maps=("foreground", "border_weight")),
        augment=replace(_VHLLRHE.augment, rotate=15.0, elastic=10.0),
        training=replace(
            _VHLLRHE.training,
            loss="border_weighted_bce",
            learning_rate=2e-4,
            patch_size=316,  # answers 132 x 132
        ),
        reference="Ronneberger et al. 2015, U-Net",
        weights_licence="",
    )
)
# Structures in ultrasound that are often absent: the second study of the thesis.
_NERVE = register(
    replace(
        _VHLLRHE,
        name="nerve_vhllrhe",
        description="A nerve in ultrasound frames and loops, often absent: V-Net in 2D, 5x5 "
        "kernels, leaky ReLU, He initialisation, cross-entropy + Dice",
        labels={"nerve": 1},
        network=replace(_VHLLRHE.network, norm="batch", out_channels=2, pooled_channels=1),
        input=InputSpec(dark_background=False, longest_side=256),
        target=TargetSpec(maps=("foreground", "presence")),
        augment=AugmentSpec(
            flip_depth=False, rotate=15.0, zoom=(0.75, 1.35), elastic=2.0, gamma=1.6, noise=0.05
        ),
        output=OutputSpec(presence_threshold=0.5, keep="largest"),
        training=replace(
            _VHLLRHE.training,
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=1e-2,
            averaging=0.998,
            patch_size=(192, 256),  # a frame of the challenge, 420 x 580, on the network's grid
        ),
        key_metric="dice_kaggle",
        reference=f"{THESIS.replace('table 1', 'table 4')}; Milletari et al. 2016",
        weights_licence="",
    )
)
register(
    replace(
        _NERVE,
        name="busi_lesion",
        description="A lesion in breast ultrasound, often absent: the nerve recipe, 16 to 256 maps "
        "on half the resolution",
        labels={"lesion": 1},
        network=replace(_NERVE.network, channels=(16, 32, 64, 128, 256)),
        input=replace(_NERVE.input, longest_side=128),
        output=replace(_NERVE.output, keep="all"),  # lesions may be several
        training=replace(_NERVE.training, patch_size=128),
    )
)

# One structure in volumes: the thesis's next step, in a size that trains on two cores in minutes.
_VOLUME = register(
    TaskSpec(
        name="ultrasound3d_vnet",
        description="A structure in 3D ultrasound volumes: V-Net in 3D, 3x3x3 kernels, PReLU, 12 "
        "to 192 maps, cross-entropy + Dice",
        kind="segmentation",
        labels={"structure": 1},
        network=EncoderDecoderSpec(
            spatial_dims=3,
            topology="vnet",
            downsampling="conv",
            activation="prelu",
            initialization="he",
            channels=(12, 24, 48, 96, 192),
            convolutions=(1, 2, 3, 3, 3),
            norm="instance",
        ),
        input=InputSpec(dark_background=False, isotropic=True, max_pixels=512**3),
        augment=AugmentSpec(
            flip_depth=False, rotate=10.0, zoom=(0.8, 1.25), elastic=1.5, gamma=1.5, noise=0.05
        ),
        output=OutputSpec(keep="largest"),
        training=TrainingSpec(
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=1e-2,
            schedule="cosine",
            gradient_clip=1.0,
            averaging=0.99,
            steps=2000,
            val_interval=200,
            batch_size=1,
            patch_size=64,  # most of a volume: in a small part a gland looks like other tissue
            foreground_share=0.5,
        ),
        key_metric="fg_dice",
        reference="Milletari et al. 2016, V-Net",
    )
)
register(
    replace(
        _VOLUME,
        name="ultrasound3d_structures",
        description="A gland and the cysts in it in 3D ultrasound volumes: the recipe for one "
        "structure, with a map for each of several",
        labels={"gland": 1, "cyst": 2},
        network=replace(_VOLUME.network, out_channels=3),
        target=TargetSpec(maps=("foreground", "label_1", "label_2")),
        output=OutputSpec(),
    )
)
register(
    replace(
        _VOLUME,
        name="ultrasound2d_vnet",
        description="A structure in 3D ultrasound volumes, slice by slice: the same recipe in 2D, "
        "to compare with",
        network=replace(_VOLUME.network, spatial_dims=2),
        training=replace(_VOLUME.training, batch_size=16),
    )
)
register(
    replace(
        _VOLUME,
        name="nerve_cine",
        description="A nerve in ultrasound loops, in 2D + time: V-Net whose third axis is time",
        labels={"nerve": 1},
        input=InputSpec(dark_background=False, longest_side=128, max_pixels=512**3),
        training=replace(_VOLUME.training, patch_size=(32, 64, 64)),
    )
)
register(
    TaskSpec(
        name="ultrasound3d_vnet2016",
        description="A structure in 3D ultrasound volumes: V-Net as published in 2016, 5x5x5 "
        "kernels, PReLU, 16 to 256 maps, Dice",
        kind="segmentation",
        labels={"structure": 1},
        network=EncoderDecoderSpec(
            spatial_dims=3,
            topology="vnet",
            kernel_size=5,
            downsampling="conv",
            activation="prelu",
            initialization="xavier",
            channels=(16, 32, 64, 128, 256),
            convolutions=(1, 2, 3, 3, 3),
            decoder_width=2,
        ),
        input=InputSpec(dark_background=False, max_pixels=512**3),
        augment=AugmentSpec(zoom=(0.9, 1.1), elastic=2.0, gamma=1.4),
        training=TrainingSpec(
            loss="dice",
            learning_rate=1e-4,
            schedule="cosine",
            gradient_clip=1.0,
            batch_size=2,
            patch_size=(32, 64, 64),
            foreground_share=0.5,
        ),
        reference="Milletari et al. 2016, V-Net",
    )
)
