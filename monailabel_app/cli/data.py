"""`demo-data` and `import`: studies folders to work with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from lib.datasets.importers import IMPORTERS, ImportOption
from lib.datasets.importing import OnItem
from monailabel_app.cli import options

Command = TypeVar("Command", bound=Callable[..., Any])

FOR_TYPE: dict[type, click.ParamType] = {Path: options.FILE}  # how click reads a type of the table
NONE = {"nerves": 0, "breasts": 0, "volumes": 0, "loops": 0}
# --kind to the number of phantoms of each kind
ULTRASOUND: dict[str, Callable[[int], dict[str, int]]] = {
    "ultrasound": lambda count: {"nerves": (count + 1) // 2, "breasts": count // 2},
    "breast": lambda count: {**NONE, "breasts": count},
    "volumes": lambda count: {**NONE, "volumes": count},
    "poor-volumes": lambda count: {**NONE, "poor_volumes": count},
    "loops": lambda count: {**NONE, "loops": count},
}


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What `demo-data` is asked for."""

    folder: Path = options.argument("folder", type=options.FOLDER)
    kind: str = options.option(
        "--kind",
        type=click.Choice(["nuclei", *ULTRASOUND, "nerve", "mammograms"]),
        default="nuclei",
        help="nerve: in the layout of Kaggle ultrasound-nerve-segmentation, for `import nerve`.",
    )
    count: int = options.option("--count", type=click.IntRange(1, 9999), default=12)
    labelled: int = options.option("--labelled", type=click.IntRange(0), default=6)
    seed: int = options.seed()

    @property
    def share(self) -> float:
        """Share of the images that get a label."""
        return min(self.labelled / self.count, 1.0)


@click.command(name="demo-data")
@options.of(DemoOptions)
def demo_data(chosen: DemoOptions) -> None:
    """Make a studies FOLDER of synthetic images; files that exist already are kept.

    nuclei: microscopy. ultrasound: COUNT nerve and breast frames, volumes and a loop. breast: COUNT
    breast frames alone. volumes: 3D ultrasound of a gland. poor-volumes: small, blurred ones of low
    contrast, with drop-outs, half of them fans. loops: ultrasound of a nerve over time.
    nerve: COUNT frames of several subjects, all with masks, in the published layout. mammograms:
    COUNT exams of four views as DICOM, of density A to D.
    """
    kind = chosen.kind
    make = {"nuclei": _nuclei, "nerve": _nerve, "mammograms": _mammograms}.get(kind, _ultrasound)
    click.echo(make(chosen))


def _nuclei(chosen: DemoOptions) -> str:
    from lib.phantoms.nuclei import write_nuclei_studies

    folder, count = chosen.folder, chosen.count
    images = write_nuclei_studies(folder, count, chosen.labelled, chosen.seed)
    return f"{len(images)} images in {folder}, {min(chosen.labelled, count)} of them with labels"


def _nerve(chosen: DemoOptions) -> str:
    from lib.phantoms.ultrasound.studies import write_nerve_phantoms

    subjects = max(min(chosen.count, 4), chosen.count // 6)  # fewer than 3 cannot be split
    frames = -(-chosen.count // subjects)
    made = write_nerve_phantoms(chosen.folder, chosen.seed, subjects, frames)
    return f"{made} images of {subjects} subjects in {chosen.folder}, for `import nerve`"


def _mammograms(chosen: DemoOptions) -> str:
    from lib.phantoms.mammograms.exams import write_exams

    views = write_exams(chosen.folder, chosen.seed, chosen.count, labelled=chosen.share)
    return (
        f"{len(views)} views of {chosen.count} exams in {chosen.folder}, "
        f"{round(chosen.share * chosen.count)} of the exams with labels"
    )


def _ultrasound(chosen: DemoOptions) -> str:
    from lib.phantoms.ultrasound.studies import write_ultrasound_studies

    images = write_ultrasound_studies(
        chosen.folder,
        chosen.seed,
        labelled=chosen.share,
        **ULTRASOUND[chosen.kind](chosen.count),
    )
    return f"{len(images)} images in {chosen.folder}, {chosen.share:.0%} of each kind with labels"


def _import_options(command: Command) -> Command:
    """Add the options of all importers to a command."""
    options_by_name = {o.name: o for row in IMPORTERS.values() for o in row.options}
    for option in reversed(options_by_name.values()):
        command = click.option(
            option.flag,
            is_flag=not option.values,
            type=FOR_TYPE.get(option.type, option.type),
            nargs=max(1, len(option.values)),
            metavar=" ".join(option.values) or None,
            help=f"{', '.join(_takers(option))}: {option.help}",
        )(command)
    return command


def _takers(option: ImportOption) -> list[str]:
    """Return the data sets whose importer takes `option`."""
    return [name for name, row in IMPORTERS.items() if option in row.options]


@click.command(
    name="import",
    help="\n\n".join(
        (
            "Import DATASET as published from SOURCE into the studies FOLDER.",
            *(f"{name}: {row.title}: {row.layout}." for name, row in IMPORTERS.items()),
        )
    ),
)
@click.argument("dataset", type=click.Choice(list(IMPORTERS)))
@click.argument("source", type=options.FOLDER)
@click.argument("folder", type=options.FOLDER)
@_import_options
def import_dataset(dataset: str, source: Path, folder: Path, **chosen: Any) -> None:
    """Import a data set by its row of the table of importers."""
    importer = IMPORTERS[dataset]
    chosen = {name: value for name, value in chosen.items() if value not in (None, False)}
    for option in (o for row in IMPORTERS.values() for o in row.options if o.name in chosen):
        if option not in importer.options:
            raise click.UsageError(
                f"{option.flag} is for `import {'|'.join(_takers(option))}`, not for {dataset}; "
                f"leave it out"
            )
    for option in importer.options:
        if option.required and option.name not in chosen:
            values = " ".join((option.flag, *option.values))
            raise click.UsageError(f"import {dataset} needs {values}: {option.help.rstrip('.')}")
    with progress(dataset) as show:
        report = importer.run(source, folder, show, **chosen)
    for line in report.lines:
        click.echo(line)


@contextmanager
def progress(what: str) -> Iterator[OnItem]:
    """Yield a function that shows on a terminal how many items are done, and of how many."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="image", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
