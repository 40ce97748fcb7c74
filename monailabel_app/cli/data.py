"""`demo-data` and `import`: studies folders to work with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from monailabel_app.cli import options

Progress = Callable[[int, int], object]

MAMMOGRAMS = ("inbreast", "mini_mias", "density")
# how many of each kind of phantom, by what was asked for
ULTRASOUND: dict[str, Callable[[int], dict[str, int]]] = {
    "ultrasound": lambda count: {"nerves": (count + 1) // 2, "breasts": count // 2},
    "breast": lambda count: {"nerves": 0, "breasts": count, "volumes": 0, "loops": 0},
    "volumes": lambda count: {"nerves": 0, "breasts": 0, "volumes": count, "loops": 0},
    "loops": lambda count: {"nerves": 0, "breasts": 0, "volumes": 0, "loops": count},
}


@click.command(name="demo-data")
@click.argument("folder", type=options.FOLDER)
@click.option(
    "--kind",
    type=click.Choice(["nuclei", *ULTRASOUND, "nerve", "mammograms"]),
    default="nuclei",
    show_default=True,
    help="nerve: in the layout of Kaggle ultrasound-nerve-segmentation, for `import nerve`.",
)
@click.option("--count", type=click.IntRange(1, 9999), default=12, show_default=True)
@click.option("--labelled", type=click.IntRange(0), default=6, show_default=True)
@options.seed
def demo_data(folder: Path, kind: str, count: int, labelled: int, seed: int) -> None:
    """Make a studies FOLDER of synthetic images; what is there already is kept.

    nuclei: microscopy. ultrasound: COUNT nerve and breast frames, volumes and a loop. breast: COUNT
    breast frames alone. volumes: 3D ultrasound of a gland. loops: ultrasound of a nerve over time.
    nerve: COUNT frames of several subjects, all with masks, in the published layout. mammograms:
    COUNT exams of four views as DICOM, of density A to D.
    """
    if kind == "mammograms":
        from lib.phantoms.mammograms.exams import write_exams

        share = min(labelled / count, 1.0)
        views = write_exams(folder, seed, count, labelled=share)
        click.echo(
            f"{len(views)} views of {count} exams in {folder}, {round(share * count)} of the exams "
            f"made with labels"
        )
        return
    if kind == "nerve":
        from lib.datasets.nerve import write_nerve_phantoms

        subjects = max(min(count, 4), count // 6)  # fewer than 3 cannot be split
        each = -(-count // subjects)
        made = write_nerve_phantoms(folder, seed, subjects, each)
        click.echo(f"{made} images of {subjects} subjects in {folder}, for `import nerve`")
        return
    if kind in ULTRASOUND:
        from lib.phantoms.ultrasound.studies import write_ultrasound_studies

        share = min(labelled / count, 1.0)
        images = write_ultrasound_studies(folder, seed, labelled=share, **ULTRASOUND[kind](count))
        click.echo(f"{len(images)} images in {folder}, {share:.0%} of each kind made with labels")
        return
    from lib.phantoms.nuclei import write_nuclei_studies

    images = write_nuclei_studies(folder, count, labelled, seed)
    click.echo(f"{len(images)} images in {folder}, {min(labelled, count)} of them made with labels")


@click.command(name="import")
@click.argument("dataset", type=click.Choice(["dsb2018", "nerve", "busi", "stack", *MAMMOGRAMS]))
@click.argument("source", type=options.FOLDER)
@click.argument("folder", type=options.FOLDER)
@click.option(
    "--spacing",
    type=float,
    nargs=3,
    metavar="Z Y X",
    help="stack: mm between slices, rows and columns.",
)
@click.option(
    "--drop-contradictions",
    is_flag=True,
    help="nerve: import without label the empty one of nearly equal frames with and without mask.",
)
@click.option(
    "--table",
    type=options.FILE,
    help="density: the CSV of densities; by default the one in SOURCE that has such a column.",
)
def import_dataset(
    dataset: str,
    source: Path,
    folder: Path,
    spacing: tuple[float, float, float] | None,
    drop_contradictions: bool,
    table: Path | None,
) -> None:
    """Import DATASET as published from SOURCE into the studies FOLDER.

    dsb2018: Kaggle Data Science Bowl 2018: stage1_train/ID/images with masks, or images/, labels/.

    nerve: Kaggle ultrasound-nerve-segmentation: train/S_I.tif with train/S_I_mask.tif.

    busi: Dataset_BUSI_with_GT/CLASS/CLASS (N).png with masks, or images/, labels/, labels.csv.

    stack: 2D slices, labels in labels/final, as one volume; or one volume for each folder.

    inbreast: AllDICOMs/ID_PATIENT_MG_SIDE_VIEW_ANON.dcm, or the same names as PNG, INbreast.csv.

    mini_mias: mdbNNN.pgm with Info.txt, or images/ with labels.csv.

    density: mammograms as DICOM, or named EXAM_R-CC.png, with a CSV of their densities (--table).
    """
    if table and dataset != "density":
        raise click.UsageError(f"--table is of `import density`; {dataset} has its own")
    if (dataset == "stack") != (spacing is not None):
        raise click.UsageError(
            "import stack needs --spacing Z Y X, mm between slices, rows and columns"
            if spacing is None
            else f"--spacing is of `import stack`; {dataset} has its own pixels, leave it away"
        )
    if drop_contradictions and dataset != "nerve":
        raise click.UsageError(f"--drop-contradictions is of `import nerve`, not of {dataset}")
    with _progress(dataset) as show:
        if dataset in MAMMOGRAMS:
            told = _import_mammograms(dataset, source, folder, table, show)
        else:
            told = _import(dataset, source, folder, spacing, drop_contradictions, show)
    for line in told:
        click.echo(line)


def _import(
    dataset: str,
    source: Path,
    folder: Path,
    spacing: tuple[float, float, float] | None,
    drop_contradictions: bool,
    show: Progress,
) -> list[str]:
    """Import and return what to tell."""
    if dataset == "nerve":
        from lib.datasets.nerve import CONTRADICTIONS, import_nerve

        nerve = import_nerve(source, folder, show, drop_contradictions)
        dropped = "; the empty ones were imported without label" if drop_contradictions else ""
        return [
            f"{sum(nerve.frames.values())} images of {len(nerve.frames)} subjects imported into "
            f"{folder}, {sum(nerve.marked.values())} with a nerve",
            f"{len(nerve.contradictions)} pairs of nearly equal frames with and without a mask, in "
            f"{CONTRADICTIONS}{dropped}",
        ]
    if dataset == "busi":
        from lib.datasets.busi import DUPLICATES, import_busi

        busi = import_busi(source, folder, show)
        classes = ", ".join(f"{count} {kind}" for kind, count in sorted(busi.classes.items()))
        return [
            f"{sum(busi.classes.values())} images imported into {folder}: {classes}",
            f"{len(busi.duplicates)} pairs show the same, in {DUPLICATES}: {busi.groups} groups to "
            f"split, {len(busi.two_classes)} of them of more than one class",
        ]
    if dataset == "stack":
        from lib.datasets.stacks import import_stack

        assert spacing is not None
        count = import_stack(source, folder, spacing, show)
        return [f"{count} volumes imported into {folder}"]
    from lib.datasets.dsb2018 import import_dsb2018

    return [f"{import_dsb2018(source, folder, show)} images imported into {folder}"]


def _import_mammograms(
    dataset: str, source: Path, folder: Path, table: Path | None, show: Progress
) -> list[str]:
    """Import and return what to tell."""
    from lib.datasets.density_folder import import_density_folder
    from lib.datasets.inbreast import import_inbreast
    from lib.datasets.mini_mias import import_mini_mias

    if dataset == "density":
        return import_density_folder(source, folder, show, table).lines()
    return {"inbreast": import_inbreast, "mini_mias": import_mini_mias}[dataset](
        source, folder, show
    ).lines()


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """Yield a function that shows the number done of the number in all, on a terminal."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="image", disable=not sys.stderr.isatty()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


COMMANDS = {"demo-data": demo_data, "import": import_dataset}
