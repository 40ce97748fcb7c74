"""`score`: score images and accepted labels by a model, and list those to look at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.tasks.registry import get_task
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(options.ModelOptions):
    """What `score` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    method: str = options.option(
        "--method",
        default="label_quality",
        help="label_quality: accepted labels that the model doubts; dice: of answer and label; "
        "uncertainty: images that the model is unsure of.",
    )
    top: int = options.positive("--top", default=20, help="Rows shown.")
    channel: str = options.channel()
    json_file: Path | None = options.json_file()


@click.command()
@options.of(ScoreOptions)
def score(chosen: ScoreOptions) -> None:
    """Score the images of a studies folder by TASK, and list those to look at first.

    The server does the same with POST /scoring/METHOD.
    """
    spec = get_task(chosen.task)
    from tqdm import tqdm

    from lib.active_learning.review import METHODS, review
    from lib.errors import choose
    from lib.files import sha256
    from lib.kinds import kind_of
    from monailabel_app.cli.predictors import load_predictor

    method = choose("scoring method", chosen.method, METHODS)
    kind = kind_of(spec)
    predictor, path = load_predictor(spec, chosen)
    items = kind.cases.list(chosen.studies, spec, method.labelled)
    options.say_passed_over(chosen.studies)
    items = options.in_channel(items, chosen.channel, spec)
    samples = len({item.sample for item in items})
    with tqdm(total=samples, unit=kind.unit, disable=None) as bar:
        rows = review(chosen.method, kind.reviews, predictor, items, lambda case: bar.update())
    click.echo(f"{spec.name}, {method.description}: {len(rows)} of {chosen.studies.name}")
    for row in rows[: chosen.top]:
        click.echo(_line(row))
    about = {
        "task": spec.name,
        "method": chosen.method,
        "weights": path.name,
        "weights_sha256": sha256(path),
        "command": options.command_line(),
    }
    options.save_json(chosen.json_file, {"about": about, "images": rows})


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['id']}  not scored: {row['error']}"
    figures = [f"{name} {_shown(value)}" for name, value in row.items() if _shown(value)]
    return "  ".join([row["id"], *figures[1:]])


def _shown(value: Any) -> str:
    """Return a figure as text: doubted objects by fault and box, lists of images as nothing."""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        boxes = [one for one in value if isinstance(one, dict)]
        return ", ".join(f"{one['kind']} at {_box(one['box'])}" for one in boxes[:3])
    return str(value)


def _box(box: list[tuple[int, int]]) -> str:
    return " x ".join(f"{start}..{stop}" for start, stop in box)
