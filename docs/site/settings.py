"""The page about settings and tasks, made of the tables of the code."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from tables import code, table

from lib.kinds import KINDS
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from monailabel_app.config import OPTIONS, SHIPPED_MODELS, AppConfig
from trainers.base import build_trainer

_PAGE = """\
# Settings and tasks

Made of the code. What they are for is told in [Tasks, settings, files](../docs/configuration.md).

## Of the server

`--conf NAME VALUE` of `monailabel start_server`, of `serve` and of `serve-dicom`.

{options}

## Of a training

Parameters of `POST /train/TASK` with the defaults that viewers show, of one task of each kind;
batch size, patch size and learning rate are those of the task's row.

{parameters}

## Tasks

{tasks}
"""


def page() -> str:
    """Return the page."""
    return _PAGE.format(options=_options(), parameters=_parameters(), tasks=_tasks())


def _options() -> str:
    defaults = {field.name: _default(field) for field in fields(AppConfig)}
    rows = ((code(name), defaults[name], option.help) for name, option in OPTIONS.items())
    return table(("name", "default", "meaning"), rows)


def _default(field: Any) -> str:
    """Return a default as it would be given; folders of this machine without the way to them."""
    value = getattr(AppConfig(), field.name)
    if isinstance(value, Path):
        return f"a folder `{value.name}`"
    if isinstance(value, (tuple, frozenset)):
        return code(",".join(map(str, value)))
    return "" if value is None else code(value)


def _parameters() -> str:
    """Return the parameters of one task of each kind that can be trained."""
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder), SHIPPED_MODELS)
        examples = {task.kind: task for task in reversed(TASKS.values())}
        given = {
            task.name: build_trainer(task, store).config()
            for task in reversed(examples.values())
            if task.kind in KINDS
        }
    names = dict.fromkeys(name for config in given.values() for name in config)
    rows = (
        (code(name), *(_shown(config.get(name, "")) for config in given.values())) for name in names
    )
    return table(("parameter", *map(code, given)), rows)


def _shown(value: Any) -> str:
    return code(value[0] if isinstance(value, list) else value)


def _tasks() -> str:
    head = ("task", "kind", "network", "loss", "for", "what it is")
    return table(head, (_task(task) for task in TASKS.values()))


def _task(task: TaskSpec) -> tuple[str, ...]:
    network = task.network
    if isinstance(network, EncoderDecoderSpec):
        kernel = "x".join([str(network.kernel_size)] * network.spatial_dims)
        drawn = f"{network.topology}, {kernel}, {network.channels[0]} to {network.channels[-1]}"
    elif isinstance(network, ClassifierSpec):
        drawn = network.architecture
    else:
        drawn = network.monai
    meant = ", ".join((*task.modalities, *task.dimensions))
    return code(task.name), task.kind, drawn, task.training.loss, meant, task.description
