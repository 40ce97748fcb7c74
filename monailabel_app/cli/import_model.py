"""`import-model`: a model that other software made becomes a task of the user's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError, shown
from lib.tasks.registry import TASKS
from monailabel_app.cli import options

_MOST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImportModelOptions:
    """What `import-model` is asked for."""

    source: Path = options.argument("source", type=click.Path(path_type=Path))
    name: str = options.argument("name")
    tasks: Path = options.option(
        "--tasks",
        type=options.FILE,
        required=True,
        help="YAML file of own tasks that the row is added to; made if it does not exist.",
    )
    description: str = options.option("--description", default="", show_default=False)
    labels: str = options.option(
        "--labels",
        default="",
        show_default=False,
        help="Structures and their values, as in liver=1,tumour=2; default those of the bundle.",
    )
    network: str = options.option(
        "--network",
        default="",
        show_default=False,
        help="Network of a plain state dict, as in a bundle's configuration: JSON, or a file.",
    )
    like: str = options.option(
        "--like",
        default="",
        show_default=False,
        help="Task of this app whose network a plain state dict is of.",
    )
    activation: str = options.option(
        "--activation",
        type=click.Choice(["", "sigmoid", "softmax"]),
        default="",
        show_default=False,
        help="What makes probabilities of the network's channels.",
    )
    percentiles: tuple[float, float] | None = options.option(
        "--percentiles", nargs=2, type=float, help="Percentiles of the greys that become 0 and 1."
    )
    window: tuple[float, float] | None = options.option(
        "--window", nargs=2, type=float, help="Intensities that become 0 and 1."
    )
    without: tuple[str, ...] = options.option(
        "--without", multiple=True, metavar="TRANSFORM", help="Leave this transform out."
    )
    models: Path = options.models()
    json_file: Path | None = options.json_file()


@click.command("import-model")
@options.of(ImportModelOptions)
def import_model(chosen: ImportModelOptions) -> None:
    """Make a task NAME of a MONAI Bundle, or of a state dict, at SOURCE.

    A bundle is a folder or a zip file with configs/inference.json and models/model.pt. Its network
    must be one of monai.networks.nets that answers maps; nothing in it is run. Weights alone (.pt,
    .pth, .safetensors) need --network or --like.
    """
    if chosen.name in TASKS:
        raise InputError(f"there is a task '{chosen.name}' already; give the new one its own name")
    if not chosen.tasks.parent.is_dir() or chosen.tasks.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"--tasks '{chosen.tasks}': expected a .yaml file in a folder that exists")
    from lib.exchange.foreign.model import Wanted, read_model
    from lib.exchange.foreign.preparation import Asked
    from lib.tasks.write_row import add_row
    from lib.training.acceptance import accept_weights
    from lib.training.plan import check_row
    from lib.weights.checkpoint import save_checkpoint
    from lib.weights.store import ModelStore
    from monailabel_app.config import SHIPPED_MODELS

    store = ModelStore(chosen.models, SHIPPED_MODELS)
    if store.served_path(chosen.name) is not None:
        raise InputError(
            f"folder '{chosen.models}' has weights of a task '{chosen.name}' already; give the new "
            f"task another name"
        )
    found = read_model(
        chosen.source,
        Wanted(
            name=chosen.name,
            description=chosen.description,
            labels=_labels(chosen.labels),
            network=_network(chosen.network),
            like=chosen.like,
            asked=Asked(
                percentiles=chosen.percentiles,
                window=chosen.window,
                activation=chosen.activation,
                without=chosen.without,
            ),
        ),
    )
    check_row(found.row)
    with store.candidate_folder() as folder:
        file = save_checkpoint(folder / f"{chosen.name}.pt", found.checkpoint)
        accept_weights(file, found.row)
        add_row(chosen.tasks, found.row, found.base, TASKS)
        reason = f"imported from {chosen.source.name}"
        version = store.add(chosen.name, file, {}, published=True, reason=reason)
        store.restore(chosen.name, version)
    for note in found.notes:
        click.echo(f"Note: {note}")
    structures = ", ".join(f"{name} = {value}" for name, value in found.row.labels.items())
    click.echo(f"{chosen.name}: {found.row.description}")
    click.echo(f"answers {structures}; row in {chosen.tasks}, weights in {chosen.models}")
    click.echo(
        f"next: python -m monailabel_app infer {chosen.name} IMAGE --out labels --task-file "
        f"{chosen.tasks} --models {chosen.models}; or serve --studies FOLDER --models "
        f"{chosen.models} --conf tasks {chosen.tasks}"
    )
    options.save_json(
        chosen.json_file,
        {
            "task": chosen.name,
            "version": version,
            "row": json.loads(json.dumps(found.row.as_dict(), default=dict)),
            "notes": list(found.notes),
        },
    )


def _labels(text: str) -> dict[str, int]:
    """Read ``liver=1,tumour=2``."""
    labels = {}
    for part in text.split(",") if text else ():
        name, _, value = part.rpartition("=")
        if not name.strip() or not value.strip().isdecimal() or len(value) > 3:
            raise InputError(f"--labels: expected such as liver=1,tumour=2, found '{shown(text)}'")
        labels[name.strip()] = int(value)
    return labels


def _network(text: str) -> dict[str, Any] | None:
    """Read a network as JSON, or from a file of JSON."""
    if not text:
        return None
    if not text.lstrip().startswith("{"):
        file = Path(text)
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            raise InputError(f"--network '{shown(text)}': expected JSON, or a file of it")
        text = file.read_text(encoding="utf-8", errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"--network: not JSON ({shown(error)})") from None
    if not isinstance(found, dict):
        raise InputError(f"--network: expected names and values, found {shown(found)}")
    return found
