"""`labels`: the versions of accepted labels; one of them is put back."""

from __future__ import annotations

from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import click

from lib.errors import InputError
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class LabelsOptions:
    """What `labels` is asked for."""

    studies: Path = options.argument("studies", type=options.FOLDER)
    image: str | None = options.option("--image", help="Only this image, by its id.")
    restore: int | None = options.positive(
        "--restore", metavar="VERSION", help="Make this version of --image the accepted one again."
    )
    json_file: Path | None = options.json_file()


@click.command()
@options.of(LabelsOptions)
def labels(chosen: LabelsOptions) -> None:
    """List who accepted which labels in STUDIES, when and from where; put an earlier one back."""
    from monailabel_app.studies.datastore import StudiesDatastore

    if not chosen.studies.is_dir():
        raise InputError(f"studies folder '{chosen.studies}' does not exist; give one with labels")
    store = StudiesDatastore(str(chosen.studies))
    if chosen.restore:
        if not chosen.image:
            raise InputError(
                "--restore needs an image: labels STUDIES --image ID --restore VERSION"
            )
        store.restore_label(chosen.image, chosen.restore, getuser())
        click.echo(f"{chosen.image}: version {chosen.restore} is accepted again")
    images = [chosen.image] if chosen.image else store.list_images()
    found = {image: store.label_versions(image) for image in images}
    for image, versions in found.items():
        for one in versions:
            mark = "*" if one.file and one is versions[-1] else " "
            what = f"{one.reader}  {one.client}" if one.file else "taken away"
            if one.restored_by:
                what += f"  put back by {one.restored_by} from {one.restored_from}"
            click.echo(f"{mark} {image}  {one.number:4}  {one.time:%Y-%m-%d %H:%M:%S}Z  {what}")
    if not any(found.values()):
        click.echo(f"no label of {chosen.studies.name} was accepted yet")
    options.save_json(
        chosen.json_file,
        {image: [one.as_dict() for one in versions] for image, versions in found.items()},
    )
