"""Calibrated models in int8, kept beside the weights with the figures that admitted them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.files import read_object, sha256, write_json
from lib.leftovers import new_folder
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint
from lib.weights.openvino_models import MODEL, load_openvino, model_key

logger = logging.getLogger(__name__)

FOLDER, RECORD = "int8", "figures.json"


def calibrated_folder(models: Path, task: TaskSpec, checkpoint: Checkpoint) -> Path:
    """Return where the calibrated model of these weights is, or would be."""
    return models / FOLDER / task.name / model_key(task, checkpoint)


def calibrated_model(models: Path | None, task: TaskSpec, checkpoint: Checkpoint) -> Any:
    """Return the `openvino.Model` that was calibrated for these weights; None where there is none.

    One whose files are not those that were measured is not used, with a warning.
    """
    if models is None:
        return None
    folder = calibrated_folder(models, task, checkpoint)
    if not (folder / RECORD).is_file():
        return None
    try:
        files = read_object(folder / RECORD).get("files")
        if not isinstance(files, dict) or files != _hashes(folder):
            raise ValueError("its files are not those that were measured")
        return load_openvino().Core().read_model(folder / MODEL)
    except (OSError, ValueError, RuntimeError) as error:
        logger.warning(f"The int8 model of '{task.name}' is not used: {error}; quantize again")
        return None


def keep_calibrated(folder: Path, model: Any, figures: Mapping[str, Any]) -> None:
    """Write a calibrated `openvino.Model` and its figures to `folder`, the record last."""
    openvino = load_openvino()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder.parent, ".partial-") as partial:
        written = partial / "model"
        openvino.save_model(model, written / MODEL, compress_to_fp16=False)
        folder.mkdir(exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        for file in written.iterdir():
            file.replace(folder / file.name)
    write_json(folder / RECORD, {**figures, "files": _hashes(folder)})


def _hashes(folder: Path) -> dict[str, str]:
    names = (MODEL, str(Path(MODEL).with_suffix(".bin")))
    return {name: sha256(folder / name) for name in names}
