"""A model that other software made, as a task of this app: its row and its weights.

Nothing in the files is run: a configuration is read as plain data, its network must be one of
`lib.tasks.monai_spec.CLASSES`, and weights are tensors only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lib.errors import InputError, shown
from lib.exchange.foreign.files import Bundle, is_bundle, open_bundle, read_state
from lib.exchange.foreign.network import (
    Named,
    fitted,
    named_network,
    spec_of_network,
)
from lib.exchange.foreign.preparation import Asked, Found, read_preparation
from lib.networks import build_network
from lib.tasks.changes import changed
from lib.tasks.monai_spec import MonaiSpec
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, utc_now, versions

_BASES = {2: "ultrasound2d_vnet", 3: "volume_vnet"}  # whose recipe the task is trained on by
_MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "US": "US", "ULTRASOUND": "US", "PET": "PT"}
_PATCHES = {2: 256, 3: 64}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user asked for beside the files.

    Attributes:
        name: of the new task.
        description: of it; empty takes the bundle's.
        labels: value of each structure by its name; empty takes the bundle's.
        network: of a plain state dict: as in a bundle's configuration; None where there is none.
        like: name of a task of this app whose network the weights are of; empty for none.
    """

    name: str
    description: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)
    network: Mapping[str, Any] | None = None
    like: str = ""
    asked: Asked = field(default_factory=Asked)


@dataclass(frozen=True)
class Imported:
    """A task and its weights.

    Attributes:
        base: the row that the new one extends.
        notes: what is otherwise than it was, a sentence each.
    """

    row: TaskSpec
    base: TaskSpec
    checkpoint: Checkpoint
    notes: tuple[str, ...] = ()


def read_model(source: Path, wanted: Wanted) -> Imported:
    """Return the task that a bundle, or a file of weights, comes to.

    Args:
        source: a folder or zip file of a MONAI Bundle, or a state dict (.pt, .pth, .safetensors).

    Raises:
        InputError: it does not exist, is damaged, or does not map onto a task; the message names
            the class, transform, argument or weights that do not.
    """
    if not source.exists():
        raise InputError(f"'{source}' does not exist; give a bundle's folder or zip, or a .pt file")
    if not is_bundle(source):
        return _of_weights(source.name, read_state(source), wanted)
    with open_bundle(source) as bundle:
        own = (bundle.metadata or {}).get("app")
        if isinstance(own, Mapping) and isinstance(own.get("spec"), Mapping):
            return _of_own(source.name, bundle, own, wanted)
        return _of_bundle(source.name, bundle, wanted)


def _of_own(source: str, bundle: Bundle, own: Mapping[str, Any], wanted: Wanted) -> Imported:
    """Return the task of a bundle that this app wrote: its row stands in its metadata."""
    spec = {key: value for key, value in own["spec"].items() if key != "weights_licence"}
    kinds = {task.kind: name for name, task in reversed(TASKS.items())}
    exported = str(spec.get("name"))
    base = TASKS.get(exported) or TASKS.get(kinds.get(str(spec.get("kind")), "")) or TASKS["nuclei"]
    row = _row(base, wanted, spec, str(spec.get("description", "")))
    answer = own.get("answer")
    if row.exam is not None and not isinstance(answer, dict):
        raise InputError(
            f"{source}: does not tell the temperature of its probabilities; export it again"
        )
    return _imported(source, row, base, read_state(bundle.model), answer or {}, ())


def _of_bundle(source: str, bundle: Bundle, wanted: Wanted) -> Imported:
    """Return the task of a bundle of MONAI's parts."""
    if bundle.inference is None:
        raise InputError(
            f"{source}: no configs/inference.json, which tells the network and how images are "
            f"prepared; give models/model.pt with --network instead"
        )
    metadata = bundle.metadata or {}
    named = named_network(wanted.network or bundle.inference)
    found = read_preparation(bundle.inference, wanted.asked)
    formats = metadata.get("network_data_format")
    pred = _part(_part(_part(formats, "outputs"), "pred"), "channel_def")
    image = _part(_part(formats, "inputs"), "image")
    modality = _MODALITIES.get(str(image.get("modality", "")).upper())
    told = {
        "modalities": [modality] if modality else [],
        "reference": shown(metadata.get("copyright") or metadata.get("authors") or "", 200),
    }
    description = str(metadata.get("task") or metadata.get("description") or "")
    return _of_network(
        source, named, found, read_state(bundle.model), wanted, pred, told, description
    )


def _of_weights(source: str, state: Mapping[str, Tensor], wanted: Wanted) -> Imported:
    """Return the task of a plain state dict, whose network is told by the user."""
    if wanted.like:
        base = get_task(wanted.like)
        row = _row(base, wanted, {}, base.description)
        return _imported(source, row, base, state, {}, ())
    if wanted.network is None:
        raise InputError(
            f"{source}: weights alone; tell their network by --network "
            f'\'{{"_target_": "UNet", ...}}\', or by --like TASK for one of this app\'s'
        )
    asked = wanted.asked
    if not asked.scale:
        raise InputError("weights alone: give --percentiles LOW HIGH or --window LOW HIGH")
    found = Found(input=asked.scale, activation=asked.activation)
    named = named_network(wanted.network)
    return _of_network(source, named, found, state, wanted, {}, {}, "")


def _of_network(
    source: str,
    named: Named,
    found: Found,
    state: Mapping[str, Tensor],
    wanted: Wanted,
    channels: Mapping[str, Any],
    told: Mapping[str, Any],
    description: str,
) -> Imported:
    """Return the task of a network of MONAI's.

    Args:
        channels: name of each channel of its answer, by its number.
        told: further fields of the row.
    """
    activation = found.activation or ("sigmoid" if named.channels == 1 else "")
    if not activation:
        raise InputError(
            f"{source}: nothing tells whether its {named.channels} channels are parted by softmax "
            f"or sigmoid; give --activation"
        )
    spec = spec_of_network(named, activation, found.greys)
    first = 1 if activation == "softmax" else 0
    labels = dict(wanted.labels) or _labels(channels, first, named.channels)
    structures = named.channels - first
    values = sorted(labels.values())
    if values != list(range(1, structures + 1)):
        raise InputError(
            f"{source}: its network answers {structures} structures; give --labels with the "
            f"values 1 to {structures}, found {labels}"
        )
    side = _PATCHES[spec.spatial_dims]
    maps = ["foreground", *(f"label_{value}" for value in values if structures > 1)]
    base = get_task(_BASES[spec.spatial_dims])
    fields = {
        "kind": "segmentation",
        "labels": labels,
        "dimensions": ["3d"] if spec.spatial_dims == 3 else ["2d", "loop", "3d"],
        "strict": False,
        "network": {name: _plain(value) for name, value in vars(spec).items()},
        "input": {"dark_background": False, "isotropic": False, **found.input},
        "target": {"maps": maps},
        "output": {"keep": "all", **found.output},
        "training": {
            "patch_size": spec.input_size(side),
            "batch_size": 8 if spec.spatial_dims == 2 else 1,
        },
        "modalities": [],
        "reference": "",
        **told,
    }
    row = _row(base, wanted, fields, description)
    notes = list(found.notes)
    if activation == "sigmoid" and structures > 1:
        notes.append("where structures overlap, a pixel gets the likelier one only")
    return _imported(source, row, base, state, {}, tuple(notes))


def _labels(channels: Mapping[str, Any], first: int, count: int) -> dict[str, int]:
    """Return names and values of the structures as a bundle tells them."""
    names = [channels.get(str(number)) for number in range(first, count)]
    told = [one for one in names if isinstance(one, str) and one.strip() and len(one) <= 64]
    if len(set(told)) < len(names):
        told = [f"structure {number + 1}" for number in range(len(names))]
    if len(names) == 1 and told == ["structure 1"]:
        told = ["structure"]
    return {name.strip(): value for value, name in enumerate(told, start=1)}


def _row(base: TaskSpec, wanted: Wanted, fields: Mapping[str, Any], description: str) -> TaskSpec:
    text = " ".join(shown(wanted.description or description, 300).split())
    named = {
        "name": wanted.name,
        "description": text or f"{wanted.name}, imported",
        "weights_licence": "",
    }
    return changed(base, {**_plain(fields), **named})


def _imported(
    source: str,
    row: TaskSpec,
    base: TaskSpec,
    state: Mapping[str, Tensor],
    answer: dict[str, Any],
    notes: tuple[str, ...],
) -> Imported:
    network = build_network(row.network)
    name = row.network.monai if isinstance(row.network, MonaiSpec) else f"network of '{base.name}'"
    weights = fitted(network, state, name)
    provenance = {"imported": source, "time": utc_now(), "versions": versions()}
    checkpoint = Checkpoint(
        task=row.name, spec=row.as_dict(), weights=weights, provenance=provenance, answer=answer
    )
    return Imported(row, base, checkpoint, notes)


def _part(value: Any, name: str) -> Mapping[str, Any]:
    part = value.get(name) if isinstance(value, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    return json.loads(json.dumps(value, default=dict))
