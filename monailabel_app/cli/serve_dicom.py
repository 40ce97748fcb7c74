"""`serve-dicom`: an archive with demo studies, and the server on it, for this machine alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monailabel_app.cli import options

if TYPE_CHECKING:
    from lib.phantoms.dicom_studies import DemoStudy
    from monailabel_app.archive.orthanc import Orthanc

TASKS = "busi_lesion,nerve_cine,ultrasound3d_structures,density_birads"
_USER = "server"


@click.command(name="serve-dicom")
@click.argument("folder", type=options.FOLDER)
@options.models
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--archive-port", type=click.IntRange(1, 65535), default=8042, show_default=True)
@click.option(
    "--dicom-port",
    type=click.IntRange(1, 65535),
    help="Take images by C-STORE too, from AE title DEMO on this machine.",
)
@click.option("--count", type=click.IntRange(0, 99), default=2, show_default=True)
@options.seed
@click.option("--conf", nargs=2, multiple=True, metavar="KEY VALUE", help="As of `serve`.")
@click.option("--verbose", is_flag=True, help="Show the server's log of every request.")
def serve_dicom(
    folder: Path,
    models: Path,
    port: int,
    archive_port: int,
    dicom_port: int | None,
    count: int,
    seed: int,
    conf: tuple[tuple[str, str], ...],
    verbose: bool,
) -> None:
    """Start an Orthanc in FOLDER with COUNT demo studies of each kind, and the server on it.

    Both answer this machine alone; Ctrl-C stops both. FOLDER keeps images and labels; Orthanc
    has a password that is made anew each time and that the server alone knows.
    """
    import secrets

    from monailabel_app.archive.orthanc import Orthanc
    from monailabel_app.cli.serve import run_server

    password = secrets.token_urlsafe(24)
    orthanc = Orthanc(folder, archive_port, dicom_port, {_USER: password}).start()
    try:
        from lib.phantoms.dicom_studies import demo_studies

        click.echo(f"Orthanc is ready at {orthanc.url}; storing demo studies ...")
        studies = demo_studies(seed, count)
        _store(orthanc, password, studies)
        given = dict(conf)
        given.setdefault("models", TASKS)
        given.setdefault("archive_cache", str((folder / "cache").resolve()))
        run_server(
            orthanc.url,
            models,
            ("127.0.0.1", port),
            tuple(given.items()),
            verbose,
            lambda: _say_what_to_open(port, studies),
            {
                "MONAI_LABEL_DATASTORE_USERNAME": _USER,
                "MONAI_LABEL_DATASTORE_PASSWORD": password,
            },
        )
    finally:
        orthanc.stop()


def _store(orthanc: Orthanc, password: str, studies: Sequence[DemoStudy]) -> None:
    from monailabel_app.archive.dicomweb import Archive

    archive = Archive(orthanc.url, _USER, password)
    for study in studies:
        for data in study.datasets:
            archive.store(data)


def _say_what_to_open(port: int, studies: Sequence[DemoStudy]) -> None:
    address = f"http://127.0.0.1:{port}"
    viewer = f"{address}/ohif/monai-label?StudyInstanceUIDs="
    lines = [f"  {study.kind:<12}{viewer}{study.study}" for study in studies]
    click.echo(
        f"""
MONAI Label is ready at {address}  (Ctrl-C stops it and the archive)

OHIF, the study list:  {address}/ohif/
{chr(10).join(lines)}

3D Slicer: module MONAI Label, server {address}
"""
    )


COMMANDS = {"serve-dicom": serve_dicom}
