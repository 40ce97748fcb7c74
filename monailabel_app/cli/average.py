"""`average`: one set of weights from several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import options


def _shares(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--shares '{text}': expected a number for each file, as in 1,1") from None


@dataclass(frozen=True, kw_only=True)
class AverageOptions:
    """What `average` is asked for."""

    task: str = options.task()
    files: tuple[Path, ...] = options.argument("files", nargs=-1, required=True, type=options.FILE)
    studies: Path = options.studies()
    out: Path = options.option(
        "--out", type=options.FILE, required=True, help="File to write the average to."
    )
    shares: tuple[float, ...] | None = options.option(
        "--shares", callback=_shares, help="Of each file, as in 1,3; by default all alike."
    )
    json_file: Path | None = options.json_file()


@click.command()
@options.of(AverageOptions)
def average(chosen: AverageOptions) -> None:
    """Write the average of weights of TASK, of two FILES or more, that have the same start.

    Such are trainings with several seeds or folds from one --init-from, or weights and what was
    trained on from them, which keeps what they knew of the images of before. STUDIES are the images
    that all were trained on, of which the split of training holds out a part: the average and each
    of the files are measured on that part, on the CPU. `evaluate` and `infer --weights` take the
    file as they take a training's, and so does the server.
    """
    spec = get_task(chosen.task)
    from dataclasses import replace

    from tqdm import tqdm

    from lib.data.studies import split_items
    from lib.files import sha256
    from lib.kinds import kind_of, list_labelled
    from lib.training.batches import PreparedCases
    from lib.training.mean_weights import average as averaged
    from lib.training.mean_weights import figures_of, measured
    from lib.weights.checkpoint import load_checkpoint, save_checkpoint

    checkpoints = [load_checkpoint(file) for file in chosen.files]
    shares = chosen.shares or (1.0,) * len(checkpoints)
    mean = averaged(spec, checkpoints, shares)
    items, left_out = kind_of(spec).matching(list_labelled(chosen.studies, spec), spec)
    options.show_left_out(left_out)
    training, held_out = (
        PreparedCases(part, spec) for part in split_items(items, spec.training.val_split)
    )
    rows = {}
    for file, share, one in zip(chosen.files, shares, checkpoints, strict=True):
        figures = figures_of(spec, one, held_out)
        rows[file.name] = {"sha256": sha256(file), "share": share, "figures": figures}
        _show(file.name, spec.key_metric, figures, len(held_out))
    with tqdm(unit="image", disable=None) as bar:
        found = measured(spec, mean, training, held_out, items, lambda: bar.update())
    command = options.command_line()
    save_checkpoint(chosen.out, replace(found, provenance={**found.provenance, "command": command}))
    _show(f"{chosen.out.name}, the average", spec.key_metric, found.metrics, len(held_out))
    options.save_json(
        chosen.json_file,
        {
            "task": spec.name,
            "files": rows,
            "average": {"sha256": sha256(chosen.out), "figures": found.metrics},
            "held_out": len(held_out),
            "data": found.provenance["data"],
            "command": command,
        },
    )


def _show(name: str, metric: str, figures: dict[str, float], count: int) -> None:
    click.echo(f"{name}: {metric} {figures[metric]:.4f} on {count} held-out images")
