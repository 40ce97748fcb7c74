"""One optimiser step: MONAI Label's BasicTrainTask's way and ours, same network, loss, batch.

Stock is MONAI's SupervisedTrainer with the arguments that BasicTrainTask gives it by default
(SimpleInferer, `amp=True`, which on a CPU computes in float32, decollation), contiguous tensors.
Ours is `lib.training.step`, what the Train button runs, gradient clipping and schedule included.
Both go through an Ignite engine; reading and augmenting images is left out of both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine

from benchmarks.speed.fixtures import (
    CPU,
    FORCED,
    TASK,
    forced_variants,
    precision_name,
    random_network,
    training_batch,
)
from benchmarks.speed.rounds import compare, measure
from lib.devices import resolve_precision
from lib.kinds import kind_of
from lib.networks import place_network
from lib.segmentation.losses import get_loss
from lib.tasks.registry import get_task
from lib.training.optimizers import build_optimizer
from lib.training.step import TrainingStep

BATCH, SIDE = 8, 256
SECONDS = 120.0
STOCK, OURS = "stock (BasicTrainTask)", "ours"


def prepare(
    variant: str, threads: int
) -> tuple[Callable[[], object], Callable[[], dict[str, float]]]:
    """Return a function that takes one step, and one that returns the first loss."""
    torch.set_num_threads(threads)
    task, network = get_task(TASK), random_network(TASK)
    batch = training_batch(BATCH, SIDE)
    losses: list[float] = []

    if variant == STOCK:
        from monai.engines import SupervisedTrainer
        from monai.inferers import SimpleInferer

        warnings.filterwarnings("ignore")  # of CUDA's scaler, on a CPU
        trainer = SupervisedTrainer(
            device=CPU,
            max_epochs=1,
            train_data_loader=[{"image": batch[0], "label": batch[1]}],
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
        dtype = resolve_precision(CPU, FORCED.get(variant, "auto"))
        place_network(network, CPU, dtype).train()
        loss = kind_of(task).scoring.loss(task, [])
        step = TrainingStep(network, task.training, CPU, dtype, loss)
        engine = Engine(lambda engine, batch: step(batch))

        def run() -> None:
            engine.run([batch], max_epochs=1)
            losses.append(float(engine.state.output))

    return run, lambda: {"first_loss": round(losses[0], 5)}


def run(runs: int, on_round: Callable[[], object]) -> dict[str, Any]:
    """Measure, and return settings and figures."""
    settings = {"threads": torch.get_num_threads()}
    variants = [STOCK, OURS, *forced_variants()]
    timed = measure(prepare, variants, settings, runs, SECONDS, on_round)
    return {
        "what": f"one optimiser step of {TASK}, batch {BATCH}, {SIDE}x{SIDE} pixels, CPU",
        "task": TASK,
        "ours_computes_in": precision_name(),
        "unit": "s",
        "figures": compare(timed, STOCK),
    }
