"""`list`: the tasks. `models`: versions of weights, and serving an earlier one again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks import outside
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec
from lib.weights.store import SHIPPED_PREFIX, ModelStore
from lib.weights.versions import COUNTED, Version
from monailabel_app.cli import options
from monailabel_app.config import MODEL_DIR, SHIPPED_MODELS


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What `list` is asked for."""

    models: Path = options.models()
    json_file: Path | None = options.json_file()


@click.command(name="list")
@options.of(ListOptions)
def list_tasks(chosen: ListOptions) -> None:
    """List the tasks, and which of them have weights; own tasks are checked."""
    if outside.names():
        from lib.training.plan import check_row  # imports torch

        for name in outside.names():
            check_row(get_task(name))
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


@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """What `models` is asked for."""

    task: str | None = options.task(required=False)
    models: Path = options.models()
    restore: str | None = options.option(
        "--restore", metavar="VERSION", help="Serve this version of TASK from now on."
    )
    export: Path | None = options.option(
        "--export",
        type=options.FILE,
        help="Write the served weights of TASK, or those of --weights, to this file in half "
        "precision.",
    )
    weights: Path | None = options.weights()
    json_file: Path | None = options.json_file()


@click.command()
@options.of(ModelsOptions)
def models(chosen: ModelsOptions) -> None:
    """List the versions of all weights, or of TASK; serve an earlier one again, or export one."""
    store = ModelStore(chosen.models, SHIPPED_MODELS)
    task = chosen.task
    if chosen.export:
        if not task:
            raise InputError("--export needs a task: models TASK --export FILE")
        _export(get_task(task), chosen.weights or store.served_path(task), chosen.export)
        return
    names = [get_task(task).name] if task else list(TASKS)
    if chosen.restore:
        if not task:
            raise InputError("--restore needs a task: models TASK --restore VERSION")
        from lib.training.acceptance import check_version  # imports torch

        check_version(store, get_task(task), chosen.restore)
        store.restore(names[0], chosen.restore)
        click.echo(f"{names[0]}: version {chosen.restore} is served")
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
                f"{version.reason}; {_warned(version, get_task(name))}"
            )
    if any(version.served for versions in table.values() for version in versions):
        click.echo("* is served now")
    elif any(table.values()):
        click.echo("none of them is served; --restore VERSION serves one")
    if chosen.models == MODEL_DIR:
        click.echo(f"in {MODEL_DIR}; --models or UNETVNET_MODELS names another folder")
    options.save_json(
        chosen.json_file,
        {name: [v.as_dict() for v in versions] for name, versions in table.items()},
    )


def _warned(version: Version, task: TaskSpec) -> str:
    """Return whether answers of a version warn of images unlike those that it was trained on."""
    if task.exam is not None:
        return "doubts are told by exam"
    images = version.training.get(COUNTED)
    if not images:
        return (
            "no warning of images unlike its training: made before there was one, or by few images"
        )
    return "warns of images unlike its training"


def _export(task: TaskSpec, weights: Path | None, file: Path) -> None:
    """Write a compact copy of `weights`."""
    from lib.weights.checkpoint import compact, load_checkpoint, load_network, save_checkpoint

    if weights is None:
        raise InputError(f"'{task.name}' has no weights yet; train it first or give --weights")
    checkpoint = load_checkpoint(weights)
    load_network(task, checkpoint)  # refuses those of another network
    save_checkpoint(file, compact(checkpoint))
    click.echo(f"{task.name}: {file}, {file.stat().st_size / 1e6:.1f} MB")
