"""Networks compiled by `torch.compile`, where that pays."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.errors import choose
from lib.tasks.training_spec import COMPILE, TrainingSpec

logger = logging.getLogger(__name__)

# Pixels, or voxels, that a run has to see so that half a minute or a minute of compiling pays. Not
# measured: it stands for about a minute of recorded steps of the thesis's V-Net.
LONG = 4e9


def cache_folder() -> Path:
    """Return where compiled kernels are kept from run to run."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "monailabel" / "compiled"


def pays(recipe: TrainingSpec, spatial_dims: int) -> bool:
    """Tell whether a run of this recipe is long enough that compiling is worth its time."""
    pixels = math.prod(recipe.patch_sides(spatial_dims))
    return recipe.steps * recipe.batch_size * pixels >= LONG


def compiled(
    network: nn.Module, device: torch.device, wanted: str, long: bool
) -> Callable[..., Tensor] | None:
    """Return `network` compiled for its device, with the same weights; None where it is not.

    The compiler itself starts at the first call, which raises where there is none.

    Args:
        wanted: ``auto`` compiles for long runs only; on a CPU nothing is compiled.
        long: whether the run is long, see `pays`.

    Raises:
        NotFoundError: `wanted` is none of `lib.tasks.training_spec.COMPILE`.
    """
    choose("choice of compile", wanted, COMPILE)
    if device.type != "cuda" or wanted == "off" or (wanted == "auto" and not long):
        return None
    folder = cache_folder()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    return torch.compile(network, dynamic=False)
