"""A training in MONAI Label's way, with MONAI's own parts, beside which ours is measured.

What `BasicTrainTask` of MONAI Label 0.8.5 puts together by default: SupervisedTrainer with
SimpleInferer and `amp=True`, a dataset of those it offers (CacheDataset, the fastest of them here)
and a ThreadDataLoader without workers. The package itself is not needed. Images are prepared by our
code, once, before the cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import LambdaLR

from lib.data.studies import Item
from lib.devices import resolve_device
from lib.kinds import kind_of, score_cases
from lib.networks import build_network
from lib.segmentation.losses import get_loss
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.optimizers import build_optimizer, build_scheduler
from lib.training.options import FitOptions
from lib.training.plan import plan_run


def train_stock(task: TaskSpec, items: Sequence[Item], options: FitOptions) -> None:
    """Train on `items` as `lib.training.loop.fit` does: same split, recipe, scores and reports.

    Keeps nothing; `options.on_validation` is told of each validation.
    """
    from monai.data import CacheDataset, ThreadDataLoader
    from monai.engines import SupervisedTrainer
    from monai.inferers import SimpleInferer

    warnings.filterwarnings("ignore")  # of CUDA's scaler, on a CPU
    device = resolve_device(options.device)
    task, training, held_out = plan_run(task, items, options)
    recipe = task.training
    cases = PreparedCases(training, task)
    data = [
        {"image": image.astype(np.float32), "label": target.astype(np.float32)}
        for image, target in (cases[index][:2] for index in range(len(cases)))
    ]
    torch.manual_seed(options.seed)
    network = build_network(task.network).to(device)
    optimizer = build_optimizer(network, recipe)
    schedule = build_scheduler(optimizer, recipe, recipe.steps)
    dataset = CacheDataset(data, _transforms(task), progress=False)
    loader = ThreadDataLoader(
        dataset, batch_size=recipe.batch_size, shuffle=True, num_workers=0, drop_last=True
    )
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=-(-recipe.steps // max(1, len(loader))),
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=get_loss(recipe.loss),
        inferer=SimpleInferer(),
        amp=True,
    )
    answering = replace(task, training=recipe)
    predictor = kind_of(task).predictor(answering, build_network(task.network), device, "auto")
    validation = PreparedCases(held_out, task)

    @trainer.on(Events.ITERATION_COMPLETED)
    def after_step(engine: Engine) -> None:
        if isinstance(schedule, LambdaLR):
            schedule.step()
        step = engine.state.iteration
        if step % recipe.val_interval == 0 or step == recipe.steps:
            predictor.network.load_state_dict(network.state_dict())
            scores = score_cases(predictor, validation)
            if options.on_validation is not None:
                options.on_validation(step, scores)
        if step == recipe.steps:
            engine.terminate()

    trainer.run()


def _transforms(task: TaskSpec) -> object:
    """Return MONAI's transforms that do what the row's augmentation asks for."""
    from monai.transforms import (
        Compose,
        EnsureTyped,
        RandAdjustContrastd,
        RandFlipd,
        RandGaussianNoised,
        RandRotate90d,
        RandSpatialCropd,
        RandZoomd,
        SpatialPadd,
    )

    spec, keys = task.augment, ("image", "label")
    sides = task.training.patch_sides(task.network.spatial_dims)
    return Compose(
        [
            EnsureTyped(keys),
            SpatialPadd(keys, sides, mode="reflect"),
            RandSpatialCropd(keys, sides, random_size=False),
            *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(len(sides))),
            RandRotate90d(keys, prob=0.75),
            RandZoomd(
                keys,
                prob=1.0,
                min_zoom=spec.zoom[0],
                max_zoom=spec.zoom[1],
                mode=("bilinear", "nearest"),
            ),
            RandAdjustContrastd("image", prob=1.0, gamma=(1 / spec.gamma, spec.gamma)),
            RandGaussianNoised("image", prob=1.0, std=spec.noise),
        ]
    )
