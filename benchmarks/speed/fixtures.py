"""What the benchmarks measure on: networks, their weights and seeded synthetic microscopy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib.data.studies import list_items
from lib.data.targets import make_target
from lib.data.transforms import prepare_image
from lib.devices import resolve_precision
from lib.image import Geometry, Image
from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom, write_nuclei_studies
from lib.tasks.registry import get_task
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.checkpoint import load_checkpoint
from lib.weights.store import ModelStore

TASK = "nuclei_vhllrhe"
SEED = 0
FEW_STEPS = 40  # enough for masks that have nuclei in them
RANDOM = f"random, seed {SEED}; the time does not depend on them"
CPU = torch.device("cpu")
FORCED = {"ours, fp32 forced": "fp32", "ours, bf16 forced": "bf16"}


def training_batch(size: int, side: int) -> tuple[Tensor, Tensor]:
    """Return prepared images and targets, float32 `(size, 1, side, side)`."""
    task = get_task(TASK)
    images, targets = [], []
    for seed in range(size):
        image, label = nuclei_phantom(SEED + seed, rows=side, columns=side)
        images.append(prepare_image(_image(image), task.input))
        targets.append(make_target(label, task.target).astype(np.float32))
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))


def phantom(side: int, seed: int) -> Image:
    """Return nuclei as `lib.io.read.read_image` would, `(side, side)`."""
    return _image(nuclei_phantom(seed, rows=side, columns=side, nuclei=120)[0])


def prepared_image(side: int, seed: int, task: str = TASK) -> tuple[np.ndarray, np.ndarray]:
    """Return a prepared phantom, float32 `(channels, side, side)`, and its foreground.

    Args:
        task: whose network is to see it.
    """
    image, label = nuclei_phantom(seed, rows=side, columns=side, nuclei=120)
    return prepare_image(_image(image), get_task(task).input), label > 0


def weights(store: ModelStore, folder: Path, name: str = TASK) -> tuple[Path, str]:
    """Return a file with weights of a task for nuclei and where they come from.

    Where there are no served weights the network is trained for a few steps on phantoms.
    """
    if served := served_weights(name, store):
        return served
    studies = folder / "training"
    write_nuclei_studies(studies, count=8, labelled=8, seed=SEED)
    task = get_task(name)
    recipe = replace(task.training, steps=FEW_STEPS, batch_size=4, val_interval=FEW_STEPS)
    result = fit(
        replace(task, training=recipe),
        list_items(studies, labelled=True),
        FitOptions(out=folder / "run", seed=SEED, progress=False, tensorboard=False),
    )
    return result.weights, f"{FEW_STEPS} steps on synthetic images"


def served_weights(name: str, store: ModelStore) -> tuple[Path, str] | None:
    """Return the file with the weights that a server would use, and their steps in words."""
    file = store.served_path(name)
    if file is None:
        return None
    provenance = load_checkpoint(file).provenance
    if averaged := provenance.get("averaged"):
        return file, f"served weights (the mean of {len(averaged)} files)"
    return file, f"served weights ({provenance.get('step', '?')} steps)"


def random_network(name: str) -> nn.Module:
    """Return the network of a task with seeded random weights."""
    torch.manual_seed(SEED)
    return build_network(get_task(name).network)


def forced_variants() -> list[str]:
    """Return the names in `FORCED` of the precisions that "auto" does not pick here."""
    auto = resolve_precision(CPU)
    return [name for name, dtype in FORCED.items() if resolve_precision(CPU, dtype) != auto]


def precision_name(device: torch.device = CPU) -> str:
    """Return the name of the precision that "auto" picks on `device`."""
    return str(resolve_precision(device)).removeprefix("torch.")


def _image(pixels: np.ndarray) -> Image:
    """Return a phantom as `lib.io.read.read_image` would."""
    return Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("phantom.png"))
