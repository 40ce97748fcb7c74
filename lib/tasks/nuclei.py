"""Nuclei in microscopy: the thesis's variants, the default, and U-Net as published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lib.tasks.click_spec import CLICK_MAPS, ClickSpec
from lib.tasks.image_kind import PICTURES
from lib.tasks.image_spec import COLOURS, AugmentSpec, OutputSpec, TargetSpec
from lib.tasks.network_spec import LITE_UNET, EncoderDecoderSpec
from lib.tasks.spec import Rows, TaskSpec
from lib.tasks.training_spec import TrainingSpec

ROWS = Rows()
THESIS = "U-Net and V-Net variants for nuclei and ultrasound nerve segmentation, table 1"

VHLLRHE = ROWS.add(
    TaskSpec(
        name="nuclei_vhllrhe",
        description="Nuclei in fluorescence and stained microscopy: V-Net in 2D, 5x5 kernels, "
        "leaky ReLU, He initialisation, cross-entropy + Dice",
        kind="segmentation",
        labels={"nuclei": 1},
        modalities=PICTURES,
        strict=False,
        dimensions=("2d", "3d", "loop"),  # stacks picture by picture
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
    """Add a sibling of `nuclei_vhllrhe` that differs in the given knobs only."""
    return ROWS.add(
        replace(
            VHLLRHE,
            name=f"nuclei_{code.lower()}",
            description=f"Nuclei in microscopy: {description}",
            network=replace(VHLLRHE.network, **network),
            training=replace(VHLLRHE.training, loss=loss),
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
_DEFAULT = ROWS.add(
    replace(
        VHLLRHE,
        name="nuclei",
        description="Nuclei in fluorescence and stained microscopy, touching ones apart: U-Net "
        "with instance normalisation that sees colours and answers foreground, depth and borders",
        network=EncoderDecoderSpec(
            activation="leaky_relu",
            initialization="he",
            in_channels=len(COLOURS),
            channels=(20, 40, 80, 160, 320),
            norm="instance",
            out_channels=3,
        ),
        input=replace(VHLLRHE.input, channels=COLOURS, object_sizes=(10.0, 60.0)),
        target=TargetSpec(maps=("foreground", "distance", "border")),
        augment=AugmentSpec(
            rotate90=True, rotate=10.0, zoom=(0.7, 1.45), gamma=1.5, noise=0.05, stain=1.3
        ),
        output=OutputSpec(
            instances=True, separation="distance", depth=0.15, seed_threshold=0.1, min_area=24
        ),
        training=replace(
            VHLLRHE.training, learning_rate=2e-3, averaging=0.998, steps=8000, val_interval=500
        ),
        reference="Ronneberger et al. 2015 (network); Naylor et al. 2019 (depth as a target)",
        weights_licence="CC-BY-4.0",
    )
)

# The same on a known encoder: faster, and better on sections with H&E than on fluorescence.
ROWS.add(
    replace(
        _DEFAULT,
        name="nuclei_lite",
        description="Nuclei in stained and fluorescence microscopy, touching ones apart: U-Net "
        "with an encoder of ImageNet (EfficientNet-lite0) that sees colours and answers "
        "foreground, depth and borders",
        network=replace(LITE_UNET, in_channels=len(COLOURS), out_channels=3),
        training=replace(
            _DEFAULT.training,
            learning_rate=1.5e-3,
            steps=2400,
            val_interval=400,
            start="imagenet",
        ),
        reference="Ronneberger et al. 2015; Tan and Le 2019, EfficientNet (network); Naylor et al. "
        "2019 (depth as a target)",
        weights_licence="",
    )
)

# The default that follows clicks, in grey: one on a missed nucleus, or on each of two run together.
ROWS.add(
    replace(
        _DEFAULT,
        name="nuclei_click",
        description="Nuclei in microscopy that follow clicks: the network of `nuclei`, in grey, "
        "whose decoder sees them",
        kind="interactive",
        network=replace(_DEFAULT.encoder_decoder, in_channels=1, guidance_channels=CLICK_MAPS),
        input=VHLLRHE.input,
        augment=replace(_DEFAULT.augment, stain=1.0),
        output=replace(_DEFAULT.output, depth=0.2, seed_threshold=0.2),
        training=replace(
            _DEFAULT.training, learning_rate=1e-3, steps=1400, batch_size=4, patch_size=192
        ),
        key_metric="click_dice",
        clicks=ClickSpec(
            footprint=3.0,  # more than min_area
            automatic=0.35,
            corrections=4,
            objects=6,
        ),
        reference="Ronneberger et al. 2015 (network); Sofiiuk et al. 2022 (training with clicks)",
        weights_licence="CC0-1.0",
    )
)

# The two originals. Their papers' training is kept where it makes the network what it is: border
# weights and elastic deformation of U-Net, Dice loss of V-Net.
ROWS.add(
    replace(
        VHLLRHE,
        name="nuclei_unet2015",
        description="Nuclei in microscopy: U-Net as published in 2015, unpadded convolutions, 64 "
        "to 1024 maps, border-weighted cross-entropy",
        network=EncoderDecoderSpec(
            initialization="he", channels=(64, 128, 256, 512, 1024), padding="valid"
        ),
        target=TargetSpec(maps=("foreground", "border_weight")),
        augment=replace(VHLLRHE.augment, rotate=15.0, elastic=10.0),
        training=replace(
            VHLLRHE.training,
            loss="border_weighted_bce",
            learning_rate=2e-4,
            patch_size=316,  # answers 132 x 132
        ),
        reference="Ronneberger et al. 2015, U-Net",
        weights_licence="",
    )
)
