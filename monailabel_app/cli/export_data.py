"""`export-data`: labelled images in the layouts of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.datasets.exporters import EXPORTERS
from lib.tasks.registry import get_task
from monailabel_app.cli import options
from monailabel_app.cli.data import progress


@dataclass(frozen=True, kw_only=True)
class ExportDataOptions:
    """What `export-data` is asked for."""

    layout: str = options.argument("layout", type=click.Choice(list(EXPORTERS)))
    task: str = options.task()
    studies: Path = options.studies()
    out: Path = options.out(required=True, help="A new folder.")


@click.command(
    name="export-data",
    help="\n\n".join(
        (
            "Write the labelled images of a studies folder in another LAYOUT, with the structures "
            "of TASK.",
            *(f"{name}: {row.title}: {row.layout}." for name, row in EXPORTERS.items()),
        )
    ),
)
@options.of(ExportDataOptions)
def export_data(chosen: ExportDataOptions) -> None:
    """Write labelled images by a row of the table of exporters."""
    task = get_task(chosen.task)
    from lib.errors import InputError
    from lib.kinds import kind_of, list_labelled

    kind = kind_of(task)
    if kind.label != "mask":
        raise InputError(f"'{task.name}' has no masks; export the labels of a segmentation task")
    items, left_out = kind.matching(list_labelled(chosen.studies, task), task)
    options.show_left_out(left_out)
    with progress(chosen.layout) as show:
        lines = EXPORTERS[chosen.layout].run(items, task, chosen.out, show)
    for line in lines:
        click.echo(line)
