"""One optimiser step: MONAI Label's BasicTrainTask's way and ours, same network, loss, batch.

Stock is MONAI's SupervisedTrainer with the arguments that BasicTrainTask gives it by default
(SimpleInferer, `amp=True`, which on a CPU computes in float32, decollation), contiguous tensors.
Ours is `lib.training.step`, what the Train button runs, gradient clipping and schedule included:
on CUDA recorded as a graph. Both go through an Ignite engine; reading and augmenting images is
left out of both. On CUDA a round is several steps, and the device has done them all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine

from benchmarks.speed.device_load import count_flops, device_name, load_of, wait_for
from benchmarks.speed.fixtures import (
    FORCED,
    TASK,
    forced_variants,
    precision_name,
    random_network,
    training_batch,
)
from benchmarks.speed.rounds import compare, measure
from lib.devices import autocast, resolve_device, resolve_precision
from lib.kinds import kind_of
from lib.networks import place_network
from lib.segmentation.losses import get_loss
from lib.tasks.registry import get_task
from lib.training.compiling import compiled
from lib.training.optimizers import build_optimizer
from lib.training.step import TrainingStep
from lib.weights.capture import tape_for

BATCH, SIDE = 8, 256
QUICK, QUICK_SECONDS = (2, 32), 6.0
STEPS = {"cpu": 1, "cuda": 20}  # of a round
SECONDS = {"cpu": 120.0, "cuda": 40.0}
STOCK, OURS = "stock (BasicTrainTask)", "ours"
LAUNCHED, COMPILED = "ours, not recorded", "ours, compiled"


def prepare(
    variant: str, threads: int, device: str, batch_size: int, side: int
) -> tuple[Callable[[], object], Callable[[], dict[str, Any]]]:
    """Return a function that takes the steps of a round, and one that returns further figures."""
    torch.set_num_threads(threads)
    target = torch.device(device)
    task, network = get_task(TASK), random_network(TASK)
    batch = training_batch(batch_size, side)
    steps = STEPS[target.type]
    losses: list[float] = []
    dtype = resolve_precision(target, FORCED.get(variant, "auto"))

    if variant == STOCK:
        from monai.engines import SupervisedTrainer
        from monai.inferers import SimpleInferer

        warnings.filterwarnings("ignore")  # of CUDA's scaler, on a CPU
        network = network.to(target)
        trainer = SupervisedTrainer(
            device=target,
            max_epochs=1,
            train_data_loader=[{"image": batch[0], "label": batch[1]}] * steps,
            network=network,
            optimizer=build_optimizer(network, task.training),
            loss_function=get_loss(task.training.loss),
            inferer=SimpleInferer(),
            amp=True,
        )

        def run() -> None:
            trainer.run()
            output: Any = trainer.state.output
            losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))

    else:
        place_network(network, target, dtype).train()
        loss = kind_of(task).scoring.loss(task, [])
        fast = compiled(network, target, "on" if variant == COMPILED else "off", long=True)
        tape = tape_for(target, dtype) if variant != LAUNCHED else None
        step = TrainingStep(network, task.training, target, dtype, loss, compiled=fast, tape=tape)
        engine = Engine(lambda engine, batch: step(batch))

        def run() -> None:
            engine.run([batch] * steps, max_epochs=1)
            losses.append(float(engine.state.output))

    def finish() -> dict[str, Any]:
        moved = [part.to(target) for part in batch]
        one_loss = get_loss(task.training.loss)

        def gradients() -> None:
            with autocast(target, dtype):
                logits = network(moved[0])
            one_loss(logits.float(), moved[1]).backward()

        load = load_of(run, count_flops(gradients) * steps, target, dtype)
        return {"first_loss": round(losses[0], 5), **load}

    def run_to_end() -> None:
        run()
        wait_for(target)

    return run_to_end, finish


def run(
    runs: int,
    on_round: Callable[[], object],
    device: str | None = None,
    batch_size: int | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure, and return settings and figures.

    Args:
        device: by default the CPU.
        batch_size: 8 by default.
        quick: a tiny batch and few rounds, to see that it runs.

    Raises:
        InputError: no such device.
    """
    target = resolve_device(device or "cpu")
    batch, side = QUICK if quick else (batch_size or BATCH, SIDE)
    settings = {"threads": torch.get_num_threads(), "device": str(target)}
    settings |= {"batch_size": batch, "side": side}
    more = [LAUNCHED, COMPILED] if target.type == "cuda" else [] if quick else forced_variants()
    seconds = QUICK_SECONDS if quick else SECONDS[target.type]
    timed = measure(prepare, [STOCK, OURS, *more], settings, runs, seconds, on_round)
    steps = STEPS[target.type]
    for times in timed.values():
        times.seconds = [taken / steps for taken in times.seconds]
    figures = compare(timed, STOCK)
    for row in figures.values():
        row["images_per_s"] = round(batch / row["median_s"], 1)
    return {
        "what": f"one optimiser step of {TASK}, batch {batch}, {side}x{side} pixels, "
        f"{device_name(target)}",
        "task": TASK,
        "device": target.type,
        "steps_per_round": steps,
        "ours_computes_in": precision_name(target),
        "unit": "s",
        "figures": figures,
    }
