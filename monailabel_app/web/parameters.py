"""What the parameters of requests may hold, but those of training: a table for each kind.

Clients send more than is read here (3D Slicer all that a model's ``config`` offers, lists of
choices untouched), so names that no table has are passed on. What is read has its type checked
before any work begins. The parameters of training are in `trainers.parameters`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infer.base import first
from lib.data.diameter import DIAMETER, read_diameter
from lib.data.versions import CONSENSUS
from lib.errors import InputError, parse_switch, shown
from monailabel_app.studies.names import MOST_BYTES, check_tag, is_plain

Fits = Callable[[Any], object]  # false, or an `InputError`, for a value that does not fit

_TASK_BYTES = 100_000  # of the parameters of a background task, which stand on its command line
_GPUS = re.compile(r"all|\d{1,3}(,\d{1,3}){0,63}")


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        expected: what it may be, in words.
        fits: tells whether a value is that.
        choices: whether viewers may send a list, of which the first is meant.
    """

    expected: str
    fits: Fits
    choices: bool = True

    def read(self, name: str, value: Any) -> Any:
        """Return the value, of a list of choices the first.

        Raises:
            InputError: one of another type or range; the message names the parameter.
        """
        if self.choices:
            value = first(value)
        if value is not None and not self.fits(value):
            raise InputError(f"{name}: expected {self.expected}, found '{shown(value, 60)}'")
        return value


def read_parameters(params: Mapping[str, Any], table: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return parameters with those of a table checked; empty ones are left out.

    Raises:
        InputError: a value that the table does not allow.
    """
    found = dict(params)
    for name in table.keys() & params.keys():
        value = table[name].read(name, params[name])
        found[name] = value
        if value is None:
            del found[name]
    return found


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value.encode()) <= MOST_BYTES and is_plain(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(least: int, most: int) -> Parameter:
    """Return the parameter of a whole number in a range, its ends included."""
    return Parameter(
        f"a whole number from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )


def number_within(name: str, value: int | None, least: int, most: int) -> None:
    """Refuse a number of the address that lies outside a range."""
    whole(least, most).read(name, value)


def _is_switch(value: Any) -> bool:
    if not isinstance(value, (bool, str, int)):
        return False
    try:
        parse_switch(value)
    except InputError:
        return False
    return True


def _is_marked(value: Any) -> bool:
    return isinstance(value, (list, tuple, str))


def _are_numbers(least: int) -> Fits:
    return lambda value: (
        isinstance(value, list) and all(type(one) is int and one >= least for one in value)
    )


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and type(one) is int and 0 < one < 256 for name, one in value.items()
    )


def _is_image_list(value: Any) -> bool:
    return _is_text(value) or (
        isinstance(value, list) and all(isinstance(image, str) for image in value)
    )


TEXT = Parameter(f"a text of at most {MOST_BYTES} bytes, without control characters", _is_text)
SWITCH = Parameter("true or false", _is_switch)
NUMBER = Parameter("a number", _is_number)
TAG = Parameter("a tag such as final or original", lambda tag: tag == "" or check_tag(tag))
MARKED = Parameter("a list of numbers, or its text in JSON", _is_marked, choices=False)
NEVER = Parameter("nothing", lambda value: False)
TEXT_OR_NUMBER = Parameter(
    "a name or a number", lambda value: _is_text(value) or type(value) is int
)
GPUS = Parameter(
    "'all' or numbers as in '0,1'",
    lambda value: isinstance(value, str) and (not value or _GPUS.fullmatch(value)),
)

INFER: dict[str, Parameter] = {
    **dict.fromkeys(("device", "index", "label_name", "selected_label_name", "client_id"), TEXT),
    **dict.fromkeys(("result", "result_extension", "result_dtype"), TEXT),
    **dict.fromkeys(("flips", "save_label", "any_modality"), SWITCH),
    **dict.fromkeys(("foreground", "background", "roi"), MARKED),
    "channel": TEXT_OR_NUMBER,
    DIAMETER: Parameter("a number of pixels", lambda value: read_diameter(value) >= 0),
    "saliency": Parameter(
        "none, gradcam, gradient, both, true or false",
        lambda value: isinstance(value, bool) or _is_text(value),
    ),
    "exports": Parameter("a list of names of exports", _is_marked, choices=False),
    "slice": NUMBER,
    "label_tag": TAG,
    "label_info": Parameter(
        "a list of names and values",
        lambda value: isinstance(value, (list, dict)),
        choices=False,
    ),
}
BATCH: dict[str, Parameter] = {
    **INFER,
    "model": TEXT,
    "images": Parameter("'all', 'labeled', 'unlabeled' or a list of ids", _is_image_list, False),
    "multi_gpu": SWITCH,
    "gpus": GPUS,
    "logging": TEXT,
    "max_workers": whole(0, 64),
    "max_batch_size": whole(0, 10**6),
}
TASK: dict[str, Parameter] = {
    "model": TEXT,
    "gpus": GPUS,
    "client_id": TEXT,
    "local_rank": whole(0, 1023),
}
INTERPOLATION: dict[str, Parameter] = {
    "values": Parameter("a list of whole numbers from 1", _are_numbers(1), choices=False),
    "keys": Parameter("a list of whole numbers from 0", _are_numbers(0), choices=False),
}
LABEL_EXPORT: dict[str, Parameter] = {
    "labels": Parameter("the value of each structure, 1 to 255, by its name", _are_labels, False),
    "model": TEXT,
}
SCORING: dict[str, Parameter] = {**TASK, "device": TEXT, "method": TEXT}
SAMPLE: dict[str, Parameter] = dict.fromkeys(("strategy", "model", "client_id", "id", "like"), TEXT)
RECORD: dict[str, Parameter] = {
    "params": Parameter("an object", lambda value: isinstance(value, dict), choices=False),
    "model": TEXT,
    "client_id": TEXT,
    "user": TEXT,
    CONSENSUS: Parameter("true or false", lambda value: isinstance(value, bool)),
}


def clicked(labels: Sequence[str]) -> dict[str, Parameter]:
    """Return `INFER` and the names of labels, under which viewers send clicks."""
    return {**INFER, **dict.fromkeys((name for name in labels if name not in INFER), MARKED)}


def read_task(
    params: Mapping[str, Any] | None, table: Mapping[str, Parameter], **named: str
) -> dict[str, Any]:
    """Return the parameters of a background task, checked.

    Args:
        named: what the address of the request names, which the parameters may only repeat.

    Raises:
        InputError: a value that the table does not allow, another name than that of the address, a
            folder of code, or more than fits a command line.
    """
    found = read_parameters(params or {}, table)
    for name, value in named.items():
        require_same(name, found, value)
    if "bundle_path" in found:  # from which the process would import
        raise InputError("bundle_path is no parameter of a request; leave it away")
    if (size := len(json.dumps(found))) > _TASK_BYTES:
        raise InputError(
            f"the parameters take {size} bytes, a background task may have {_TASK_BYTES}; send less"
        )
    return found


def require_same(name: str, params: Mapping[str, Any], value: str) -> None:
    """Refuse parameters that name something else than the address does.

    Raises:
        InputError: they do; MONAI Label would take that of the parameters, unchecked.
    """
    if params.get(name, value) != value:
        raise InputError(f"params name {name} '{shown(params[name])}', the request '{value}'")
