"""The parameters of a request to train, with MONAI Label's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.errors import InputError, shown, unknown

IGNORED = {"model", "local_rank", "gpus", "bundle_path", "client_id", "dataset", "tracking"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        default: as viewers show it; a list of choices begins with the default.
        parse: reads a value; raises `TypeError` or `ValueError` for one that does not fit.
        least: smallest value allowed, None for any; only numbers have one.
        most: largest value allowed.
    """

    default: Any
    parse: Callable[[Any], Any]
    least: float | None = None
    most: float = math.inf

    def read(self, name: str, value: Any) -> Any:
        """Return the value, checked; viewers may send a list of choices back as it is.

        Raises:
            InputError: the value does not fit; the message has the name of the parameter.
        """
        value = _first(value)
        try:
            if self.least is not None and isinstance(value, bool):
                raise TypeError("expected a number")
            read = self.parse(value)
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(
                f"training parameter {name}: '{shown(value)}' does not fit ({error}); the default "
                f"is {_first(self.default)!r}"
            ) from None
        if self.least is not None and not self.least <= read < math.inf:
            raise InputError(
                f"training parameter {name}: expected at least {self.least}, found {shown(value)}"
            )
        if self.least is not None and read > self.most:
            raise InputError(
                f"training parameter {name}: expected at most {self.most}, found {shown(value)}"
            )
        return read


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A checked request to train.

    Attributes:
        max_epochs: passes over the training cases.
        early_stop_patience: validations without a better one before the end; 0 is never.
        pretrained: start from the published weights.
        multi_gpu: one process per GPU.
        name: of the run.
        kind_values: the parameters that only this kind of task has, by name.
    """

    max_epochs: int
    train_batch_size: int
    val_split: float
    early_stop_patience: int
    learning_rate: float
    seed: int
    pretrained: bool
    multi_gpu: bool
    device: str
    name: str
    kind_values: Mapping[str, Any]


def read_values(request: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the values of all parameters; those that the request leaves out have their defaults.

    Raises:
        InputError: an unknown parameter or a value that does not fit; the message names it.
    """
    values = {
        name: parameter.read(name, parameter.default) for name, parameter in parameters.items()
    }
    for name, value in request.items():
        if name in IGNORED or value is None:
            continue
        if name not in parameters:
            raise unknown("training parameter", name, parameters)
        values[name] = parameters[name].read(name, value)
    return values


def parse_text(value: Any) -> str:
    """Read a text, or a number as text."""
    if isinstance(value, (dict, list, bool)):
        raise TypeError("expected a text")
    return str(value)


def parse_name(value: Any) -> str:
    """Read the name of a run: up to 64 letters, digits, hyphens and underscores."""
    name = str(value)
    if not name or len(name) > 64 or not name.replace("-", "").replace("_", "").isalnum():
        raise InputError("expected letters, digits, '-' and '_'")
    return name


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) and value else value
