"""`reproduce`: run a published study again, and set its tables beside ours."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lib.errors import InputError
from monailabel_app.cli import options
from monailabel_app.config import SHIPPED_MODELS

if TYPE_CHECKING:  # every verb's help would load numpy
    from benchmarks.reproduction.study import Study, Variant


def _numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a text such as "0,1,2"; none if it is no list of whole numbers."""
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


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """What `reproduce` is asked for."""

    study: str = options.argument("study")
    studies: Path | None = options.studies(
        required=False, help="Folder of images and labels, or the set as published."
    )
    out: Path | None = options.out(help="Folder of the runs; default runs/STUDY.")
    variants: str = options.option(
        "--variants", "--task", default="all", help="Tasks separated by commas, or all."
    )
    sizes: tuple[int, ...] | Literal["all"] = options.option(
        "--sizes",
        callback=_sizes,
        help="density: input sizes in pixels, as in 250,350, or all printed ones; by default the "
        "one that was best in the publication.",
    )
    folds: int | None = options.option(
        "--folds", type=click.IntRange(2), help="density: of the cross-validation."
    )
    steps: int | None = options.steps(help="Of each run; by default the study's.")
    epochs: int | None = options.epochs(help="Passes of each run, instead of --steps.")
    seeds: tuple[int, ...] = options.option(
        "--seeds", "--seed", default="0", callback=_seeds, help="As in 0,1,2."
    )
    recipe: str = options.option(
        "--recipe",
        default="",
        show_default=False,
        metavar="[ours|thesis|slides]",
        help="Of every variant, ours or the publication's; by default ours, and both where the "
        "study reports a collapse.",
    )
    prior: Path | None = options.option(
        "--prior",
        type=options.FILE,
        help="Weights that From_Prior starts from; by default the shipped ones of nuclei_vhllrhe "
        "if they fit the network, else those of a short run on phantoms of nuclei.",
    )
    device: str = options.device()
    precision: str = options.precision()
    jobs: int | None = options.jobs(help="Runs at the same time, on one device.")
    page_only: bool = options.flag("--page-only", help="Only write the page again, train nothing.")
    json_file: Path | None = options.json_file()
    page: Path | None = options.page(help="Markdown page; by default beside the JSON.")


@click.command()
@options.of(ReproduceOptions)
def reproduce(chosen: ReproduceOptions) -> None:
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

    study = get_study(chosen.study)
    out = chosen.out or Path("runs") / study.name
    if chosen.steps and chosen.epochs:
        raise InputError("give --steps or --epochs, not both")
    if chosen.sizes != "all":
        study = study.at_sizes(chosen.sizes)
    variants = tuple(study.choose(chosen.variants))
    if chosen.sizes != "all":
        variants = tuple(study.of_sizes(variants, chosen.sizes))
    json_file = chosen.json_file or out / "report.json"
    report = _stored(json_file) if chosen.page_only else _run(chosen, study, variants, out)
    _write_page(report, out, chosen.page, json_file)
    failed = [run["folder"] for run in report["runs"] if run["status"] == "failed"]
    if failed:
        click.echo(f"Error: no figures of {', '.join(failed)}; the page says why", err=True)
        sys.exit(2)


def _run(
    chosen: ReproduceOptions, study: Study, variants: tuple[Variant, ...], out: Path
) -> dict[str, Any]:
    """Do the runs that are not finished, and return the report on all."""
    if chosen.studies is None:
        raise InputError("Missing option '--studies': the folder of images and labels")
    from benchmarks.harness.campaign import Execution
    from benchmarks.reproduction.campaign import reproduce
    from benchmarks.reproduction.initial_weights import NUCLEI
    from benchmarks.reproduction.plan import Campaign
    from benchmarks.reproduction.sources import study_items

    campaign = Campaign(
        study=study,
        out=out,
        variants=variants,
        steps=chosen.steps,
        epochs=chosen.epochs,
        folds=chosen.folds,
        seeds=chosen.seeds,
        recipe=chosen.recipe,
        jobs=options.how_many_at_once(chosen.jobs),
        execution=Execution(chosen.device, chosen.precision, command=options.command_line()),
        data_name=chosen.studies.name,
        initial_weights=chosen.prior,
        shipped=SHIPPED_MODELS / f"pretrained_{NUCLEI}.pt",
    )
    say = partial(click.echo, err=True)
    items = study_items(chosen.studies, study.importer, out / "studies", study.subject, say)
    report = reproduce(campaign, items, say)
    options.save_json(chosen.json_file, report)
    return report


def _write_page(report: dict[str, Any], out: Path, page: Path | None, json_file: Path) -> None:
    """Write the page, and name what could not be drawn."""
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
