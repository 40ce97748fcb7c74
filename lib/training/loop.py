"""The only training loop: an Ignite engine over the steps of a recipe.

`fit` trains one task on labelled items and keeps the weights that score best on the held-out
cases. The state of the run is on disk at every validation, so a killed run continues from there.
Under ``torchrun`` several processes share each batch and take the same steps as one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lib.data.studies import Item
from lib.devices import resolve_device, resolve_precision
from lib.files import write_json
from lib.kinds import kind_of
from lib.networks import place_network
from lib.tasks.spec import TaskSpec
from lib.training import progress
from lib.training.batches import PreparedCases, StepBatches, loading_threads, prefetch
from lib.training.compiling import compiled, pays
from lib.training.familiarity import keep_familiarity
from lib.training.options import FitOptions, FitResult
from lib.training.plan import iterations, plan_run
from lib.training.progress import STATS, RunStatus, attach_progress, attach_tensorboard
from lib.training.provenance import CheckpointWriter, initial_network
from lib.training.resume import BEST, RunState, run_identity
from lib.training.step import TrainingStep
from lib.training.validation import Validator
from lib.weights.capture import tape_for


def fit(task: TaskSpec, items: Sequence[Item], options: FitOptions) -> FitResult:
    """Train `task` on labelled `items` by its recipe (`task.training`).

    The items are split by `lib.data.studies.split_items`. Every `val_interval` steps the network is
    scored on whole validation images; the best weights by `task.key_metric` are kept.

    Raises:
        InputError: too few or unreadable items, a patient on both sides of a given split, or an
            impossible recipe.
        DivergedError: the loss is no longer finite.
    """
    started = time.time()
    task, training_items, held_out = plan_run(task, items, options)
    training = PreparedCases(training_items, task, options.cache_bytes, options.prepared)
    validation = PreparedCases(held_out, task, options.cache_bytes // 4, options.prepared)
    options.out.mkdir(parents=True, exist_ok=True)
    take_step, origin = _start(task, training_items, options)
    network = take_step.averaged or take_step.network
    predictor = kind_of(task).predictor(task, network, take_step.device, options.precision)
    validator = Validator(predictor, validation, options.keep)
    identity = run_identity(task, items, held_out, options)
    state = RunState(options.out, identity, take_step, validator)
    training.read_all()
    validation.read_all()
    training.task = kind_of(task).cases.learned(task, training)
    first = state.load() if options.resume else None
    if first is None:
        first = 0
        validator.score_initial()
    writer = CheckpointWriter(
        path=options.out / BEST,
        options=options,
        take_step=take_step,
        training=training,
        validator=validator,
        data=identity["data"],
        origin=origin,
    )
    status = RunStatus(
        task=task,
        batches_per_epoch=kind_of(task).cases.batches(training_items, task),
        first_step=first,
        started=started,
        validator=validator,
    )
    done, steps = first, range(first, task.training.steps)
    if steps and not validator.out_of_patience():
        done += _take_steps(steps, state, writer, status)
    if not validator.kept:  # cannot happen: the last step always validates
        raise RuntimeError("training ended without a validation")
    if idist.get_rank() == 0:
        keep_familiarity(options.out / BEST, task, training, validation, options)
        write_json(options.out / STATS, status.stats(done, active=False))
    return FitResult(
        weights=options.out / BEST,
        metrics=validator.kept,
        initial_metrics=validator.initial,
        history=validator.history,
        steps=done,
        first_step=first,
        stopped_early=done < task.training.steps,
        training_ids=[item.id for item in training_items],
        validation_ids=[item.id for item in held_out],
    )


def _start(
    task: TaskSpec, items: Sequence[Item], options: FitOptions
) -> tuple[TrainingStep, dict[str, Any] | None]:
    """Return network, loss and optimiser as they are before the first step, and the origin.

    The origin is what is known of the weights that the run starts with; see `initial_network`.
    """
    device = _process_device(options.device)
    dtype = resolve_precision(device, options.precision, task.network.spatial_dims)
    torch.manual_seed(options.seed)
    network, origin = initial_network(task, options.init)
    network = place_network(network, device, dtype).train()
    scoring = kind_of(task).scoring
    parallel = tape = fast = None
    if idist.get_world_size() > 1:
        parallel = DistributedDataParallel(
            network,
            device_ids=[device.index or 0] if device.type == "cuda" else None,
            find_unused_parameters=scoring.partial,
        )
    else:
        tape = tape_for(device, dtype)
        if not scoring.partial:  # which weights a step trains depends on its batch
            long = pays(task.training, task.network.spatial_dims)
            fast = compiled(network, device, options.compile, long)
    step = TrainingStep(
        network,
        task.training,
        device,
        dtype,
        scoring.loss(task, items),
        parallel=parallel,
        compiled=fast,
        tape=tape,
        routed=scoring.partial,
    )
    return step, origin


def _take_steps(steps: range, state: RunState, writer: CheckpointWriter, status: RunStatus) -> int:
    """Take `steps`, validate between them, and return how many were taken.

    An iteration of the engine stands for one step or several, and its state counts steps.
    """
    take_step, validator, options = state.take_step, state.validator, writer.options
    recipe, complete = validator.task.training, kind_of(validator.task).scoring.complete

    def take(engine: Engine, count: int) -> Tensor:
        for _ in range(count):
            loss = take_step(complete(validator.predictor, next(loader)))
            validator.losses.append(loss)
        engine.state.iteration += count - 1  # the engine has counted one of these steps
        return loss

    engine = Engine(take)
    engine.logger.disabled = True  # errors are raised; the caller reports them

    @engine.on(Events.ITERATION_COMPLETED)
    def save(engine: Engine) -> None:
        state.save_if_due(steps.start + engine.state.iteration)

    def due(engine: Engine, count: int) -> bool:
        step = steps.start + count
        return step % recipe.val_interval == 0 or step == steps.stop

    @engine.on(Events.ITERATION_COMPLETED(event_filter=due))
    def validate(engine: Engine) -> None:
        step = steps.start + engine.state.iteration
        if validator.validate(step):
            writer.write(step)
        take_step.after_validation(validator.loss)
        if options.on_validation is not None:
            options.on_validation(step, validator.history[-1])
        if validator.out_of_patience():
            engine.terminate()
        state.save(step)

    if idist.get_rank() == 0:
        attach_progress(engine, status, options.out, options.progress)
        if options.tensorboard:
            attach_tensorboard(engine, status, take_step.scheduler, options.out / "tensorboard")
    rank, world_size = idist.get_rank(), idist.get_world_size()
    device = take_step.device
    batches = StepBatches(
        writer.training,
        options.seed,
        rank,
        world_size,
        options.new_ids,
        device,
        options.at_once,
    )
    counts = iterations(steps, steps_together(take_step), recipe.val_interval)
    with closing(prefetch(batches, steps, loading_threads(), device)) as loader:
        engine.run(counts, max_epochs=1, epoch_length=len(counts))
    taken: int = engine.state.iteration
    return taken


def steps_together(take_step: TrainingStep) -> int:
    """Return how many steps an iteration of the engine stands for at most.

    Replays of recorded steps follow each other with nothing between, up to the next step that
    TensorBoard shows.
    """
    return 1 if take_step.recorder is None else progress.TENSORBOARD_STEPS


def _process_device(name: str | None) -> torch.device:
    """Return this process's device: its own GPU under ``torchrun`` with nccl."""
    if idist.get_world_size() > 1 and idist.backend() == "nccl":
        return torch.device("cuda", idist.get_local_rank())
    return resolve_device(name)
