"""Recorded steps are those that are not recorded; what cannot be recorded goes on without.

The tape of these tests (tests/samples/operator_tape.py) is as strict as a CUDA graph: it replays
operators on the same tensors, with the numbers of the time when it recorded.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from unittest.mock import MagicMock

import pytest
import torch
from operator_tape import OperatorTape
from training_samples import assert_same_weights, fit_options, with_recipe

from lib.classification.cases import list_views
from lib.errors import NotFoundError
from lib.networks import build_network
from lib.segmentation.losses import bce_dice
from lib.tasks.registry import TASKS
from lib.training import compiling, loop
from lib.training.compiling import compiled, pays
from lib.training.loop import fit
from lib.training.optimizers import OPTIMIZERS
from lib.training.step import TrainingStep
from lib.weights import capture
from lib.weights.capture import MOST_SHAPES, WARM_UP, GraphTape, Recorder, tape_for
from lib.weights.checkpoint import load_checkpoint

CPU = torch.device("cpu")
STEPS = 9


@pytest.fixture(autouse=True)
def capturable_on_the_cpu(monkeypatch):
    """Let the optimisers that torch keeps for CUDA compute here as they do there."""
    for name in ("nadam", "rmsprop"):
        module = import_module(f"torch.optim.{name}")
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda **_: ["cpu"])


class Unrecorded(OperatorTape):
    """Takes every step as it comes, by the optimisers for recorded ones."""

    def record(self, call):
        raise RuntimeError("not here")


def _batch(index, side=32, dims=2):
    source = torch.Generator().manual_seed(index)
    images = torch.rand(2, 1, *(side,) * dims, generator=source)
    return images, (images > 0.5).float()


def _step(task, tape, **changes):
    changes = {"gradient_clip": 1.0, "averaging": 0.6, "steps": STEPS, **changes}
    torch.manual_seed(0)
    network = build_network(replace(task.network, norm="batch")).train()
    recipe = replace(task.training, **changes)
    return TrainingStep(network, recipe, CPU, torch.float32, bce_dice, tape=tape)


def _weights(step):
    return {
        **step.network.state_dict(),
        **{f"mean {k}": v for k, v in step.averaged.state_dict().items()},
    }


def _assert_same(step, other):
    for name, value in _weights(other).items():
        torch.testing.assert_close(_weights(step)[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_recorded_steps_give_the_weights_of_others(task, optimizer, schedule):
    tape = OperatorTape()
    recorded, other = (
        _step(task, one, optimizer=optimizer, schedule=schedule) for one in (tape, Unrecorded())
    )
    plain = _step(task, None, optimizer=optimizer, schedule=schedule)
    for index in range(STEPS):
        losses = [step(_batch(index)).item() for step in (recorded, other, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        assert losses[0] == pytest.approx(losses[2], rel=5e-3)  # NAdam rounds its own way
    assert (tape.warm_ups, tape.records, tape.replays) == (WARM_UP, 1, STEPS - WARM_UP)
    _assert_same(recorded, other)


def test_a_network_in_3d_is_recorded_too(volume_task):
    tape = OperatorTape()
    recorded, other = (_step(volume_task, one) for one in (tape, Unrecorded()))
    for index in range(5):
        batch = _batch(index, side=8, dims=3)
        assert recorded(batch).item() == pytest.approx(other(batch).item(), rel=1e-6)
    assert tape.replays == 2
    _assert_same(recorded, other)


def test_each_shape_is_recorded_once_and_up_to_a_number(task):
    tape = OperatorTape()
    recorded, other = (_step(task, one) for one in (tape, Unrecorded()))
    sides = [16, 16, 32, 16, 32, 16, 32, 32, 16]  # in any order
    for index, side in enumerate(sides):
        batch = _batch(index, side)
        assert recorded(batch).item() == pytest.approx(other(batch).item(), rel=1e-6)
    assert (tape.records, recorded.recorder.recorded, tape.replays) == (2, 2, 3)
    _assert_same(recorded, other)
    for side in (4, 8, 12, 20, 24):
        for index in range(WARM_UP + 1):
            recorded(_batch(index, side))
    assert recorded.recorder.recorded == tape.records == MOST_SHAPES


def test_a_loss_stays_when_later_steps_are_replayed(task):
    step = _step(task, OperatorTape())
    losses = [step(_batch(index)) for index in range(6)]
    values = [loss.item() for loss in losses]
    assert len(set(values)) == 6
    step(_batch(7))
    assert [loss.item() for loss in losses] == values


def test_the_batch_is_copied_so_that_its_memory_is_free_again(task):
    recorded, other = (_step(task, one) for one in (OperatorTape(), Unrecorded()))
    for index in range(STEPS):
        batch = _batch(index)
        other(batch)
        recorded(batch)
        for part in batch:
            part.fill_(torch.nan)
    _assert_same(recorded, other)


def test_what_reads_from_the_device_is_not_recorded_and_the_log_says_so(task, caplog):
    def reading(logits, target):
        return bce_dice(logits, target) * (2.0 if logits.sum().item() > 0 else 1.0)

    steps = [_step(task, tape) for tape in (OperatorTape(), Unrecorded())]
    for step in steps:
        step.loss = reading
    with caplog.at_level(logging.WARNING):
        for index in range(STEPS):
            losses = [step(_batch(index)).item() for step in steps]
            assert losses[0] == losses[1]
    assert steps[0].recorder.recorded == 0
    _assert_same(*steps)
    told = [line for line in caplog.messages if "is not recorded as a CUDA graph" in line]
    assert len(told) == 2  # once by each
    assert "operation not permitted when stream is capturing" in told[0]


def test_a_number_that_changes_on_the_host_would_be_missed_so_the_step_has_none(task):
    """The tape is strict: a rate that is a plain number stays what it was when it recorded."""
    rate = [1.0]
    weight = torch.zeros(1)

    def function(image):
        weight.add_(image.mean() * rate[0])
        return weight.clone()

    recorder = Recorder(function, CPU, OperatorTape())
    for _ in range(WARM_UP + 1):
        recorder([torch.ones(1)])
    rate[0] = 100.0
    assert recorder([torch.ones(1)]).item() == WARM_UP + 2


@pytest.mark.parametrize("from_recorded", [True, False])
@pytest.mark.parametrize("optimizer", ["adam", "nadam", "sgd"])
def test_a_run_goes_on_recorded_or_not_where_the_other_ended(task, optimizer, from_recorded):
    def tape(recorded):
        return OperatorTape() if recorded else None

    first, whole = (_step(task, tape(from_recorded), optimizer=optimizer) for _ in range(2))
    then = _step(task, tape(not from_recorded), optimizer=optimizer)
    for index in range(4):
        first(_batch(index))
        whole(_batch(index))
    state = first.state_dict()
    assert all(type(group["lr"]) is float for group in state["optimizer"]["param_groups"])
    then.network.load_state_dict(first.network.state_dict())
    read = then.optimizer.param_groups[0]["lr"]  # a tensor, where steps are recorded
    then.load_state_dict(state)
    assert from_recorded or then.optimizer.param_groups[0]["lr"] is read
    rates = []
    for index in range(4, STEPS):
        loss, wanted = then(_batch(index)).item(), whole(_batch(index)).item()
        assert loss == pytest.approx(wanted, rel=5e-3)
        rates.append([float(one.optimizer.param_groups[0]["lr"]) for one in (then, whole)])
    for rate, wanted in rates:
        assert rate == pytest.approx(wanted, rel=1e-6)
    assert len({round(rate, 9) for rate, _ in rates}) == len(rates)  # the cosine goes on


def test_loading_a_state_drops_what_was_recorded_of_other_tensors(task):
    step = _step(task, OperatorTape())
    for index in range(5):
        step(_batch(index))
    assert step.recorder.recorded == 1
    step.load_state_dict(step.state_dict())
    assert step.recorder.recorded == 0


def test_a_whole_run_is_recorded_and_learns_as_well(task, items, whole, tmp_path, monkeypatch):
    tapes = []
    monkeypatch.setattr(loop, "tape_for", lambda *_: tapes.append(OperatorTape()) or tapes[0])
    result = fit(with_recipe(task, averaging=0.5), items, fit_options(tmp_path / "a"))
    assert tapes[0].replays == task.training.steps - WARM_UP
    plain = whole.history
    for entry, wanted in zip(result.history, plain, strict=True):
        assert entry["loss"] == pytest.approx(wanted["loss"], rel=1e-3)


def test_tensorboard_has_the_rates_of_recorded_steps(task, items, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("lib.training.progress.TENSORBOARD_STEPS", 1)
    shown = []
    for folder, tape in (("recorded", OperatorTape()), ("plain", None)):
        monkeypatch.setattr(loop, "tape_for", lambda *_, tape=tape: tape)
        fit(task, items, fit_options(tmp_path / folder, tensorboard=True))
        events = EventAccumulator(str(tmp_path / folder / "tensorboard"))
        events.Reload()
        shown.append([(e.step, e.value) for e in events.Scalars("train/learning_rate")])
    assert len(shown[0]) == task.training.steps
    assert shown[0] == [(step, pytest.approx(rate, rel=1e-5)) for step, rate in shown[1]]


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_exams_are_recorded_for_each_network_that_a_batch_is_of(
    exam_task, exam_studies, tmp_path, monkeypatch, class_weights
):
    views = list_views(exam_studies, exam_task, labelled=True)
    task = with_recipe(exam_task, epochs=4, averaging=0.5, class_weights=class_weights)
    found, tapes = [], [OperatorTape(), Unrecorded()]
    for number, tape in enumerate(tapes):
        monkeypatch.setattr(loop, "tape_for", lambda *_, tape=tape: tape)
        found.append(fit(task, views, fit_options(tmp_path / str(number))))
    assert tapes[0].records == len(task.classifier.views) == 4
    assert tapes[0].replays == found[0].steps - 4 * WARM_UP > 4
    for entry, wanted in zip(found[0].history, found[1].history, strict=True):
        assert entry["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    weights, others = (load_checkpoint(one.weights).weights for one in found)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)


def test_nothing_is_recorded_on_a_cpu_or_in_float16():
    assert tape_for(CPU, torch.bfloat16) is None
    assert tape_for(torch.device("cuda"), torch.float16) is None


def test_graphs_are_recorded_beside_other_threads_with_tried_algorithms(monkeypatch):
    """What is asked of CUDA, on a machine that has none."""
    seen = []

    @contextmanager
    def entered(name, *_, **arguments):
        seen.append((name, arguments, torch.backends.cudnn.benchmark))
        yield

    cuda = MagicMock()
    for name in ("device", "stream", "graph"):
        setattr(cuda, name, lambda *_, name=name, **arguments: entered(name, **arguments))
    monkeypatch.setattr(capture.torch, "cuda", cuda)
    tape = GraphTape(torch.device("cuda", 0))
    assert tape.warm_up(lambda: 5) == 5
    side = cuda.Stream.return_value
    side.wait_stream.assert_called_once_with(cuda.current_stream.return_value)
    cuda.current_stream.return_value.wait_stream.assert_called_once_with(side)
    seen.clear()
    replay, result = tape.record(lambda: 7)
    assert (replay, result) == (cuda.CUDAGraph.return_value.replay, 7)
    arguments = {"stream": side, "capture_error_mode": "thread_local"}
    assert ("graph", arguments, True) in seen
    assert torch.backends.cudnn.benchmark is False


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_cuda_graphs_give_the_weights_of_steps_that_are_not_recorded(task, optimizer):
    device = torch.device("cuda")
    recipe = replace(task.training, optimizer=optimizer, averaging=0.6, gradient_clip=1.0)
    found = []
    for tape in (GraphTape(device), None):
        torch.manual_seed(0)
        network = build_network(task.network).to(device).train()
        step = TrainingStep(network, recipe, device, torch.float32, bce_dice, tape=tape)
        found.append([step(_batch(index)).item() for index in range(20)])
        assert tape is None or step.recorder.recorded == 1
    assert found[0] == pytest.approx(found[1], rel=1e-2)


# --- compiled networks ---------------------------------------------------------------------------


def test_networks_are_compiled_on_gpus_for_long_runs_or_when_asked_for(monkeypatch):
    monkeypatch.setattr(compiling.torch, "compile", lambda network, **_: ("compiled", network))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "elsewhere")
    cuda, network = torch.device("cuda"), torch.nn.Identity()
    chosen = {
        (wanted, long): compiled(network, cuda, wanted, long) is not None
        for wanted in ("auto", "on", "off")
        for long in (True, False)
    }
    assert [key for key, value in chosen.items() if value] == [
        ("auto", True),
        ("on", True),
        ("on", False),
    ]
    assert compiled(network, CPU, "on", True) is None
    with pytest.raises(NotFoundError, match="unknown choice of compile 'yes'"):
        compiled(network, cuda, "yes", True)


def test_compiled_kernels_are_kept_from_run_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling.torch, "compile", lambda network, **_: network)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "chosen")
    compiled(torch.nn.Identity(), torch.device("cuda"), "on", True)
    kept = tmp_path / "monailabel" / "compiled"
    assert compiling.os.environ["TRITON_CACHE_DIR"] == str(kept / "triton")
    assert compiling.os.environ["TORCHINDUCTOR_CACHE_DIR"] == "chosen", "people may choose"


def test_long_is_what_sees_many_pixels():
    recipe = TASKS["nuclei_vhllrhe"].training
    assert not pays(replace(recipe, steps=500), 2)
    assert pays(replace(recipe, steps=3500, batch_size=32), 2)


class _Failing(torch.nn.Module):
    """As a compiler that fails: at once, or when the backward pass is compiled."""

    def __init__(self, network, backward):
        super().__init__()
        self.network, self.backward, self.calls = network, backward, 0

    def forward(self, images):
        self.calls += 1
        if not self.backward:
            raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")
        logits = self.network(images)
        logits.register_hook(self._fail)
        return logits

    def _fail(self, gradient):
        raise RuntimeError("ptxas not found")


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("tape", [OperatorTape, None])
def test_without_a_compiler_the_network_is_trained_as_it_is(task, caplog, backward, tape):
    steps = [_step(task, tape and tape()) for _ in range(2)]
    broken = _Failing(steps[0].network, backward)
    steps[0]._compiled = broken
    for step in steps:
        for module in step.network.modules():  # a failed pass has counted a batch
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.0
    for index in range(5):
        losses = [step(_batch(index)).item() for step in steps]
        assert losses[0] == losses[1]
    assert broken.calls == 1
    reason = "ptxas not found" if backward else "Failed to find C compiler."
    assert f"The network is trained without compiling it: {reason}" in caplog.messages


@pytest.mark.parametrize("name", ["nuclei_u3clr", "nuclei_click"])
def test_networks_can_be_traced_whole_as_the_compiler_does(name, light):
    spec = light(TASKS[name]).network
    torch.manual_seed(0)
    network = build_network(spec).train()
    side = spec.input_size(16)
    inputs = [torch.rand(2, spec.in_channels, side, side)]
    if spec.guidance_channels:
        inputs.append(torch.rand(2, spec.guidance_channels, side, side))
    torch._dynamo.reset()
    traced = torch.compile(network, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(traced(*inputs), network(*inputs), rtol=1e-4, atol=1e-5)


def test_a_choice_that_is_none_is_refused_before_a_run(task, items, tmp_path):
    same = [fit(task, items, fit_options(tmp_path / one, compile=one)) for one in ("on", "off")]
    assert_same_weights(*(one.weights for one in same))
    with pytest.raises(NotFoundError, match="unknown choice of compile 'onn': did you mean 'on'"):
        fit(task, items, fit_options(tmp_path / "c", compile="onn"))
