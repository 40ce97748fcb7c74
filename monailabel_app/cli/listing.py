"""`list`: the tasks, without loading torch."""

from __future__ import annotations

from pathlib import Path

import click

from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


@click.command(name="list")
@options.models
@options.json_file
def list_tasks(models: Path, json_file: Path | None) -> None:
    """List the tasks, and which of them have weights."""
    store = ModelStore(models, SHIPPED_MODELS)
    rows = {}
    for name, task in TASKS.items():
        live = store.served_path(name)
        state = (
            "none"
            if live is None
            else "shipped"
            if live.parent == SHIPPED_MODELS and (live.name.startswith("pretrained_"))
            else "trained"
        )
        rows[name] = {"kind": task.kind, "weights": state, "description": task.description}
    width = max(map(len, rows))
    click.echo(f"{'task':{width}}  {'kind':14}  {'weights':7}  description")
    for name, row in rows.items():
        click.echo(f"{name:{width}}  {row['kind']:14}  {row['weights']:7}  {row['description']}")
    options.save_json(json_file, rows)


COMMANDS = {"list": list_tasks}
