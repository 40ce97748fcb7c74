"""`reproduce`: the runs of a published study, its tables beside ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import click

from lib.errors import InputError
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS


def _numbers(text: str) -> tuple[int, ...]:
    """Read "0,1,2"; nothing where that is no list of whole numbers."""
    try:
        return tuple(dict.fromkeys(int(word) for word in text.split(",") if word.strip()))
    except ValueError:
        return ()


def _seeds(ctx: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    seeds = _numbers(text)
    if not seeds or min(seeds) < 0:
        raise InputError(f"--seeds '{text}': expected whole numbers from 0, as in 0,1,2")
    return seeds


def _sizes(
    ctx: click.Context, option: click.Parameter, text: str | None
) -> tuple[int, ...] | Literal["all"]:
    if text is None or text.strip() == "all":
        return "all" if text else ()
    sizes = _numbers(text)
    if not sizes or min(sizes) < 1:
        raise InputError(f"--sizes '{text}': expected pixels, as in 250,350, or all")
    return sizes


@click.command()
@click.argument("study")
@click.option(
    "--studies", type=options.FOLDER, help="Folder of images and labels, or the set as published."
)
@click.option("--out", type=options.FOLDER, help="Folder of the runs; default runs/STUDY.")
@click.option(
    "--variants",
    "--task",
    default="all",
    show_default=True,
    help="Tasks separated by commas, or all.",
)
@click.option(
    "--sizes",
    callback=_sizes,
    help="density: input sizes in pixels, as in 250,350, or all printed ones; by default the one "
    "that was best in the publication.",
)
@click.option("--folds", type=click.IntRange(2), help="density: of the cross-validation.")
@click.option("--steps", type=click.IntRange(1), help="Of each run; by default the study's.")
@click.option("--epochs", type=click.IntRange(1), help="Passes of each run, instead of --steps.")
@click.option(
    "--seeds", "--seed", default="0", show_default=True, callback=_seeds, help="As in 0,1,2."
)
@click.option(
    "--recipe",
    default="",
    metavar="[ours|thesis|slides]",
    help="Of every variant, ours or the publication's; by default ours, and both where the study "
    "reports a collapse.",
)
@click.option(
    "--prior",
    type=options.FILE,
    help="Weights that From_Prior starts from; by default the shipped ones of nuclei_vhllrhe where "
    "they fit the network, else those of a short run on phantoms of nuclei.",
)
@options.device
@options.precision
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Runs at the same time."
)
@click.option("--page-only", is_flag=True, help="Only write the page again, train nothing.")
@options.json_file
@click.option("--page", type=options.FILE, help="Markdown page; by default beside the JSON.")
def reproduce(
    study: str,
    studies: Path | None,
    out: Path | None,
    variants: str,
    sizes: tuple[int, ...] | Literal["all"],
    folds: int | None,
    steps: int | None,
    epochs: int | None,
    seeds: tuple[int, ...],
    recipe: str,
    prior: Path | None,
    device: str,
    precision: str,
    jobs: int,
    page_only: bool,
    json_file: Path | None,
    page: Path | None,
) -> None:
    """Run STUDY again and set its printed figures beside ours.

    thesis-nuclei: U-Net and V-Net variants. thesis-nerve: From_Prior, No_Prior and Dice alone at
    three learning rates. busi: lesions, by the nerve recipe. density: breast density by input size,
    cross-validated by patient. All but the first also take the data set as published (density:
    INbreast, mini-MIAS, or mammograms with a table), which is imported into OUT/studies.

    Each variant, seed and fold is a run in OUT that goes on where it was; a finished one is not
    repeated. OUT/report.json holds all figures, the page shows them. A run that fails is reported
    and does not stop the others; the exit status is then 2.
    """
    from benchmarks.reproduction.published.catalogue import get_study

    table = get_study(study)
    out = out or Path("runs") / table.name
    if page is not None and not page.parent.is_dir():
        raise InputError(f"folder '{page.parent}' for --page does not exist; make it first")
    if steps and epochs:
        raise InputError("give --steps or --epochs, not both")
    if sizes != "all":
        table = table.at_sizes(sizes)
    chosen = tuple(table.choose(variants))
    if sizes != "all":
        chosen = tuple(table.of_sizes(chosen, sizes))
    if page_only:
        report = _stored(json_file or out / "report.json")
    else:
        if studies is None:
            raise InputError("Missing option '--studies': the folder of images and labels")
        from benchmarks.harness.campaign import Execution
        from benchmarks.reproduction.campaign import reproduce
        from benchmarks.reproduction.initial_weights import NUCLEI
        from benchmarks.reproduction.plan import Campaign
        from benchmarks.reproduction.sources import study_items

        execution = Execution(device, precision, command=options.command_line())
        campaign = Campaign(
            study=table,
            out=out,
            variants=chosen,
            steps=steps,
            epochs=epochs,
            folds=folds,
            seeds=seeds,
            recipe=recipe,
            jobs=jobs,
            execution=execution,
            data_name=studies.name,
            initial_weights=prior,
            shipped=SHIPPED_MODELS / f"pretrained_{NUCLEI}.pt",
        )
        items = study_items(studies, table.importer, out / "studies", table.subject, _say)
        report = reproduce(campaign, items, _say)
        options.save_json(json_file, report)
    _write_page(report, out, page, json_file or out / "report.json")
    failed = [run["folder"] for run in report["runs"] if run["status"] == "failed"]
    if failed:
        click.echo(f"Error: no figures of {', '.join(failed)}; the page says why", err=True)
        sys.exit(2)


def _write_page(report: dict[str, Any], out: Path, page: Path | None, json_file: Path) -> None:
    """Write the page and say what could not be drawn."""
    from benchmarks.reproduction.pages.page import write_page

    page = page or json_file.with_suffix(".md")
    for line in write_page(report, out, page, json_file):
        click.echo(line, err=True)
    click.echo(f"{page} and {json_file} written")


def _stored(file: Path) -> dict[str, Any]:
    """Read a report that an earlier command wrote."""
    from benchmarks.reproduction.report import FORMAT

    try:
        report: dict[str, Any] = json.loads(file.read_text())
    except OSError:
        raise InputError(f"no report '{file}'; run the study first, without --page-only") from None
    except ValueError:
        raise InputError(f"'{file}' is not a report of `reproduce`; run the study again") from None
    if report.get("format") != FORMAT:
        raise InputError(
            f"'{file}' has format {report.get('format')} of the report, expected {FORMAT}; run the "
            f"study again, which reads finished runs and repeats none"
        )
    return report


def _say(line: str) -> None:
    click.echo(line, err=True)


COMMANDS = {"reproduce": reproduce}
