"""`agreement`: how far the readers of a studies folder agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class AgreementOptions:
    """What `agreement` is asked for."""

    studies: Path = options.argument("studies", type=options.FOLDER)
    task: str | None = options.option(
        "--task", help="Names the structures; by default each value is one."
    )
    image: str | None = options.option("--image", help="Only this image, by its id.")
    json_file: Path | None = options.json_file()


@click.command()
@options.of(AgreementOptions)
def agreement(chosen: AgreementOptions) -> None:
    """Compare the labels of each two readers of STUDIES.

    Prints Dice and Cohen's kappa of label images; of densities the share of exams with the same
    class, kappa with linear weights, and which classes were given. Of each reader the newest label
    counts. The server answers the same to GET /agreement.
    """
    from lib.tasks.registry import get_task
    from monailabel_app.studies.agreement import agreement as compare

    spec = get_task(chosen.task) if chosen.task else None
    report = compare(chosen.studies, chosen.studies, spec, chosen.image)
    masks, densities = report.get("masks", {}), report.get("densities", {})
    for row in masks.get("images", ()):
        click.echo(f"{row['image']}  {_readers(row)}  {row.get('error') or _figures(row)}")
    for row in masks.get("pairs", ()):
        click.echo(f"mean  {_readers(row)}  {_figures(row)}")
    for row in densities.get("exams", ()):
        given = ", ".join(f"{name} {density}" for name, density in row["densities"].items())
        click.echo("  ".join(filter(None, (row["exam"], given, row.get("error")))))
    for row in densities.get("pairs", ()):
        click.echo(
            f"{_readers(row)}  {row['exams']} exams, the same class {row['percent_agreement']:.1f} "
            f"%, linear kappa {_shown(row['kappa'])}"
        )
        width = max(map(len, row["classes"])) + 2
        click.echo("".join(f"{name:>{width}}" for name in ("", *row["classes"])))
        for name, counts in zip(row["classes"], row["confusion"], strict=True):
            click.echo("".join(f"{cell:>{width}}" for cell in (name, *counts)))
    if not (masks.get("images") or densities.get("exams")):
        click.echo(f"no image of {chosen.studies.name} has labels of two readers")
    options.save_json(chosen.json_file, {**report, "command": options.command_line()})


def _readers(row: dict[str, Any]) -> str:
    return " and ".join(row["readers"])


def _figures(row: dict[str, Any]) -> str:
    dice = [f"Dice of {name} {_shown(value)}" for name, value in row["dice"].items()]
    return ", ".join([*dice, f"kappa {_shown(row['kappa'])}"])


def _shown(figure: Any) -> str:
    """Return a figure, or the mean of several with their number, as text."""
    if isinstance(figure, dict):
        return f"{_shown(figure['mean'])} (n {figure['n']})"
    return "undefined" if figure is None else f"{figure:.4f}"
