"""`score`: images and accepted labels by a model, those to look at first on top."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lib.tasks.registry import get_task
from monailabel_app.cli import options


@click.command()
@click.argument("task")
@options.studies
@click.option(
    "--method",
    default="label_quality",
    show_default=True,
    help="label_quality: accepted labels that the model doubts; dice: of answer and label; "
    "uncertainty: images that the model is unsure of.",
)
@options.weights
@options.models
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="Rows shown.")
@options.device
@options.precision
@options.json_file
def score(
    task: str,
    studies: Path,
    method: str,
    weights: Path | None,
    models: Path,
    top: int,
    device: str,
    precision: str,
    json_file: Path | None,
) -> None:
    """Score the images of a studies folder by TASK, and list those to look at first.

    The server does the same with POST /scoring/METHOD.
    """
    spec = get_task(task)
    from tqdm import tqdm

    from lib.active_learning.review import METHODS, review
    from lib.errors import choose
    from lib.files import sha256
    from lib.kinds import kind_of
    from monailabel_app.cli.predictors import load_predictor

    chosen = choose("scoring method", method, METHODS)
    kind = kind_of(spec)
    predictor, path = load_predictor(spec, weights, models, device, precision)
    items = kind.cases.list(studies, spec, chosen.labelled)
    samples = len({item.sample for item in items})
    with tqdm(total=samples, unit=kind.unit, disable=not sys.stderr.isatty()) as bar:
        rows = review(method, kind.reviews, predictor, items, lambda case: bar.update())
    click.echo(f"{spec.name}, {chosen.description}: {len(rows)} of {studies.name}")
    for row in rows[:top]:
        click.echo(_line(row))
    about = {
        "task": spec.name,
        "method": method,
        "weights": path.name,
        "weights_sha256": sha256(path),
        "command": options.command_line(),
    }
    options.save_json(json_file, {"about": about, "images": rows})


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['id']}  not scored: {row['error']}"
    figures = [f"{name} {_shown(value)}" for name, value in row.items() if _shown(value)]
    return "  ".join([row["id"], *figures[1:]])


def _shown(value: Any) -> str:
    """Return a figure as text; doubted objects by fault and box, and images as nothing."""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        boxes = [one for one in value if isinstance(one, dict)]
        return ", ".join(f"{one['kind']} at {_box(one['box'])}" for one in boxes[:3])
    return str(value)


def _box(box: list[tuple[int, int]]) -> str:
    return " x ".join(f"{start}..{stop}" for start, stop in box)


COMMANDS = {"score": score}
