"""What is measured on: the network, its weights and seeded synthetic microscopy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.data.studies import list_items
from lib.data.targets import make_target
from lib.data.transforms import prepare_image
from lib.image import Geometry, Image
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.tasks.registry import get_task
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.checkpoint import Checkpoint, load_checkpoint
from lib.weights.store import ModelStore

TASK = "nuclei_vhllrhe"
SEED = 0
# enough for masks that have nuclei in them
FEW_STEPS = 40


def training_batch(size: int, side: int) -> tuple[Tensor, Tensor]:
    """Return prepared images and targets, float32 `(size, 1, side, side)`."""
    task = get_task(TASK)
    images, targets = [], []
    for seed in range(size):
        image, label = nuclei_phantom(SEED + seed, rows=side, columns=side)
        images.append(prepare_image(_image(image), task.input))
        targets.append(make_target(label, task.target).astype(np.float32))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))


def prepared_image(side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a prepared phantom, float32 `(1, side, side)`, and its foreground `(side, side)`."""
    image, label = nuclei_phantom(seed, rows=side, columns=side, nuclei=120)
    return prepare_image(_image(image), get_task(TASK).input), label > 0


def weights(models: Path, shipped: Path, folder: Path) -> tuple[Path, str]:
    """Return a checkpoint file, the live one of `models` or a new one in `folder`, and its story.

    Without live weights the network is trained for a few steps on phantoms.
    """
    live = ModelStore(models, shipped).served_path(TASK)
    if live is not None:
        return live, f"live weights ({load_checkpoint(live).provenance.get('step', '?')} steps)"
    studies = folder / "training"
    write_nuclei_studies(studies, count=8, labelled=8, seed=SEED)
    task = get_task(TASK)
    recipe = replace(task.training, steps=FEW_STEPS, batch_size=4, val_interval=FEW_STEPS)
    result = fit(
        replace(task, training=recipe),
        list_items(studies, labelled=True),
        FitOptions(out=folder / "run", seed=SEED, progress=False, tensorboard=False),
    )
    return result.weights, f"{FEW_STEPS} steps on synthetic images"


def checkpoint(file: str) -> Checkpoint:
    """Read the checkpoint that all variants share."""
    return load_checkpoint(file)


def _image(pixels: np.ndarray) -> Image:
    """Return a phantom as `lib.io.read.read_image` would."""
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("phantom.png"))
