"""One encoder-decoder for the whole U-Net / V-Net family, in 2D and 3D.

Every network of the family is this class with another `EncoderDecoderSpec`:

* topology ``unet`` (Ronneberger et al. 2015, section 2): plain convolution stages, skip
  connections by concatenation;
* topology ``vnet`` (Milletari et al. 2016, section 2): the same, and each stage learns a residual,
  so the stage's input is added to its output (a 1x1 projection where the channels differ).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from monai.networks.layers.factories import Conv, Norm, Pool
from torch import Tensor, nn
from torch.nn import functional

from lib.errors import choose
from lib.networks.efficientnet import EfficientNetLite0
from lib.tasks.network_spec import EncoderDecoderSpec

LEAKY_SLOPE = 0.01

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.ReLU(inplace=True),
    "leaky_relu": lambda channels: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    "prelu": lambda channels: nn.PReLU(channels),
}


class InstanceNorm(nn.GroupNorm):
    """Instance normalisation with learned scale and shift, `(N, channels, *spatial)`.

    To answer on a CPU it is computed as what it also is, group normalisation with a group for each
    channel: a network then takes two thirds of the time, as torch's instance normalisation copies
    channels-last tensors twice. With gradients in bfloat16 that would take twice the time
    (torch 2.15).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every channel of every image by itself."""
        answering = x.device.type == "cpu" and not torch.is_grad_enabled()
        if answering and not torch.jit.is_tracing():  # type: ignore[attr-defined]
            return super().forward(x)
        return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


_NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda spatial_dims, channels: nn.Identity(),
    "batch": lambda spatial_dims, channels: Norm["batch", spatial_dims](channels),
    "instance": lambda spatial_dims, channels: InstanceNorm(channels, channels),
}


def _unit(spec: EncoderDecoderSpec, conv: nn.Module, channels: int) -> nn.Sequential:
    """Return a convolution followed by the spec's normalisation and activation."""
    layers: list[nn.Module] = [conv]
    if spec.norm != "none":
        layers.append(choose("norm", spec.norm, _NORMS)(spec.spatial_dims, channels))
    layers.append(choose("activation", spec.activation, ACTIVATIONS)(channels))
    return nn.Sequential(*layers)


class Stage(nn.Module):
    """The convolutions of one resolution level.

    Maps `(N, in_channels, *spatial)` to `(N, out_channels, *spatial)`; with padding ``same``,
    spatial sizes are kept.
    With topology ``vnet`` the output is ``convolutions(x) + projection(x)``.

    Attributes:
        memory_format: layout that the input is converted to; None leaves the input as it is.
    """

    memory_format: torch.memory_format | None = None

    def __init__(
        self, spec: EncoderDecoderSpec, in_channels: int, out_channels: int, convolutions: int
    ) -> None:
        super().__init__()
        conv = Conv["conv", spec.spatial_dims]
        self.residual = spec.topology == "vnet"
        self.convolutions = nn.Sequential(
            *(
                _unit(
                    spec,
                    conv(
                        in_channels if index == 0 else out_channels,
                        out_channels,
                        spec.kernel_size,
                        padding=spec.kernel_size // 2 if spec.padding == "same" else 0,
                    ),
                    out_channels,
                )
                for index in range(convolutions)
            )
        )
        self.projection: nn.Module = nn.Identity()
        if self.residual and in_channels != out_channels:
            self.projection = conv(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stage to `x` of shape `(N, in_channels, *spatial)`."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        y = self.convolutions(x)
        return y + self.projection(x) if self.residual else y


def centre_crop(x: Tensor, size: torch.Size) -> Tensor:
    """Return the middle of `x`, `(N, channels, *spatial)`, with the spatial `size` (U-Net 2015).

    Torchvision's `center_crop` knows two axes only, and MONAI's answers a `MetaTensor`.
    """
    for axis, side in enumerate(size, start=2):
        x = x.narrow(axis, (x.shape[axis] - side) // 2, side)
    return x


class EncoderDecoder(nn.Module):
    """U-Net, V-Net or hybrid, as the spec says.

    Input `(N, in_channels, H, W)` or `(N, in_channels, D, H, W)`, any real scale (tasks normalise
    to about 0..1), of spatial sizes that `spec.output_size` accepts: with padding ``same``,
    multiples of `spec.divisor`. Output are logits of shape `(N, out_channels, *spatial)`, with
    padding ``valid`` of the input's middle; apply a sigmoid for probabilities.
    """

    def __init__(self, spec: EncoderDecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        channels, depths = spec.channels, spec.convolutions
        conv = Conv["conv", spec.spatial_dims]
        self.encoder = nn.ModuleList()
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()

        self.backbone: EfficientNetLite0 | None = None
        own = channels
        if spec.encoder != "stages":
            self.backbone, own = EfficientNetLite0(), channels[:1]
        previous = spec.in_channels
        for level, width in enumerate(own):
            self.encoder.append(Stage(spec, previous, width, depths[level]))
            previous = width
            if level < len(own) - 1:
                if spec.downsampling == "conv":
                    # the channels double at the down-sampling, as in V-Net 2016, figure 2
                    previous = channels[level + 1]
                    strided = conv(width, previous, kernel_size=2, stride=2)
                    self.down.append(_unit(spec, strided, previous))
                else:
                    self.down.append(Pool["max", spec.spatial_dims](kernel_size=2, stride=2))
        previous = channels[-1]
        for level in reversed(range(len(channels) - 1)):
            deconv = Conv["convtrans", spec.spatial_dims]
            width = channels[level]
            up = deconv(previous, width, kernel_size=2, stride=2)
            self.up.append(_unit(spec, up, width))
            previous = spec.decoder_width * width
            self.decoder.append(Stage(spec, 2 * width, previous, depths[level]))
        self.output = conv(previous, spec.out_channels - spec.pooled_channels, kernel_size=1)
        self.pooled: nn.Module | None = None
        if spec.pooled_channels:
            self.pooled = nn.Linear(2 * channels[-1], spec.pooled_channels)
        self.guide = nn.ModuleList()  # of each level, coarse to fine
        if spec.guidance_channels:
            for width in reversed(channels):
                hint = conv(spec.guidance_channels, width, kernel_size=3, padding=1, bias=False)
                self.guide.append(hint)
        self._initialize()

    def forward(
        self, x: Tensor, guidance: Tensor | None = None, *, with_levels: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Map `x` of shape `(N, in_channels, *spatial)` to logits `(N, out_channels, *spatial)`.

        Args:
            guidance: `(N, guidance_channels, *spatial)` in 0..1; None means all zero.
            with_levels: return the encoder's maps too, see `encode`.

        Raises:
            ValueError: a spatial size does not pass the down-samplings.
        """
        levels = self.encode(x)
        logits = self.decode(levels, guidance)
        return (logits, levels) if with_levels else logits

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the last feature maps of each level of the encoder, fine to coarse.

        They depend on the image only, so they can be kept while its guidance changes.

        Args:
            x: images `(N, in_channels, *spatial)`.

        Raises:
            ValueError: a spatial size does not pass the down-samplings.
        """
        sizes = tuple(x.shape[2:])
        if any(self.spec.output_size(size) is None for size in sizes):
            expected = (
                f"multiples of {self.spec.divisor} ({len(self.up)} down-samplings)"
                if self.spec.padding == "same"
                else f"such as {tuple(self.spec.input_size(size) for size in sizes)}"
            )
            raise ValueError(f"spatial sizes must be {expected}, found {sizes}; pad the input")
        if self.backbone is not None:
            return [self.encoder[0](x), *self.backbone(x)]
        levels: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            levels.append(x)
            if level < len(self.down):
                x = self.down[level](x)
        return levels

    def decode(self, levels: list[Tensor], guidance: Tensor | None = None) -> Tensor:
        """Return the logits of what `encode` returned; see `forward`."""
        hints = self._hints(guidance)
        x = levels[-1] if hints is None else levels[-1] + hints[0]
        pooled: Tensor | None = None
        if self.pooled is not None:
            pooled = self.pooled(torch.cat((x.flatten(2).mean(2), x.flatten(2).amax(2)), dim=1))
        for step, (up, stage) in enumerate(zip(self.up, self.decoder, strict=True), start=1):
            x = up(x)
            if hints is not None:
                x = x + hints[step]
            skipped = levels[-1 - step]
            if self.spec.padding == "valid":  # else they have one size
                skipped = centre_crop(skipped, x.shape[2:])
            x = stage(torch.cat((skipped, x), dim=1))
        logits = self.output(x)
        if pooled is None:
            return logits
        axes = (1,) * self.spec.spatial_dims
        whole = pooled.view(*pooled.shape, *axes).expand(-1, -1, *logits.shape[2:])
        return torch.cat((logits, whole.to(logits.dtype)), dim=1)

    def _hints(self, guidance: Tensor | None) -> list[Tensor] | None:
        """Return what guidance adds at each level, coarse to fine; None adds nothing."""
        if guidance is None or not len(self.guide):
            return None
        pool = Pool["max", self.spec.spatial_dims](kernel_size=2)  # so that no click is lost
        pyramid = [guidance]
        for _ in self.up:
            pyramid.append(pool(pyramid[-1]))
        return [hint(maps) for hint, maps in zip(self.guide, reversed(pyramid), strict=True)]

    def set_memory_format(self, memory_format: Callable[[int], torch.memory_format]) -> None:
        """Convert each level's weights, and its 2D feature maps, to a memory format.

        Args:
            memory_format: returns the format for a number of channels.
        """
        last = len(self.spec.channels) - 1
        if self.backbone is not None:
            self.backbone.set_memory_format(memory_format(self.backbone.narrowest))
        for level, width in enumerate(self.spec.channels):
            chosen = memory_format(width)
            stages: list[nn.Module] = []
            layers: list[nn.Module] = []
            if level < len(self.encoder):
                stages.append(self.encoder[level])
            if 0 < level <= len(self.down):
                layers.append(self.down[level - 1])
            if level < last:  # the decoder's modules run from coarse to fine
                stages.append(self.decoder[last - 1 - level])
                layers.append(self.up[last - 1 - level])
            for stage in stages:
                stage.memory_format = chosen  # type: ignore[assignment]
            for module in (*stages, *layers):
                module.to(memory_format=chosen)

    def _initialize(self) -> None:
        """Initialise by the spec: ``he`` (He 2015, eq. 14) or ``xavier`` (Glorot 2010, eq. 16).

        Both normal; He with the gain of the leaky slope. Biases start at zero.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
                weight = module.weight
                if self.spec.initialization == "xavier":
                    nn.init.xavier_normal_(weight)
                elif self.spec.initialization == "he":
                    # a transposed convolution of stride 2 and kernel 2 has in_channels inputs per
                    # output; kaiming_normal_ would read fan_in off the other axis
                    transposed = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
                    fan_in = weight.shape[0] if transposed else weight[0].numel()
                    slope = LEAKY_SLOPE if self.spec.activation == "leaky_relu" else 0.0
                    nn.init.normal_(weight, std=math.sqrt(2.0 / ((1 + slope**2) * fan_in)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for weight in self.guide.parameters():  # a zero convolution: Zhang 2023, section 3.1
            nn.init.zeros_(weight)
