"""`batch-infer`: answers on all images of a studies folder, in one process or many."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from monailabel_app.cli import export_options, options

if TYPE_CHECKING:
    from monailabel_app.batch import Answers, Batch

ACCEPTED = "final"
PATIENCE = timedelta(days=30)  # how long a process that is ready waits for the slowest


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What `batch-infer` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    tag: str = options.option("--tag", default="original", help="Folder under labels/.")
    labelled: bool = options.flag("--all", "labelled", help="Also images with an accepted label.")
    models: Path = options.models()
    device: str = options.device()
    precision: str = options.precision()
    backend: str = options.backend()
    channel: str = options.channel()
    flips: bool = options.flips()
    diameter: float = options.diameter()
    result: str | None = options.option(
        "--result",
        type=click.Choice(("mask", "instances")),
        help="Values of label images; by default mask, of which viewers show all.",
    )
    any_modality: bool = options.any_modality()
    processes: int = options.processes()
    exports: dict[str, Path] = export_options.exports()
    json_file: Path | None = options.json_file()


@click.command("batch-infer")
@options.of(BatchOptions)
def batch_infer(chosen: BatchOptions) -> None:
    """Answer with TASK on the unlabelled images of a studies folder, as labels of a tag.

    Images that these weights have answered already are skipped, so a run that was interrupted goes
    on, and one after a retraining does all again. With --table or another export all images are
    answered, so that it is of all. Images that cannot be answered are named and
    passed over; the exit status is then 2.

    With --processes, or under torchrun on one or more machines that share the folder, each process
    takes its share of the images and the next GPU.
    """
    spec, studies, tag = get_task(chosen.task), chosen.studies, chosen.tag
    if not studies.is_dir():
        raise InputError(f"studies folder '{studies}' does not exist; give a folder of images")
    if tag == ACCEPTED:
        raise InputError(
            "--tag final is for labels that somebody accepted; choose another, such as original"
        )
    from infer.build import infer_class
    from lib.exports.targets import write_joint
    from lib.training.parallel import launched_by_torchrun, run_in_processes
    from monailabel_app.batch import Batch, answer_share
    from monailabel_app.cli.predictors import told_diameter
    from monailabel_app.studies.names import check_tag

    check_tag(tag)
    if chosen.flips and not infer_class(spec).takes_flips:
        raise InputError(
            f"--flips is for segmentation, '{spec.name}' does not take it; leave it away"
        )
    diameter = told_diameter(spec, chosen.diameter)
    options.check_channel(chosen.channel, spec)
    export_options.check_exports(chosen.exports, spec, one_image=False)
    batch = Batch(
        task=spec.name,
        folder=studies,
        models=chosen.models,
        tag=tag,
        labelled=chosen.labelled,
        device=chosen.device,
        precision=chosen.precision,
        backend=chosen.backend,
        flips=chosen.flips,
        diameter=diameter,
        result=chosen.result,
        channel=chosen.channel,
        any_modality=chosen.any_modality,
        exports=chosen.exports,
    )
    main = True
    if launched_by_torchrun():
        if chosen.processes > 1:
            raise InputError("--processes and torchrun do not go together; use one of them")
        answers, main = _under_torchrun(batch)
    elif chosen.processes > 1:
        answers = run_in_processes(_share, (batch,), chosen.processes, "gloo", timeout=PATIENCE)
    else:
        answers = answer_share(batch)
    if main:
        write_joint(chosen.exports, answers.pieces)
        for row in answers.written:
            for warning in row["warnings"]:
                click.echo(f"{row['image']}: {warning}", err=True)
        click.echo(
            f"{spec.name} {answers.version}: {len(answers.written)} images answered, "
            f"{answers.skipped} had their answer, {len(answers.failed)} failed; "
            f"labels in {studies.name}/labels/{tag}"
        )
        for name, path in chosen.exports.items():
            click.echo(f"{name}: {path}")
        if over := answers.passed_over:
            click.echo(
                f"{len(over)} images passed over, the first: {next(iter(over))}: "
                f"{next(iter(over.values()))}; --any-modality answers them all the same"
            )
        report = {"task": spec.name, "command": options.command_line(), "tag": tag}
        told = asdict(replace(answers, pieces={}))
        del told["pieces"]
        options.save_json(chosen.json_file, report | told)
    if answers.failed:
        sys.exit(2)


def _under_torchrun(batch: Batch) -> tuple[Answers, bool]:
    """Answer on this process's share; return the answers of all, and whether it is the first."""
    import ignite.distributed as idist

    idist.initialize("gloo", timeout=PATIENCE)
    try:
        return _share(batch), idist.get_rank() == 0
    finally:
        idist.finalize()


def _share(batch: Batch) -> Answers:
    """Answer on the share of this process of a group; return the answers of all."""
    import ignite.distributed as idist
    import torch.distributed

    from monailabel_app.batch import answer_share

    world_size = idist.get_world_size()
    share = answer_share(batch, idist.get_rank(), world_size, idist.get_local_rank())
    shares: list[Answers] = [share] * world_size
    torch.distributed.all_gather_object(shares, share)
    answers, *others = shares
    for other in others:
        answers.add(other)
    return answers
