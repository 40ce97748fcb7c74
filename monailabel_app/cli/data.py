"""`demo-data` and `import`: studies folders to work with."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from monailabel_app.cli import options


@click.command(name="demo-data")
@click.argument("folder", type=options.FOLDER)
@click.option("--count", type=click.IntRange(1, 9999), default=12, show_default=True)
@click.option("--labelled", type=click.IntRange(0), default=6, show_default=True)
@options.seed
def demo_data(folder: Path, count: int, labelled: int, seed: int) -> None:
    """Make a studies FOLDER of synthetic microscopy; what is there already is kept."""
    from lib.datasets.phantoms import write_nuclei_studies

    images = write_nuclei_studies(folder, count, labelled, seed)
    click.echo(f"{len(images)} images in {folder}, {min(labelled, count)} of them made with labels")


@click.command(name="import")
@click.argument("dataset", type=click.Choice(["dsb2018"]))
@click.argument("source", type=options.FOLDER)
@click.argument("folder", type=options.FOLDER)
def import_dataset(dataset: str, source: Path, folder: Path) -> None:
    """Import DATASET as published from SOURCE into the studies FOLDER.

    dsb2018: Kaggle Data Science Bowl 2018: stage1_train/ID/images with masks, or images/, labels/.
    """
    from tqdm import tqdm

    from lib.datasets.dsb2018 import import_dsb2018

    with tqdm(desc=dataset, unit="image", disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        count = import_dsb2018(source, folder, show)
    click.echo(f"{count} images imported into {folder}")


COMMANDS = {"demo-data": demo_data, "import": import_dataset}
