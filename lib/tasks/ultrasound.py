"""Structures in ultrasound: frames, loops and volumes."""

from __future__ import annotations

from dataclasses import replace

from lib.tasks.click_spec import CLICK_MAPS, ClickSpec
from lib.tasks.image_kind import ULTRASOUND
from lib.tasks.image_spec import AugmentSpec, InputSpec, OutputSpec, TargetSpec
from lib.tasks.network_spec import LITE_UNET, EncoderDecoderSpec
from lib.tasks.nuclei import THESIS, VHLLRHE
from lib.tasks.spec import Rows, TaskSpec
from lib.tasks.training_spec import TrainingSpec

ROWS = Rows()

# Structures in ultrasound that are often absent: the second study of the thesis.
_NERVE = ROWS.add(
    replace(
        VHLLRHE,
        name="nerve_vhllrhe",
        description="A nerve in ultrasound frames and loops, often absent: V-Net in 2D, 5x5 "
        "kernels, leaky ReLU, He initialisation, cross-entropy + Dice",
        labels={"nerve": 1},
        modalities=ULTRASOUND,
        strict=True,
        dimensions=("2d", "loop"),
        network=replace(VHLLRHE.encoder_decoder, norm="batch", out_channels=2, pooled_channels=1),
        input=InputSpec(dark_background=False, longest_side=256),
        target=TargetSpec(maps=("foreground", "presence")),
        augment=AugmentSpec(
            flip_depth=False, rotate=15.0, zoom=(0.75, 1.35), elastic=2.0, gamma=1.6, noise=0.05
        ),
        output=OutputSpec(presence_threshold=0.5, keep="largest"),
        training=replace(
            VHLLRHE.training,
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
_LESION = ROWS.add(
    replace(
        _NERVE,
        name="busi_lesion",
        description="A lesion in breast ultrasound, often absent: the nerve recipe, 16 to 256 maps "
        "on half the resolution",
        labels={"lesion": 1},
        network=replace(_NERVE.encoder_decoder, channels=(16, 32, 64, 128, 256)),
        input=replace(_NERVE.input, longest_side=128),
        output=replace(_NERVE.output, keep="all"),  # lesions may be several
        training=replace(_NERVE.training, patch_size=128),
    )
)
ROWS.add(
    replace(
        _LESION,
        name="busi_click",
        description="A lesion in breast ultrasound that follows clicks: the network of busi_lesion "
        "whose decoder sees them",
        kind="interactive",
        network=replace(_LESION.encoder_decoder, guidance_channels=CLICK_MAPS),
        key_metric="click_dice",
        clicks=ClickSpec(),
        reference=f"{_LESION.reference}; Sofiiuk et al. 2022 (training with clicks)",
    )
)

# Small networks of one recipe, so that one can start from another's weights.
_HEAD = ROWS.add(
    replace(
        _NERVE,
        name="fetal_head",
        description="The head of a fetus in ultrasound frames, for its circumference: V-Net in 2D, "
        "3x3 kernels, 12 to 192 maps, cross-entropy + Dice",
        labels={"head": 1},
        network=replace(
            _NERVE.encoder_decoder,
            kernel_size=3,
            channels=(12, 24, 48, 96, 192),
            out_channels=1,
            pooled_channels=0,
        ),
        input=replace(_NERVE.input, longest_side=192),
        target=TargetSpec(),
        output=OutputSpec(keep="largest", shape="ellipse"),
        training=replace(
            _NERVE.training, steps=1200, averaging=0.995, patch_size=(144, 192), val_interval=300
        ),
        key_metric="fg_dice",
        reference="van den Heuvel et al. 2018, PLoS ONE (data); Milletari et al. 2016, V-Net",
        weights_licence="CC-BY-4.0",
    )
)
ROWS.add(
    replace(
        _HEAD,
        name="nerve_click",
        description="A nerve in ultrasound frames and loops that follows clicks: the network of "
        "fetal_head whose decoder sees them",
        kind="interactive",
        labels={"nerve": 1},
        network=replace(_HEAD.encoder_decoder, guidance_channels=CLICK_MAPS),
        output=OutputSpec(),  # there may be several
        training=replace(_HEAD.training, patch_size=(160, 192)),
        key_metric="click_dice",
        clicks=ClickSpec(),
        reference="tmkand, usgra-seg (data); Milletari et al. 2016; Sofiiuk et al. 2022 (training "
        "with clicks)",
        weights_licence="CC-BY-4.0",
    )
)
# A few hundred frames are enough from weights of ImageNet.
_LITE_TRAINING = replace(
    _NERVE.training,
    learning_rate=1e-3,
    averaging=0.99,
    steps=700,
    val_interval=100,
    start="imagenet",
)
ROWS.add(
    replace(
        _HEAD,
        name="nerve",
        description="Nerves and vessels in ultrasound frames of regional anaesthesia: U-Net "
        "with an encoder of ImageNet (EfficientNet-lite0), a map for each",
        labels={"nerve": 1, "vessel": 2},
        network=replace(LITE_UNET, out_channels=3),
        input=replace(_HEAD.input, longest_side=256),
        target=TargetSpec(maps=("foreground", "label_1", "label_2")),
        output=OutputSpec(),  # there may be several of each
        training=replace(_LITE_TRAINING, patch_size=(224, 256)),
        reference="tmkand, usgra-seg (data); Ronneberger et al. 2015; Tan and Le 2019",
        weights_licence="CC-BY-4.0",
    )
)
ROWS.add(
    replace(
        _NERVE,
        name="nerve_lite",
        description="A nerve in ultrasound frames and loops, often absent: U-Net with an encoder "
        "of ImageNet (EfficientNet-lite0), cross-entropy + Dice",
        network=replace(LITE_UNET, out_channels=2, pooled_channels=1),
        training=replace(_LITE_TRAINING, steps=1500, patch_size=(192, 256)),
        reference="Ronneberger et al. 2015, U-Net; Tan and Le 2019, EfficientNet",
    )
)
ROWS.add(
    replace(
        _LESION,
        name="busi_lite",
        description="A lesion in breast ultrasound, often absent: U-Net with an encoder of "
        "ImageNet (EfficientNet-lite0), cross-entropy + Dice",
        network=replace(LITE_UNET, out_channels=2, pooled_channels=1),
        training=replace(_LITE_TRAINING, patch_size=128),
        reference="Ronneberger et al. 2015, U-Net; Tan and Le 2019, EfficientNet",
    )
)

# One structure in volumes: the thesis's next step, in a size that trains on two cores in minutes.
VOLUME = ROWS.add(
    TaskSpec(
        name="ultrasound3d_vnet",
        description="A structure in 3D ultrasound volumes: V-Net in 3D, 3x3x3 kernels, PReLU, 12 "
        "to 192 maps, cross-entropy + Dice",
        kind="segmentation",
        labels={"structure": 1},
        modalities=ULTRASOUND,
        dimensions=("3d",),
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
            flip_alike=True, rotate=10.0, zoom=(0.8, 1.25), elastic=1.5, gamma=1.5, noise=0.05
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
CLICKED_VOLUME = ROWS.add(
    replace(
        VOLUME,
        name="ultrasound3d_click",
        description="A structure in 3D ultrasound volumes that follows clicks: the V-Net whose "
        "decoder sees them",
        kind="interactive",
        network=replace(VOLUME.encoder_decoder, guidance_channels=CLICK_MAPS),
        output=OutputSpec(),
        key_metric="click_dice",
        clicks=ClickSpec(),
        reference=f"{VOLUME.reference}; Sofiiuk et al. 2022 (training with clicks)",
    )
)
ROWS.add(
    replace(
        VOLUME,
        name="ultrasound3d_structures",
        description="A gland and the cysts in it in 3D ultrasound volumes: the recipe for one "
        "structure, with a map for each of several",
        labels={"gland": 1, "cyst": 2},
        network=replace(VOLUME.network, out_channels=3),
        target=TargetSpec(maps=("foreground", "label_1", "label_2")),
        output=OutputSpec(),
    )
)
ROWS.add(
    replace(
        VOLUME,
        name="ultrasound2d_vnet",
        description="A structure in 3D ultrasound volumes, slice by slice: the same recipe in 2D, "
        "to compare with",
        dimensions=("3d", "loop", "2d"),
        network=replace(VOLUME.network, spatial_dims=2),
        training=replace(VOLUME.training, batch_size=16),
    )
)
ROWS.add(
    replace(
        VOLUME,
        name="nerve_cine",
        description="A nerve in ultrasound loops, in 2D + time: V-Net whose third axis is time",
        labels={"nerve": 1},
        dimensions=("loop",),
        input=InputSpec(dark_background=False, longest_side=128, max_pixels=512**3),
        training=replace(VOLUME.training, patch_size=(32, 64, 64)),
    )
)
ROWS.add(
    TaskSpec(
        name="ultrasound3d_vnet2016",
        description="A structure in 3D ultrasound volumes: V-Net as published in 2016, 5x5x5 "
        "kernels, PReLU, 16 to 256 maps, Dice",
        kind="segmentation",
        labels={"structure": 1},
        modalities=ULTRASOUND,
        dimensions=("3d",),
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
        augment=AugmentSpec(flip_alike=True, zoom=(0.9, 1.1), elastic=2.0, gamma=1.4),
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
