"""`list`: the tasks, without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.tasks.registry import TASKS
from lib.weights.store import SHIPPED_PREFIX, ModelStore
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What `list` is asked for."""

    models: Path = options.models()
    json_file: Path | None = options.json_file()


@click.command(name="list")
@options.of(ListOptions)
def list_tasks(chosen: ListOptions) -> None:
    """List the tasks, and which of them have weights."""
    store = ModelStore(chosen.models, SHIPPED_MODELS)
    rows = {
        name: {
            "kind": task.kind,
            "weights": _state(store.served_path(name)),
            "description": task.description,
        }
        for name, task in TASKS.items()
    }
    width = max(map(len, rows))
    click.echo(f"{'task':{width}}  {'kind':14}  {'weights':7}  description")
    for name, row in rows.items():
        click.echo(f"{name:{width}}  {row['kind']:14}  {row['weights']:7}  {row['description']}")
    options.save_json(chosen.json_file, rows)


def _state(weights: Path | None) -> str:
    """Return whether the served weights of a task were trained here or shipped with the app."""
    if weights is None:
        return "none"
    shipped = weights.parent == SHIPPED_MODELS and weights.name.startswith(SHIPPED_PREFIX)
    return "shipped" if shipped else "trained"


COMMANDS = {"list": list_tasks}
