"""Training throughput of every segmentation row, and of MONAI's own networks of like size.

Each network takes the steps of `lib.training.step` in a process of its own, one after the other,
with the recipe of its row (batch, patch, loss, optimiser, averaging) and the precision that "auto"
picks. Batches are random numbers; reading and augmenting images is left out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from benchmarks.speed.device_load import count_flops, load_lines, load_of
from benchmarks.speed.fixtures import SEED
from benchmarks.speed.rounds import Timed, measure, measure_here
from lib.data.targets import is_binary
from lib.devices import resolve_device, resolve_precision
from lib.errors import InputError
from lib.kinds import kind_of
from lib.networks import build_network, place_network
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.training.step import TrainingStep
from lib.weights.capture import tape_for

# for the steps of one network; at least `MIN_STEPS` are timed, whatever they take
SECONDS = 6.0
MIN_STEPS = 2
STEPS_ON_CUDA = 50  # in place of `runs`; a network has a second there
SECONDS_ON_CUDA = 1.5
QUICK_ROWS = ("nuclei_u3clr",)
FOREGROUND_SHARE = 0.3
SEGMENTING = {name: task for name, task in TASKS.items() if not (task.exam or task.clicks)}


@dataclass(frozen=True)
class Peer:
    """A network of MONAI's and the row whose recipe it is trained with.

    Attributes:
        network: a class of `monai.networks.nets`.
        arguments: those of the class beside dimensions and channels, which are the row's.
    """

    beside: str
    network: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


# BasicUNet: feature maps of five levels, and of the last stage, for the row's number of parameters.
# VNet: MONAI's class has one size. None of U-Net 2015's size: its steps would take minutes.
PEERS: tuple[Peer, ...] = (
    Peer("nuclei_vhllrhe", "VNet", {"dropout_dim": 2}),
    Peer("nuclei_u3clr", "BasicUNet", {"features": (8, 16, 32, 64, 128, 8)}),
    Peer("nuclei_u5hllr", "BasicUNet", {"features": (16, 24, 48, 104, 208, 16)}),
    Peer("nuclei", "BasicUNet", {"features": (20, 40, 80, 160, 320, 20)}),
    Peer("ultrasound3d_vnet2016", "VNet"),
)


def prepare(
    variant: str, threads: int, device: str, task: TaskSpec, peer: Peer | None
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that takes one step, and one that returns facts on network and memory."""
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    target = torch.device(device)
    dtype = resolve_precision(target, trained_dims=task.network.spatial_dims)
    network = place_network(_network(task, peer), target, dtype).train()
    loss = kind_of(task).scoring.loss(task, [])
    tape = tape_for(target, dtype)
    step = TrainingStep(network, task.training, target, dtype, loss, tape=tape)
    batch = random_batch(task)
    losses: list[float] = []

    def run() -> None:
        losses.append(step(batch).item())  # waits for the device

    def finish() -> dict[str, Any]:
        figures = {
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "computes_in": str(dtype).removeprefix("torch."),
            "first_loss": round(losses[0], 5),
        }
        if target.type == "cuda":
            moved = [part.to(target) for part in batch]
            flops = count_flops(lambda: step.gradients(*moved))
            figures.update(load_of(lambda: step((*moved,)), flops, target, dtype))
        return figures

    return run, finish


def random_batch(task: TaskSpec) -> tuple[Tensor, Tensor]:
    """Return seeded random images and targets, float32, of the sizes the row is trained with."""
    recipe, spec = task.training, task.network
    sides = recipe.patch_sides(spec.spatial_dims)
    source = torch.Generator().manual_seed(SEED)
    images = torch.rand(recipe.batch_size, spec.in_channels, *sides, generator=source)
    targets = torch.rand(recipe.batch_size, len(task.target.maps), *sides, generator=source)
    for channel, name in enumerate(task.target.maps):
        if is_binary(name):
            targets[:, channel] = (targets[:, channel] < FOREGROUND_SHARE).float()
    return images, targets


def run(
    runs: int,
    on_round: Callable[[], object],
    device: str | None = None,
    rows: Mapping[str, TaskSpec] = SEGMENTING,
    peers: tuple[Peer, ...] = PEERS,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure `rows` and the `peers` beside them, and return settings and figures.

    A network that does not fit into memory is left out, with the reason. On CUDA, where a process
    for each would take longer than the steps, all run in this one.

    Args:
        quick: one row alone, with tiny patches, to see that it runs.

    Raises:
        InputError: no network could be measured, or no such device.
    """
    target = resolve_device(device)
    if quick:
        rows, peers = {name: _tiny(rows[name]) for name in QUICK_ROWS}, ()
    figures, left_out = {}, {}
    for name, task in rows.items():
        for peer in (None, *(peer for peer in peers if peer.beside == name)):
            variant = name if peer is None else f"MONAI {peer.network}, as {name}"
            settings: dict[str, Any] = {"threads": torch.get_num_threads(), "device": str(target)}
            try:
                settings |= {"task": task, "peer": peer}
                if target.type == "cuda":
                    many, seconds = STEPS_ON_CUDA, SECONDS_ON_CUDA
                    timed = measure_here(prepare, variant, settings, many, seconds)
                else:
                    timed = measure(
                        prepare,
                        [variant],
                        settings,
                        runs,
                        SECONDS,
                        warm_up=1,
                        min_rounds=MIN_STEPS,
                        start_method="forkserver",
                    )
            except InputError as error:
                left_out[variant] = str(error)
            else:
                figures[variant] = _figures(timed[variant], task, peer)
            on_round()
    if not figures:
        raise InputError(next(iter(left_out.values()), "benchmark: no rows"))
    on = torch.cuda.get_device_name(target) if target.type == "cuda" else "CPU"
    return {
        "what": f"training steps of every row, and of MONAI's networks beside them, {on}",
        "device": target.type,
        "unit": "s",
        "most_steps": STEPS_ON_CUDA if target.type == "cuda" else runs,
        "least_steps": MIN_STEPS,
        "seconds_per_network": SECONDS_ON_CUDA if target.type == "cuda" else SECONDS,
        "left_out": left_out,
        "figures": figures,
    }


def table(report: Mapping[str, Any]) -> list[str]:
    """Return aligned lines of the figures."""
    figures = report["figures"]
    width = max(len(name) for name in figures)
    heads = f"{'parameters':>10}  {'step':>8}  {'images/s':>8}  {'million/s':>9}  peak memory"
    lines = [f"{'':{width}}  {heads}"]
    for name, row in figures.items():
        lines.append(
            f"{name:{width}}  {row['parameters'] / 1e6:>8.2f} M  {row['median_s']:>6.3g} s  "
            f"{row['images_per_s']:>8.2f}  {row['million_per_s']:>9.3f}  {memory(row)}"
        )
    return [*lines, *load_lines(figures)]


def memory(row: Mapping[str, Any]) -> str:
    """Return a network's peak of memory in words; on a GPU, of what it holds there."""
    words = f"{row['peak_memory_mib']} MiB ({row['memory_of_the_work_mib']})"
    on_device = row.get("peak_device_memory_mib")
    return words if on_device is None else f"{on_device} MiB on the device"


def _tiny(task: TaskSpec) -> TaskSpec:
    recipe = replace(task.training, batch_size=2, patch_size=task.encoder_decoder.input_size(32))
    return replace(task, training=recipe)


def _network(task: TaskSpec, peer: Peer | None) -> nn.Module:
    if peer is None:
        return build_network(task.network)
    spec = task.network
    network: nn.Module = getattr(nets, peer.network)(
        spatial_dims=spec.spatial_dims,
        in_channels=spec.in_channels,
        out_channels=spec.out_channels,
        **peer.arguments,
    )
    return network


def _figures(timed: Timed, task: TaskSpec, peer: Peer | None) -> dict[str, Any]:
    """Return the figures of one network; `million_per_s` counts pixels or voxels of input."""
    median = statistics.median(timed.seconds)
    batch, sides = task.training.batch_size, task.training.patch_sides(task.network.spatial_dims)
    return {
        "beside": None if peer is None else peer.beside,
        "features": None if peer is None else peer.arguments.get("features"),
        "batch_size": batch,
        "patch": list(sides),
        "median_s": round(median, 5),
        "min_s": round(min(timed.seconds), 5),
        "max_s": round(max(timed.seconds), 5),
        "steps": len(timed.seconds),
        "images_per_s": round(batch / median, 3),
        "million_per_s": round(batch * math.prod(sides) / median / 1e6, 4),
        "peak_memory_mib": round(timed.peak_mib),
        "memory_of_the_work_mib": round(timed.peak_mib - timed.base_mib),
        **timed.result,
    }
