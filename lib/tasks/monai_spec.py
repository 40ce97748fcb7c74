"""A network of MONAI's that a task came with. Plain data; nothing here imports torch or MONAI."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lib.errors import choose, shown
from lib.tasks.spec_fields import check_choices

# Classes of `monai.networks.nets` that take an image and answer maps of its size
CLASSES = ("AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "UNet", "VNet")
WIDTHS = frozenset(
    "in_channels out_channels channels features filters init_filters num_groups".split()
)
WIDEST = 2048  # feature maps
MOST = 64  # of any other whole number: levels, blocks, sides of kernels, strides
_VALUES, _DEEPEST, _LONGEST = 400, 4, 40  # of the arguments of a network


@dataclass(frozen=True, kw_only=True)
class MonaiSpec:
    """A network of `monai.networks.nets`; `lib.networks.monai_network` makes it.

    Attributes:
        monai: name of its class, one of `CLASSES`.
        arguments: of its class: numbers, texts, lists and mappings of these.
        out_channels: maps that the task answers; see `activation`.
        activation: what makes probabilities of the network's channels. ``sigmoid``: one channel is
            the foreground; of several each is a structure. ``softmax``: the first is background,
            the others are structures.
        divisor: what every spatial size of the input must be a multiple of.
        least_side: shortest side that the network takes, a multiple of `divisor`.
        axes: the order in which the network sees the axes of an image: ``zyx``, or ``xyz`` as MONAI
            reads files.
        greys: what the network takes for the greys 0 and 1.
    """

    monai: str = "UNet"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spatial_dims: Literal[2, 3] = 2
    out_channels: int = 1
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    divisor: int = 16
    least_side: int = 16
    axes: Literal["zyx", "xyz"] = "zyx"
    greys: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Reject what describes no network, or one of no reasonable size."""
        choose("network of MONAI", self.monai, dict.fromkeys(CLASSES))
        check_choices(self)
        check_arguments(self.arguments)
        most = 512 if self.spatial_dims == 2 else 128
        sides = self.divisor, self.least_side
        if not all(1 <= side <= most for side in sides) or self.least_side % self.divisor:
            raise ValueError(
                f"divisor and least_side must lie in 1..{most}, the latter a multiple of the "
                f"former, found {self.divisor} and {self.least_side}"
            )
        if not 1 <= self.out_channels <= MOST or not all(map(math.isfinite, self.greys)):
            raise ValueError(
                f"out_channels must lie in 1..{MOST} and greys be finite, found "
                f"{self.out_channels} and {self.greys}"
            )

    @property
    def in_channels(self) -> int:
        """Channels of the image: one, grey."""
        return 1

    @property
    def padding(self) -> Literal["same", "valid"]:
        """The answer has the size of the input."""
        return "same"

    @property
    def pooled_channels(self) -> int:
        """No map is one value for the whole input."""
        return 0

    @property
    def guidance_channels(self) -> int:
        """The network follows no clicks."""
        return 0

    def output_size(self, input_size: int) -> int | None:
        """Return the side of the answer to an input of that side; None if it does not pass."""
        fits = input_size >= self.least_side and input_size % self.divisor == 0
        return input_size if fits else None

    def input_size(self, at_least: int) -> int:
        """Return the smallest side of an input whose answer has at least that side."""
        return max(self.least_side, -(-at_least // self.divisor) * self.divisor)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that are not plain, or that would make a network without end.

    Raises:
        ValueError: with the path of the first wrong one.
    """
    left: list[tuple[str, str, Any, int]] = [
        (f"arguments.{name}", name, value, 0) for name, value in arguments.items()
    ]
    seen = 0
    while left:
        path, name, value, depth = left.pop()
        seen += 1
        if seen + len(left) > _VALUES or depth > _DEEPEST:
            raise ValueError(f"arguments: more than {_VALUES} values, or {_DEEPEST} in each other")
        if isinstance(value, (list, tuple)):
            left += [(f"{path}[{i}]", name, one, depth + 1) for i, one in enumerate(value)]
        elif isinstance(value, Mapping):
            left += [(f"{path}.{key}", str(key), one, depth + 1) for key, one in value.items()]
        else:
            _check_value(path, name, value)


def _check_value(path: str, name: str, value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        most = WIDEST if name in WIDTHS else MOST
        if abs(value) > most:
            raise ValueError(f"{path}: at most {most} is accepted, found {shown(value)}")
        return
    if isinstance(value, float) and math.isfinite(value):
        return
    plain = isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()
    if not plain or value[:1] in ("$", "@", "%"):  # type: ignore[index]
        raise ValueError(
            f"{path}: expected numbers and texts of up to {_LONGEST} signs, no expressions, found "
            f"{shown(value)}"
        )
