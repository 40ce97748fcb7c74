"""From a bundle's transforms to the fields of an `InputSpec` and an `OutputSpec`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.errors import InputError, shown
from lib.exchange.foreign.plain import Config, target_of

_ANSWERS = frozenset(("Activations", "AsDiscrete", "KeepLargestConnectedComponent"))
# What changes nothing here: the app reads, orders and pads images by itself
_NEUTRAL = frozenset(
    "LoadImage EnsureChannelFirst AddChannel EnsureType CastToType ToTensor ToDevice Identity "
    "DivisiblePad SelectItems Invert SaveImage".split()
)


@dataclass
class Asked:
    """What a user asked for in the place of a bundle's own preparation.

    Attributes:
        percentiles, window: scale of the greys; None takes that of the bundle.
        activation: "sigmoid", "softmax", or "" for that of the bundle.
        without: transforms to leave out, by their names.
    """

    percentiles: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    activation: str = ""
    without: Sequence[str] = ()

    @property
    def scale(self) -> dict[str, Any]:
        """The fields of an `InputSpec` that were asked for."""
        if self.percentiles and self.window:
            raise InputError("--percentiles and --window: give one of them")
        if self.window:
            return {"window": list(self.window)}
        return {"percentiles": list(self.percentiles)} if self.percentiles else {}


@dataclass
class Found:
    """What transforms came to.

    Attributes:
        input: fields of an `InputSpec`.
        output: fields of an `OutputSpec`.
        greys: what the network takes for 0 and 1.
        activation: "sigmoid" or "softmax"; empty if none was found.
        notes: what is done otherwise than in the bundle, a sentence each.
    """

    input: dict[str, Any] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)
    greys: tuple[float, float] = (0.0, 1.0)
    activation: str = ""
    notes: list[str] = field(default_factory=list)


def read_preparation(content: Mapping[str, Any], asked: Asked) -> Found:
    """Return what a bundle's ``preprocessing`` and ``postprocessing`` come to.

    Raises:
        InputError: a transform that the app has none for, by its name.
    """
    found = Found()
    without = {_short(name) for name in asked.without}
    for name, part, where in _transforms(content, "preprocessing"):
        if _short(name) in without:
            found.notes.append(f"{name} is left out")
        elif name in _SCALES:
            if not asked.scale:
                _SCALES[name](part, where, found)
        elif name in _GRIDS:
            _GRIDS[name](part, where, found)
        elif name not in _NEUTRAL:
            raise InputError(
                f"{where}: this app has no {name}; leave it out by --without {name}, if answers "
                f"without it will do"
            )
    found.input |= asked.scale
    if "window" not in found.input and "percentiles" not in found.input:
        raise InputError(
            "the bundle does not tell how greys are scaled (no ScaleIntensity...): give "
            "--percentiles LOW HIGH or --window LOW HIGH"
        )
    for name, part, where in _transforms(content, "postprocessing"):
        if name in _ANSWERS:
            _answer(name, part, where, found)
        elif name not in _NEUTRAL:
            found.notes.append(f"{name} of its postprocessing is not done here")
    found.activation = asked.activation or found.activation
    inferer = target_of(content.get("inferer"))
    if inferer == "SlidingWindowInferer":
        found.notes.append("images up to 128^3 or 1536^2 are answered whole, not in its windows")
    return found


_Part = dict[str, Any]


def _transforms(content: Mapping[str, Any], id: str) -> list[tuple[str, _Part, str]]:
    """Return name, arguments that are plain, and path of each transform."""
    config = Config(content)
    whole = config.raw(content.get(id), id)
    several = config.raw(whole.get("transforms"), id) if isinstance(whole, Mapping) else whole
    if several is None:
        return []
    if not isinstance(several, list) or len(several) > 100:
        raise InputError(f"{id}: expected a list of transforms, found {shown(several)}")
    found: list[tuple[str, _Part, str]] = []
    for number, one in enumerate(several):
        where = f"{id}[{number}]"
        part = config.raw(one, where)
        name = target_of(part)
        if not name or not isinstance(part, Mapping):
            raise InputError(f"{where}: expected a transform, found {shown(part)}")
        if part.get("_disabled_") in (True, "true"):
            continue
        found.append((_without_suffix(name), _Arguments(part, config, where), where))
    return found


class _Arguments(dict[str, Any]):
    """The arguments of a transform, which become plain when they are asked for."""

    def __init__(self, part: Mapping[str, Any], config: Config, where: str) -> None:
        super().__init__(part)
        self._config, self._where = config, where

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument as plain data."""
        if name not in self:
            return default
        return self._config.plain(self[name], f"{self._where}.{name}")


def _without_suffix(name: str) -> str:
    """Return the name of a known transform without what its variant for dictionaries ends in."""
    for end in ("Dict", "D", "d"):
        short = name[: -len(end)]
        if name.endswith(end) and short in {*_NEUTRAL, *_SCALES, *_GRIDS, *_ANSWERS}:
            return short
    return name


def _short(name: str) -> str:
    return name.removesuffix("d")


def _number(part: _Part, name: str, where: str, default: float | None = None) -> float:
    value = part.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e12:
        raise InputError(f"{where}.{name}: expected a number, found {shown(value)}")
    return float(value)


def _pair(part: _Part, names: tuple[str, str], where: str) -> tuple[float, float]:
    """Return two numbers; 0 and 1 where both are None."""
    if part.get(names[0]) is None and part.get(names[1]) is None:
        return 0.0, 1.0
    return _number(part, names[0], where), _number(part, names[1], where)


def _clipped(part: _Part, where: str) -> None:
    if part.get("clip", False) is not True or part.get("relative", False) not in (False, None):
        raise InputError(
            f"{where}: without clipping, or relative; this app clips greys to 0..1: give "
            f"--percentiles LOW HIGH or --window LOW HIGH"
        )


def _range(part: _Part, where: str, found: Found) -> None:
    _clipped(part, where)
    found.input["window"] = [_number(part, name, where) for name in ("a_min", "a_max")]
    found.greys = _pair(part, ("b_min", "b_max"), where)


def _percentiles(part: _Part, where: str, found: Found) -> None:
    _clipped(part, where)
    found.input["percentiles"] = [_number(part, name, where) for name in ("lower", "upper")]
    found.greys = _pair(part, ("b_min", "b_max"), where)


def _extremes(part: _Part, where: str, found: Found) -> None:
    if part.get("factor") is not None:
        raise InputError(f"{where}: this app has no ScaleIntensity by a factor; see --percentiles")
    found.input["percentiles"] = [0.0, 100.0]
    found.greys = (_number(part, "minv", where, 0.0), _number(part, "maxv", where, 1.0))


def _normalised(part: _Part, where: str, found: Found) -> None:
    raise InputError(
        f"{where}: this app has no NormalizeIntensity (mean 0, deviation 1); give --percentiles "
        f"LOW HIGH or --window LOW HIGH to have the network answer on 0..1 instead, and train on"
    )


def _spacing(part: _Part, where: str, found: Found) -> None:
    value = part.get("pixdim")
    sides = value if isinstance(value, list) else [value] * 3
    if len(sides) != 3:
        raise InputError(
            f"{where}.pixdim: expected three numbers of millimetres, found {shown(value)}; "
            f"--without Spacing keeps the image's own"
        )
    named = ({"pixdim": one} for one in sides)
    found.input["spacing"] = [max(0.0, _number(one, "pixdim", where)) for one in named]
    found.notes.append("Spacing: resampled linearly by this app, close to MONAI's but not equal")


def _orientation(part: _Part, where: str, found: Found) -> None:
    if found.input.get("spacing") and len(set(found.input["spacing"])) > 1:
        raise InputError(f"{where}: Orientation after a Spacing that differs between axes")
    value = part.get("axcodes")
    if not isinstance(value, str):
        raise InputError(f"{where}.axcodes: expected such as RAS, found {shown(value)}")
    found.input["orientation"] = value


def _answer(name: str, part: _Part, where: str, found: Found) -> None:
    def of(argument: str) -> Any:
        value = part.get(argument)
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    if name == "KeepLargestConnectedComponent":
        found.output["keep"] = "largest"
    elif name == "Activations":
        if of("softmax") is True or of("sigmoid") is True:
            found.activation = "softmax" if of("softmax") is True else "sigmoid"
    elif of("argmax") is True:
        found.activation = found.activation or "softmax"
    elif of("threshold") is not None:
        found.activation = found.activation or "sigmoid"
        value = of("threshold")
        found.output["threshold"] = 0.5 if value is True else _number({"t": value}, "t", where)


_SCALES: dict[str, Callable[[_Part, str, Found], None]] = {
    "ScaleIntensityRange": _range,
    "ScaleIntensityRangePercentiles": _percentiles,
    "ScaleIntensity": _extremes,
    "NormalizeIntensity": _normalised,
}
_GRIDS: dict[str, Callable[[_Part, str, Found], None]] = {
    "Spacing": _spacing,
    "Orientation": _orientation,
}
