"""What a network of `lib.networks` is made of. Plain data; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lib.tasks.spec_fields import LATER, check_choices

# Encoders that are not made of stages: the maps of their levels below the finest
ENCODERS: dict[str, tuple[int, ...]] = {"efficientnet_lite0": (16, 24, 40, 112, 320)}
BLOCKS: dict[str, tuple[int, ...]] = {"efficientnet_lite0": (1, 2, 2, 6, 5)}  # of each level


@dataclass(frozen=True, kw_only=True)
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
        pooled_channels: how many of `out_channels`, the last, are one value for the whole input:
            read off the average and the largest of the coarsest maps, and repeated at each pixel.
        guidance_channels: maps beside the image that the decoder sees at each of its levels, such
            as those of clicks; what the encoder made of the image serves any guidance.
        encoder: ``stages`` of convolutions as above, or a known network from half the resolution on
            (`lib.networks.efficientnet`), to which one stage of full resolution is added; the
            others of `convolutions` are then those of the decoder, and `channels` after the first
            are given.
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
    pooled_channels: int = 0
    guidance_channels: int = field(default=0, metadata=LATER)
    encoder: Literal["stages", "efficientnet_lite0"] = field(default="stages", metadata=LATER)

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
        if not 0 <= self.pooled_channels < self.out_channels:
            raise ValueError(
                f"pooled_channels must be fewer than out_channels, found {self.pooled_channels} "
                f"of {self.out_channels}"
            )
        if self.padding == "valid" and self.topology == "vnet":
            raise ValueError("a vnet stage adds its input to its output, so padding must be same")
        if self.guidance_channels < 0 or (self.padding == "valid" and self.guidance_channels):
            raise ValueError(
                f"guidance_channels must be 0 or more, and 0 where padding is valid, found "
                f"{self.guidance_channels} with padding {self.padding}"
            )
        check_choices(self)
        if self.encoder != "stages":
            given = ENCODERS[self.encoder]
            found = (self.channels[1:], self.spatial_dims, self.padding)
            if found != (given, 2, "same") or self.in_channels not in (1, 3):
                raise ValueError(
                    f"the encoder {self.encoder} has channels (any, {str(given)[1:-1]}), two "
                    f"dimensions, one or three input channels and padding same, found "
                    f"{self.channels}, {self.spatial_dims}, {self.in_channels} and {self.padding}"
                )

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


# U-Net on a known encoder, with one stage of its own at full resolution
LITE_UNET = EncoderDecoderSpec(
    encoder="efficientnet_lite0",
    channels=(16, *ENCODERS["efficientnet_lite0"]),
    convolutions=(1, 2, 2, 2, 2, 2),
    activation="leaky_relu",
    initialization="he",
    norm="batch",
)


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """The knobs of the classifiers (`lib.networks.classifiers`).

    Attributes:
        architecture: ``vgg`` (stacked 3x3 convolutions, max-pooling, fully connected layers),
            ``resnet`` (bottleneck blocks that add their input), a known network of `ENCODERS`,
            whose channels and blocks are given, or ``greys`` (histogram and texture of the breast,
            `lib.networks.grey_measures`), which has none of both.
        out_channels: classes.
        channels: feature maps of each stage, fine to coarse; of a bottleneck its inner ones, a
            quarter of what it answers with. The default is a quarter of ResNet-50's, so that four
            networks train on two cores; the slides print no widths of theirs.
        depths: convolutions (vgg) or blocks (resnet) of each stage, as many as `channels`.
        hidden: widths of the fully connected layers before the last (vgg).
        norm: ``none`` or ``batch``, after every convolution.
        dropout: probability of dropping a feature before a fully connected layer.
        pooling: what the last maps of a residual network are averaged over: the ``image``, or the
            ``breast``, where the input is above 0 (its size then does not weaken what is in it).
        views: what each has a network of its own: names of views such as ``R-CC``, or projections
            such as ``MLO`` of either breast (they are mirrored to one side); none is one network
            for all.
    """

    architecture: Literal["vgg", "resnet", "efficientnet_lite0", "greys"] = "resnet"
    spatial_dims: Literal[2] = 2
    in_channels: int = 1
    out_channels: int = 2
    channels: tuple[int, ...] = (16, 32, 64, 128)
    depths: tuple[int, ...] = (3, 3, 3, 3)
    hidden: tuple[int, ...] = ()
    activation: Literal["relu", "leaky_relu", "prelu"] = "leaky_relu"
    norm: Literal["none", "batch"] = "batch"
    dropout: float = 0.0
    views: tuple[str, ...] = ()
    pooling: Literal["image", "breast"] = "image"

    def __post_init__(self) -> None:
        """Reject specs that describe no network."""
        stages = self.architecture != "greys"
        if len(self.channels) != len(self.depths) or bool(self.channels) != stages:
            raise ValueError(
                f"channels and depths must have one entry per stage, found {len(self.channels)} "
                f"and {len(self.depths)}; greys have no stages"
            )
        sizes = (*self.channels, *self.depths, *self.hidden, self.in_channels, self.out_channels)
        if min(sizes) < 1 or not 0 <= self.dropout < 1 or len(set(self.views)) < len(self.views):
            raise ValueError(
                f"channels, depths, hidden, in_channels and out_channels must be positive, dropout "
                f"in 0..1 and views different, found {self.channels}, {self.depths}, "
                f"{self.hidden}, {self.in_channels}, {self.out_channels}, {self.dropout} and "
                f"{self.views}"
            )
        check_choices(self)
        given = (ENCODERS.get(self.architecture), BLOCKS.get(self.architecture), 1)
        if self.architecture in ENCODERS and given != (
            self.channels,
            self.depths,
            self.in_channels,
        ):
            raise ValueError(
                f"{self.architecture} has the channels {given[0]}, depths {given[1]} and one input "
                f"channel, found {self.channels}, {self.depths} and {self.in_channels}"
            )
        if self.pooling == "breast" and self.architecture == "vgg":
            raise ValueError("pooling over the breast needs the architecture resnet, found vgg")
        if self.pooling == "image" and not stages:
            raise ValueError("the greys are those of the breast, so pooling must be breast")

    @property
    def convolutions(self) -> int:
        """Convolutions of one network: 41 of a residual one with 12 blocks in 4 stages."""
        blocks = sum(self.depths)
        if self.architecture in ENCODERS:
            return 3 * blocks  # with the stem: the first block has two
        if self.architecture == "greys":
            return 0
        return blocks if self.architecture == "vgg" else 1 + 3 * blocks + len(self.depths)

    def network_of(self, view: str) -> int | None:
        """Return the index of the network for a view such as ``R-CC``; None where there is none."""
        if not self.views:
            return 0
        for name in (view, view.partition("-")[2]):
            if name in self.views:
                return self.views.index(name)
        return None
