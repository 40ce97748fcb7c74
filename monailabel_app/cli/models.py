"""`models`: versions of weights, and putting one back."""

from __future__ import annotations

from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec
from lib.weights.store import ModelStore
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


@click.command()
@click.argument("task", required=False)
@options.models
@click.option("--restore", metavar="VERSION", help="Serve this version of TASK from now on.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the live weights of TASK, or those of --weights, to this file in half precision.",
)
@options.weights
@options.json_file
def models(
    task: str | None,
    models: Path,
    restore: str | None,
    export: Path | None,
    weights: Path | None,
    json_file: Path | None,
) -> None:
    """List the versions of all weights, or of TASK; put one back, or write one to pass on."""
    store = ModelStore(models, SHIPPED_MODELS)
    if export:
        if not task:
            raise InputError("--export needs a task: models TASK --export FILE")
        _export(get_task(task), weights or store.served_path(task), export)
        return
    names = [get_task(task).name] if task else list(TASKS)
    if restore:
        if not task:
            raise InputError("--restore needs a task: models TASK --restore VERSION")
        store.restore(names[0], restore)
        click.echo(f"{names[0]}: version {restore} is live")
    table = {name: store.versions(name) for name in names}
    for name, versions in table.items():
        if not versions and task:
            click.echo(f"{name}: no weights yet; train it first")
        for version in versions:
            metric = get_task(name).key_metric
            score = version.metrics.get(metric)
            shown = f"{metric} {score:.4f}" if score is not None else ""
            mark = "*" if version.served else " "
            kept = "published" if version.published else "kept aside"
            trained_on = version.training.get("data", "")
            cases = version.training.get("training_cases")
            if cases is not None:
                trained_on = f"{cases} cases ({trained_on})"
            click.echo(
                f"{mark} {name}  {version.id:24}  {kept:10}  {shown}  {trained_on}  "
                f"{version.reason}"
            )
    if any(table.values()):
        click.echo("* is served now")
    options.save_json(
        json_file, {name: [v.as_dict() for v in versions] for name, versions in table.items()}
    )


def _export(task: TaskSpec, weights: Path | None, file: Path) -> None:
    """Write a compact copy of `weights`."""
    from lib.weights.checkpoint import compact, load_checkpoint, load_network, save_checkpoint

    if weights is None:
        raise InputError(f"'{task.name}' has no weights yet; train it first or give --weights")
    checkpoint = load_checkpoint(weights)
    load_network(task, checkpoint)  # refuses those of another network
    save_checkpoint(file, compact(checkpoint))
    click.echo(f"{task.name}: {file}, {file.stat().st_size / 1e6:.1f} MB")


COMMANDS = {"models": models}
