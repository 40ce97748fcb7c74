"""`list-images`: what of a studies folder can be labelled, what cannot, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from monailabel_app.cli import options
from monailabel_app.config import DEFAULT_MODELS, parse_models


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """What `list-images` is asked for."""

    studies: Path = options.argument("studies", type=options.FOLDER)
    tasks: str = options.option(
        "--tasks",
        default=",".join(DEFAULT_MODELS),
        help="An image must be one for any of these tasks, named as in `--conf models`.",
    )
    json_file: Path | None = options.json_file()


@click.command(name="list-images")
@options.of(ListOptions)
def list_images(chosen: ListOptions) -> None:
    """List the images of the folder STUDIES: labelled, unlabelled, and unreadable with the reason.

    What lies in subfolders is no image of it, and is told too, as are files among the labels that
    count for nothing.
    """
    from tqdm import tqdm

    from lib.data.passed_over import find_passed_over
    from lib.data.readable import unfit_for_all
    from lib.data.studies import list_items
    from lib.errors import InputError
    from lib.tasks.fits import misfit
    from lib.tasks.registry import get_task
    from monailabel_app.studies.readable import Looks

    tasks = [get_task(name) for name in parse_models(chosen.tasks)]
    said = find_passed_over(chosen.studies).sentences if chosen.studies.is_dir() else []
    try:
        items = list_items(chosen.studies)
    except InputError as error:
        raise InputError("; ".join([str(error), *said])) from None
    looks = Looks(chosen.studies)
    rows = []
    for item in tqdm(items, unit="image", disable=None):
        look = looks.at(item.image, whole=True)
        rows.append(
            {
                "id": item.id,
                "file": item.image.name,
                "size": list(look.size),
                "labelled": item.label is not None,
                "unreadable": unfit_for_all(look, item.image.name, tasks),
                "kind": str(look.kind),
                "tasks": [task.name for task in tasks if not misfit(task, look.kind)],
            }
        )
    looks.save()
    unreadable = [row for row in rows if row["unreadable"]]
    labelled = sum(bool(row["labelled"]) for row in rows if not row["unreadable"])
    readable = len(rows) - len(unreadable)
    for row in rows:
        size = " x ".join(map(str, row["size"]))
        misfits = "" if row["tasks"] else f"; none of the tasks is for {row['kind']}"
        status = f"{size}, {'labelled' if row['labelled'] else 'unlabelled'}{misfits}"
        state = row["unreadable"] or status
        click.echo(f"{row['id']}  {'unreadable: ' if row['unreadable'] else ''}{state}")
    click.echo(
        f"{len(rows)} images in {chosen.studies}: {readable} readable, {labelled} of them "
        f"labelled; {len(unreadable)} unreadable"
    )
    for sentence in said:
        click.echo(sentence)
    counts = {"total": readable, "completed": labelled, "unreadable": len(unreadable)}
    options.save_json(chosen.json_file, {**counts, "images": rows, "passed_over": said})
