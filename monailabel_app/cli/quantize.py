"""`quantize`: a network in int8 for answers on CPUs, where its figures stay."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from lib.errors import UnpublishedError
from lib.tasks.registry import get_task
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """What `quantize` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    weights: Path | None = options.weights()
    models: Path = options.models()
    json_file: Path | None = options.json_file()


@click.command()
@options.of(QuantizeOptions)
def quantize(chosen: QuantizeOptions) -> None:
    """Calibrate TASK's network in int8 on labelled images, for answers on CPUs by OpenVINO.

    It is measured on the images that training holds out. If neither mean IoU nor AP falls by more
    than 0.002 it is kept in the folder of models with its figures, and answers where --backend is
    auto or openvino and --precision auto; other weights need another. Else the exit status is 2.
    """
    spec = get_task(chosen.task)
    from tqdm import tqdm

    from lib.kinds import kind_of, list_labelled
    from lib.segmentation.quantization import LOSS
    from lib.segmentation.quantization import quantize as quantized
    from lib.weights.checkpoint import load_checkpoint
    from lib.weights.store import ModelStore
    from monailabel_app.config import SHIPPED_MODELS

    path = chosen.weights or ModelStore(chosen.models, SHIPPED_MODELS).served_path(spec.name)
    if path is None:
        raise UnpublishedError(
            f"'{spec.name}' has no weights yet; train it first, or give --weights FILE"
        )
    items, left_out = kind_of(spec).matching(list_labelled(chosen.studies, spec), spec)
    options.show_left_out(left_out)
    with tqdm(unit="image", disable=None) as bar:
        result = quantized(
            spec, load_checkpoint(path), items, chosen.models, lambda case: bar.update()
        )
    for name, (before, after) in result.figures.items():
        click.echo(f"{name}: {before:.4f} in float32, {after:.4f} in int8 ({after - before:+.4f})")
    click.echo(
        f"{result.measured} images: {result.seconds[0]:.2f} s by torch in float32, "
        f"{result.seconds[1]:.2f} s by OpenVINO in int8; calibrated on {result.calibrated} windows"
    )
    report = {"task": spec.name, "weights": path.name, "command": options.command_line()}
    options.save_json(chosen.json_file, report | asdict(result))
    if not result.kept:
        click.echo(f"Not kept: a figure falls by more than {LOSS}", err=True)
        sys.exit(2)
    click.echo("Kept beside the weights: it answers on CPUs from now on")
