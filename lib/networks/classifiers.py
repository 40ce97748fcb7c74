"""Classifiers of images: VGG-type and residual networks, and one network per view.

* ``vgg`` (Simonyan and Zisserman 2015, "Very deep convolutional networks", section 2.1): stages of
  stacked 3x3 convolutions, each followed by max-pooling, then fully connected layers. The last
  feature maps are averaged to a fixed grid first, so that the input may have any size.
* ``resnet`` (He et al. 2016, "Deep residual learning", section 3.3 and figure 5): a stem, stages of
  bottleneck blocks (1x1, 3x3, 1x1) that add their input, H(x) = F(x) + x, with a projection where a
  stage begins, then global average pooling and one fully connected layer. The 3x3 convolution has
  the stride. The last normalisation of a block starts at zero, so that the block starts as the
  identity (Goyal et al. 2017, "Accurate, large minibatch SGD", section 5.1).
* ``efficientnet_lite0`` (`lib.networks.efficientnet`): a known network, for weights of ImageNet.
* ``greys`` (`lib.networks.grey_measures`): histogram and texture, and a linear head.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.errors import choose
from lib.networks.efficientnet import COARSE, CoarseMaps, backbones
from lib.networks.encoder_decoder import ACTIVATIONS, LEAKY_SLOPE
from lib.networks.grey_measures import GreyMaps, Measures, Standardised, measures_of
from lib.tasks.network_spec import ClassifierSpec

EXPANSION = 4  # output channels of a bottleneck, in multiples of its inner channels
GRID = 5  # rows and columns that the last feature maps of a VGG are averaged to


def _unit(
    spec: ClassifierSpec, in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> list[nn.Module]:
    """Return a convolution followed by the spec's normalisation."""
    conv = nn.Conv2d(
        in_channels, out_channels, kernel, stride, kernel // 2, bias=spec.norm == "none"
    )
    return [conv] if spec.norm == "none" else [conv, nn.BatchNorm2d(out_channels)]


def _activation(spec: ClassifierSpec) -> nn.Module:
    return choose("activation", spec.activation, ACTIVATIONS)(
        1
    )  # one slope for all channels (PReLU)


class Bottleneck(nn.Module):
    """A residual block: `(N, in_channels, H, W)` to `(N, 4 x width, H / stride, W / stride)`.

    Args:
        width: channels of the inner convolutions.
        project: whether a 1x1 convolution brings the input to the size of the output.
    """

    def __init__(
        self, spec: ClassifierSpec, in_channels: int, width: int, stride: int, project: bool
    ) -> None:
        super().__init__()
        out = EXPANSION * width
        self.residual = nn.Sequential(
            *_unit(spec, in_channels, width, 1),
            _activation(spec),
            *_unit(spec, width, width, 3, stride),
            _activation(spec),
            *_unit(spec, width, out, 1),
        )
        self.projection: nn.Module = nn.Identity()
        if project:
            self.projection = nn.Sequential(*_unit(spec, in_channels, out, 1, stride))
        self.activation = _activation(spec)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x` of shape `(N, in_channels, H, W)`."""
        return self.activation(self.residual(x) + self.projection(x))


class ViewNetwork(nn.Module):
    """One network: input `(N, in_channels, H, W)`, logits `(N, out_channels)`.

    Attributes:
        features: the convolutions; returns feature maps `(N, channels, H / stride, W / stride)`,
            which Grad-CAM uses.
        head: from these feature maps to logits.
    """

    def __init__(self, spec: ClassifierSpec) -> None:
        super().__init__()
        build = choose("architecture", spec.architecture, BUILDERS)
        self.features, self.head = build(spec)
        self.pooling = spec.pooling
        _initialize(self)
        last = self.head[-1]
        if spec.architecture not in ("vgg", "resnet") and isinstance(last, nn.Linear):
            nn.init.zeros_(last.weight)  # so that no random answer disturbs known features

    def forward(self, x: Tensor) -> Tensor:
        """Map images `(N, in_channels, H, W)` to logits `(N, out_channels)`."""
        return self.with_maps(x)[0]

    def with_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits as `forward` does, and the feature maps that they are computed from."""
        maps = self.features(x)
        if self.pooling == "breast":
            inside = (x > 0).any(1, keepdim=True).to(maps.dtype)
            share = functional.adaptive_avg_pool2d(inside, maps.shape[2:])
            # the weights have a mean of 1, so that the head averages over the breast
            maps = maps * (share / share.mean((2, 3), keepdim=True).clamp_min(1e-3))
        return self.head(maps), maps


class MultiViewClassifier(nn.Module):
    """A network for each view of the spec, or one for all.

    Attributes:
        networks: in the order of `spec.views`, or a single one for all views.
        memory_format: layout that images are converted to; None leaves them as they are.
    """

    memory_format: torch.memory_format | None = None

    def __init__(self, spec: ClassifierSpec) -> None:
        super().__init__()
        self.spec = spec
        self.networks = nn.ModuleList(ViewNetwork(spec) for _ in spec.views or ("all",))

    def forward(self, x: Tensor, views: Tensor) -> Tensor:
        """Map images to logits `(N, out_channels)`, each by the network of its view.

        Args:
            x: `(N, in_channels, H, W)`, about 0..1.
            views: `(N)` integers, the index of each image's network in `networks`; see
                `ClassifierSpec.network_of`. They are read on the host: on another device than the
                CPU it is waited for.
        """
        return self.with_maps(x, views)[0]

    def with_maps(self, x: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits as `forward` does, and feature maps `(N, channels, H / stride, ...)`."""
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        numbers: list[int] = views.tolist()
        used = sorted(set(numbers))
        if used and not 0 <= min(used) <= max(used) < len(self.networks):
            raise ValueError(f"views must lie in 0..{len(self.networks) - 1}, found {used}")
        if len(used) == 1:  # as in training, where all images of a batch are of one view
            return self._run(used[0], x)
        rows = {index: _places(numbers, index, x.device) for index in used}
        outputs = {index: self._run(index, x[rows[index]]) for index in used}
        logits = x.new_zeros((len(x), self.spec.out_channels))
        maps = x.new_zeros((len(x), *next(iter(outputs.values()))[1].shape[1:])) if outputs else x
        for index, (some_logits, some_maps) in outputs.items():
            logits = logits.index_put((rows[index],), some_logits.to(logits.dtype))
            maps = maps.index_put((rows[index],), some_maps.to(maps.dtype))
        return logits, maps

    def _run(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.networks[index].with_maps(x)  # type: ignore[operator]

    def set_memory_format(self, memory_format: Callable[[int], torch.memory_format]) -> None:
        """Convert weights and images to the memory format for the widest stage.

        Args:
            memory_format: returns the format for a number of channels.
        """
        self.memory_format = memory_format(max(self.spec.channels, default=1))
        self.networks.to(memory_format=self.memory_format)
        for backbone in backbones(self):
            backbone.set_memory_format(memory_format(backbone.narrowest))


def _places(numbers: list[int], index: int, device: torch.device) -> Tensor:
    """Return where `index` stands among `numbers`."""
    places = [place for place, number in enumerate(numbers) if number == index]
    return torch.tensor(places, device=device)


_FeaturesAndHead = tuple[nn.Module, nn.Sequential]


def _vgg(spec: ClassifierSpec) -> _FeaturesAndHead:
    layers: list[nn.Module] = []
    previous = spec.in_channels
    for width, depth in zip(spec.channels, spec.depths, strict=True):
        for _ in range(depth):
            layers += [*_unit(spec, previous, width, 3), _activation(spec)]
            previous = width
        layers.append(nn.MaxPool2d(2))
    head: list[nn.Module] = [nn.AdaptiveAvgPool2d(GRID), nn.Flatten()]
    inputs = previous * GRID * GRID
    for width in spec.hidden:
        head += [nn.Linear(inputs, width), _activation(spec), nn.Dropout(spec.dropout)]
        inputs = width
    head.append(nn.Linear(inputs, spec.out_channels))
    return nn.Sequential(*layers), nn.Sequential(*head)


def _resnet(spec: ClassifierSpec) -> _FeaturesAndHead:
    stem = spec.channels[0]
    layers: list[nn.Module] = [
        *_unit(spec, spec.in_channels, stem, 7, 2),
        _activation(spec),
        nn.MaxPool2d(3, 2, 1),
    ]
    previous = stem
    for stage, (width, depth) in enumerate(zip(spec.channels, spec.depths, strict=True)):
        for block in range(depth):
            stride = 2 if block == 0 and stage > 0 else 1
            layers.append(Bottleneck(spec, previous, width, stride, project=block == 0))
            previous = EXPANSION * width
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(spec.dropout))
    return nn.Sequential(*layers), nn.Sequential(*head, nn.Linear(previous, spec.out_channels))


def _efficientnet(spec: ClassifierSpec) -> _FeaturesAndHead:
    pooling = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(spec.dropout))
    return CoarseMaps(), nn.Sequential(*pooling, nn.Linear(COARSE, spec.out_channels))


def _greys(spec: ClassifierSpec) -> _FeaturesAndHead:
    measures = measures_of(spec.in_channels)
    head = (Measures(spec.in_channels), Standardised(measures), nn.Dropout(spec.dropout))
    return GreyMaps(), nn.Sequential(*head, nn.Linear(measures, spec.out_channels))


BUILDERS: dict[str, Callable[[ClassifierSpec], _FeaturesAndHead]] = {
    "vgg": _vgg,
    "resnet": _resnet,
    "efficientnet_lite0": _efficientnet,
    "greys": _greys,
}


def _initialize(network: nn.Module) -> None:
    """Initialise by He et al. 2015, eq. 14, for the leaky slope; biases at zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, LEAKY_SLOPE, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Bottleneck) and isinstance(module.residual[-1], nn.BatchNorm2d):
            nn.init.zeros_(module.residual[-1].weight)
