"""From the network that a bundle names, and its weights, to a `MonaiSpec`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lib.errors import InputError, choose, listed, shown
from lib.exchange.foreign.plain import TARGET, Config, target_of
from lib.networks.monai_network import MonaiNetwork, make, maps_of
from lib.tasks.monai_spec import CLASSES, MonaiSpec, check_arguments

_IDS = ("network_def", "network", "net", "model")
_PACKAGE = "monai.networks.nets"
_MOST_PARAMETERS = 512 * 2**20
_PREFIXES = ("module.", "_orig_mod.", "network.", "net.", "model.")
_COUNTERS = "num_batches_tracked"  # of batch normalisation; older weights lack them


@dataclass(frozen=True)
class Named:
    """A class of MONAI's and its arguments, all of them."""

    name: str
    arguments: dict[str, Any]

    @property
    def channels(self) -> int:
        """Channels of its answer."""
        return int(self.arguments["out_channels"])

    @property
    def spatial_dims(self) -> int:
        """Axes of its images."""
        return int(self.arguments["spatial_dims"])


def named_network(content: Mapping[str, Any]) -> Named:
    """Return the network that a configuration names.

    Args:
        content: with a network under one of the usual names; or that network itself.

    Raises:
        InputError: it is none of `CLASSES`, or its arguments are not plain, or none of the class.
    """
    config = Config(content)
    where, part = next(
        ((name, content[name]) for name in _IDS if target_of(content.get(name))),
        ("network", content),
    )
    target = part.get(TARGET) if isinstance(part, Mapping) else None
    if not isinstance(target, str):
        raise InputError(
            f"no network: expected one of {', '.join(_IDS)} with a {TARGET}; give it by --network"
        )
    package, _, name = target.rpartition(".")
    if package and not f"{package}.".startswith(f"{_PACKAGE}."):
        raise InputError(
            f"{where}: {shown(target)} is code of the bundle, which is not run; networks of "
            f"{_PACKAGE} are imported: {', '.join(CLASSES)}"
        )
    choose(f"network of {_PACKAGE}", name, dict.fromkeys(CLASSES))
    given = {
        key: config.plain(value, f"{where}.{key}")
        for key, value in part.items()
        if not key.startswith("_")
    }
    return Named(name, _all_arguments(name, given))


def _all_arguments(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a class, those that decide its shape stated, checked."""
    from monai.networks import nets  # takes seconds

    known = inspect.signature(getattr(nets, name)).parameters
    for key in given:
        choose(f"argument of {name}", key, known)
    try:
        check_arguments(given)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    stated = dict(given)
    for key in ("spatial_dims", "in_channels", "out_channels"):
        value = stated.setdefault(key, known[key].default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name}: {key}: expected a whole number, found {shown(value)}")
    if stated["spatial_dims"] not in (2, 3):
        raise InputError(f"{name}: spatial_dims: expected 2 or 3, found {stated['spatial_dims']}")
    if stated["in_channels"] != 1:
        raise InputError(
            f"{name} takes {stated['in_channels']} channels; networks of this app get one, grey: "
            f"colour and several sequences at once are not read"
        )
    return stated


def spec_of_network(named: Named, activation: str, greys: tuple[float, float]) -> MonaiSpec:
    """Return the spec of a network, whose sides were tried.

    Raises:
        InputError: MONAI does not make it, it is too large, or it answers no maps.
    """
    if named.channels < (2 if activation == "softmax" else 1):
        raise InputError(f"softmax needs at least 2 channels, {named.name} has {named.channels}")
    with torch.device("meta"):  # shapes alone, whatever their size
        network = make(named.name, named.arguments).eval()
    count = sum(value.numel() for value in network.parameters())
    if count > _MOST_PARAMETERS:
        raise InputError(
            f"{named.name} of these arguments has {count / 1e6:.0f} million weights, at most "
            f"{_MOST_PARAMETERS / 1e6:.0f} are accepted"
        )
    divisor = _divisor(named)
    try:
        spec = MonaiSpec(
            monai=named.name,
            arguments=named.arguments,
            spatial_dims=3 if named.spatial_dims == 3 else 2,
            out_channels=maps_of(named.channels, activation),
            activation="softmax" if activation == "softmax" else "sigmoid",
            divisor=divisor,
            least_side=divisor,
            axes="xyz",
            greys=greys,
        )
    except ValueError as error:
        raise InputError(f"{named.name}: {error}") from None
    cause = ""
    for side in (divisor, 2 * divisor, 4 * divisor):
        try:
            with torch.no_grad(), torch.device("meta"):
                answer = network(torch.zeros(1, 1, *[side] * named.spatial_dims))
        except Exception as error:  # whatever layer does not fit
            cause = next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
            continue
        expected = (1, named.channels, *[side] * named.spatial_dims)
        if not isinstance(answer, Tensor) or tuple(answer.shape) != expected:
            raise InputError(f"{named.name} does not answer maps of the size of its input")
        return replace(spec, least_side=side)
    raise InputError(f"{named.name} of these arguments answers no image: {cause}")


def _divisor(named: Named) -> int:
    """Return what the sides of an image must be a multiple of."""
    if named.name in ("BasicUNet", "VNet"):
        return 16
    if named.name == "SegResNet":
        return int(2 ** (len(named.arguments.get("blocks_down", (1, 2, 2, 4))) - 1))
    divisor = [1] * named.spatial_dims
    for stride in named.arguments.get("strides", ()):
        each = stride if isinstance(stride, list) else [stride] * named.spatial_dims
        divisor = [a * int(b) for a, b in zip(divisor, each, strict=False)]
    return max(1, *divisor)


def fitted(network: nn.Module, state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return weights under the names that a network of this app has for them, float32.

    Their names may begin with what wrappers put before all of them, such as ``module.``.

    Args:
        network: of MONAI's in `MonaiNetwork`, or another.
        name: of the network, for messages.

    Raises:
        InputError: weights are missing, of another shape, or left over; with their names.
    """
    foreign = isinstance(network, MonaiNetwork)
    prefix = "network." if foreign else ""
    wanted = (network.get_submodule("network") if foreign else network).state_dict()
    state = _unwrapped(state, wanted)
    missing = [key for key in wanted if key not in state and not key.endswith(_COUNTERS)]
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    extra = [key for key in state if key not in wanted]
    if missing or shapes or extra:
        raise InputError(
            f"the weights are not those of this {name}: missing {listed(missing)}; of another "
            f"shape {listed(shapes)}; left over {listed(extra)}"
        )
    found = {key: state.get(key, value) for key, value in wanted.items()}
    return {
        f"{prefix}{key}": (value.float() if value.is_floating_point() else value).contiguous()
        for key, value in found.items()
    }


def _unwrapped(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights without what wrappers put before all names."""
    for _ in range(3):
        if any(name in wanted for name in state):
            break
        for before in _PREFIXES:
            if state and all(name.startswith(before) for name in state):
                state = {name[len(before) :]: value for name, value in state.items()}
                break
    return state
