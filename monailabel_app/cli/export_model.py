"""`export-model`: a model for others, as a MONAI Bundle or as ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.errors import InputError, UnpublishedError
from lib.tasks.registry import get_task
from monailabel_app import __version__
from monailabel_app.cli import options

LICENCE = Path(__file__).resolve().parents[2] / "LICENSE"  # a wheel has it elsewhere


@dataclass(frozen=True, kw_only=True)
class ExportModelOptions:
    """What `export-model` is asked for."""

    task: str = options.task()
    format: str = options.option("--format", type=click.Choice(["bundle", "onnx"]), required=True)
    out: Path = options.option(
        "--out",
        type=click.Path(path_type=Path),
        required=True,
        help="A new folder for a bundle, a file that ends in .onnx for ONNX.",
    )
    weights: Path | None = options.weights()
    models: Path = options.models()
    json_file: Path | None = options.json_file()


@click.command("export-model")
@options.of(ExportModelOptions)
def export_model(chosen: ExportModelOptions) -> None:
    """Write TASK's model for use without this app.

    bundle: a MONAI Bundle, which loads and answers by `python -m monai.bundle run`. onnx: from
    prepared images to probabilities; the file says how images are prepared. It needs the packages
    of requirements-exchange.txt, and is written only if onnxruntime answers as torch does.
    """
    task, out = get_task(chosen.task), chosen.out
    if (chosen.format == "onnx") != (out.suffix.lower() == ".onnx"):
        expected = "a file that ends in .onnx" if chosen.format == "onnx" else "a new folder"
        raise InputError(f"--out '{out.name}': expected {expected} for --format {chosen.format}")
    if chosen.format == "onnx":
        from lib.exchange.onnx_model import check_installed

        check_installed()
        if not out.parent.is_dir():
            raise InputError(f"folder '{out.parent}' for --out does not exist; make it first")
    from lib.exchange.about import About
    from lib.exchange.bundle import write_bundle
    from lib.kinds import kind_of
    from lib.weights.checkpoint import load_checkpoint
    from lib.weights.store import ModelStore
    from monailabel_app.config import SHIPPED_MODELS

    store = ModelStore(chosen.models, SHIPPED_MODELS)
    path = chosen.weights or store.served_path(task.name)
    if path is None:
        raise UnpublishedError(
            f"'{task.name}' has no weights yet; train it first, or give --weights FILE"
        )
    checkpoint = load_checkpoint(path)
    task, _ = kind_of(task).predictor.as_trained(task, checkpoint)
    about = About(
        version=path.stem if chosen.weights else store.served_version(task.name),
        software=__version__,
        licence=LICENCE.read_text(encoding="utf-8") if LICENCE.is_file() else "",
    )
    report: dict[str, object] = {"task": task.name, "weights": path.name, "format": chosen.format}
    if chosen.format == "bundle":
        write_bundle(out, task, checkpoint, about)
        click.echo(f"{task.name} {about.version}: MONAI Bundle in {out}; see {out}/docs/README.md")
    else:
        from lib.exchange.onnx_model import write_onnx

        difference = write_onnx(out, task, checkpoint, about)
        report["difference"] = difference
        click.echo(
            f"{task.name} {about.version}: ONNX in {out}; onnxruntime answers noise as torch "
            f"does, probabilities differ by {difference:.1e} at most"
        )
    options.save_json(chosen.json_file, report)
