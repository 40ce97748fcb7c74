"""Work that several processes share under ``torchrun``."""

from __future__ import annotations

import ignite.distributed as idist
import torch
from torch import Tensor


def over_processes(table: Tensor) -> Tensor:
    """Return the sum of every process's `table`, on the CPU."""
    if idist.get_world_size() == 1:
        return table
    device = idist.device() if idist.backend() == "nccl" else torch.device("cpu")
    total: Tensor = idist.all_reduce(table.to(device))
    return total.cpu()


def own_indices(count: int) -> range:
    """Return which of `count` cases this process works on."""
    return range(idist.get_rank(), count, idist.get_world_size())
