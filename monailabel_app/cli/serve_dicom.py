"""`serve-dicom`: an archive with demo studies, and the server on it, for this machine alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monailabel_app.cli import options
from monailabel_app.config import DEFAULT_MODELS, load_own_tasks

if TYPE_CHECKING:
    from lib.phantoms.dicom_study import DemoStudy
    from monailabel_app.archive.orthanc import Orthanc

# for each kind of demo study; the models that ship are served with them
TASKS = ("busi_lesion", "nerve_cine", "ultrasound3d_structures", "volume_vnet", "density_birads")
_USER = "server"


@dataclass(frozen=True, kw_only=True)
class ServeDicomOptions:
    """What `serve-dicom` is asked for."""

    folder: Path = options.argument("folder", type=options.FOLDER)
    models: Path = options.models()
    port: int = options.port()
    archive_port: int = options.option(
        "--archive-port", type=click.IntRange(1, 65535), default=8042
    )
    dicom_port: int | None = options.option(
        "--dicom-port",
        type=click.IntRange(1, 65535),
        help="Take images by C-STORE too, from AE title DEMO on this machine.",
    )
    count: int = options.option("--count", type=click.IntRange(0, 99), default=1)
    seed: int = options.seed()
    conf: tuple[tuple[str, str], ...] = options.conf(help="As for `serve`.")
    verbose: bool = options.verbose()


@click.command(name="serve-dicom")
@options.of(ServeDicomOptions)
def serve_dicom(chosen: ServeDicomOptions) -> None:
    """Start an Orthanc in FOLDER with the studies of COUNT times four patients, and the server.

    Both answer this machine alone; Ctrl-C stops both. FOLDER keeps images and labels. Orthanc gets
    a new password each time, which only the server knows.
    """
    import secrets

    from monailabel_app.archive.orthanc import Orthanc
    from monailabel_app.cli.serve import Server

    own = load_own_tasks(dict(chosen.conf))
    password = secrets.token_urlsafe(24)
    orthanc = Orthanc(
        chosen.folder, chosen.archive_port, chosen.dicom_port, {_USER: password}
    ).start()
    try:
        from lib.phantoms.demo_archive import demo_archive

        click.echo(f"Orthanc is ready at {orthanc.url}; storing demo studies ...")
        studies = demo_archive(chosen.seed, chosen.count)
        _store(orthanc, password, studies)
        models = ",".join(dict.fromkeys((*DEFAULT_MODELS, *TASKS, *own)))
        defaults = {"models": models, "archive_cache": str((chosen.folder / "cache").resolve())}
        server = Server(
            studies=orthanc.url,
            models=chosen.models,
            host="127.0.0.1",
            port=chosen.port,
            conf={**defaults, **dict(chosen.conf)},
            verbose=chosen.verbose,
            environment={
                "MONAI_LABEL_DATASTORE_USERNAME": _USER,
                "MONAI_LABEL_DATASTORE_PASSWORD": password,
            },
        )
        server.run(ready=lambda: _say_what_to_open(server.address, studies))
    finally:
        orthanc.stop()


def _store(orthanc: Orthanc, password: str, studies: Sequence[DemoStudy]) -> None:
    from monailabel_app.archive.dicomweb import Archive

    archive = Archive(orthanc.url, _USER, password)
    for study in studies:
        archive.store(study.datasets)


def _say_what_to_open(address: str, studies: Sequence[DemoStudy]) -> None:
    """Print the addresses of server and viewers."""
    viewer = f"{address}/ohif/monai-label?StudyInstanceUIDs="
    lines = [f"  {study.kind:<15}{viewer}{study.study}" for study in studies]
    click.echo(
        f"""
MONAI Label is ready at {address}  (Ctrl-C stops it and the archive)

OHIF, the study list:  {address}/ohif/
{chr(10).join(lines)}

3D Slicer: module MONAI Label, server {address}
"""
    )
