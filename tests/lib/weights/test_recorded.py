"""A GPU replays a network's answers; they are those of calls that are not recorded.

The tape of these tests (tests/samples/operator_tape.py) is as strict as a CUDA graph.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from operator_tape import OperatorTape

from lib.interactive.clicks import Clicks
from lib.interactive.predictor import ClickPredictor
from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.uncertainty.informativeness import measure_prepared
from lib.weights import capture, recorded, runner
from lib.weights.capture import GraphTape, Recorder, answer_tape
from lib.weights.checkpoint import Checkpoint, state_on_cpu
from lib.weights.recorded import WARM_UP, RecordedForward

CPU = torch.device("cpu")
SMALL = {"channels": (4, 8, 12), "convolutions": (1, 1, 2)}


@pytest.fixture
def tape(monkeypatch) -> OperatorTape:
    """What predictors of this test record on, as they would on a GPU."""
    found = OperatorTape()
    monkeypatch.setattr(runner, "answer_tape", lambda device: found)
    return found


def _both(name="nuclei", predictor=Predictor, precision="fp32", **network):
    """Return a predictor that records, and one that does not, with the same random weights."""
    task = get_task(name)
    task = replace(task, network=replace(task.network, **{**SMALL, **network}))
    torch.manual_seed(0)
    weights = {  # a fresh network does not look at clicks
        key: value + 0.05 * torch.randn(value.shape) if value.is_floating_point() else value
        for key, value in state_on_cpu(build_network(task.network)).items()
    }
    weights |= {key: value.abs() for key, value in weights.items() if "running_var" in key}
    checkpoint = Checkpoint(task=task.name, spec=task.as_dict(), weights=weights)
    found = [predictor.from_checkpoint(task, checkpoint, CPU, precision) for _ in range(2)]
    found[1].recorded = None
    return found


def _image(predictor, *sides, seed=0):
    channels = predictor.task.encoder_decoder.in_channels
    return np.random.default_rng(seed).random((channels, *sides), dtype=np.float32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "network", "sides"),
    [
        ("nuclei", {}, (37, 44)),
        ("nuclei_vhllrhe", {}, (48, 32)),
        ("nuclei_u3clr", {"norm": "batch", "activation": "prelu"}, (37, 44)),
        ("nuclei_unet2015", {"topology": "unet"}, (20, 23)),
        ("nerve_vhllrhe", {}, (37, 44)),
        ("ultrasound3d_vnet", {}, (12, 17, 8)),
    ],
)
def test_replayed_answers_are_those_of_a_network_that_is_called(
    tape, name, network, sides, precision
):
    recording, plain = _both(name, precision=precision, **network)
    for seed in range(WARM_UP + 3):
        image = _image(plain, *sides, seed=seed)
        for flips in (False, True):
            answers = [one.probabilities(image, flips) for one in (recording, plain)]
            np.testing.assert_array_equal(*answers)
    assert tape.records == recording.recorded.shapes > 0
    assert tape.replays > WARM_UP


def test_images_that_are_padded_to_one_shape_share_a_recording(tape):
    recording, plain = _both()
    for seed, sides in enumerate([(45, 50), (48, 52), (46, 49), (45, 52), (60, 50), (47, 51)]):
        image = _image(plain, *sides, seed=seed)
        np.testing.assert_array_equal(*(one.probabilities(image) for one in (recording, plain)))
    assert recording.recorded.shapes == tape.records == 1


def test_batches_are_filled_up_to_a_few_sizes(tape):
    seen = []

    def forward(images, others):
        seen.append(len(images))
        return images * 2 + others.mean((1, 2, 3), keepdim=True)

    replay, pairs = RecordedForward(forward, CPU, tape), []
    for count in (1, 2, 3, 4, 5, 3, 4, 3, 7, 8, 6):
        images, others = torch.rand(count, 1, 4, 4), torch.rand(count, 2, 4, 4)
        wanted = images * 2 + others.mean((1, 2, 3), keepdim=True)
        pairs.append((replay(images, others), wanted))
    for answer, wanted in pairs:  # not before the last replay
        torch.testing.assert_close(answer, wanted)
    assert set(seen) == {1, 2, 4, 8}
    assert replay.shapes == 2  # of 4 and of 8 images


def test_few_recordings_are_kept_those_used_last(tape, monkeypatch):
    monkeypatch.setattr(recorded, "MOST_SHAPES", 2)
    replay = RecordedForward(lambda images: images + 1, CPU, tape)

    def ask(side, times):
        for _ in range(times):
            image = torch.rand(1, 1, side, side)
            torch.testing.assert_close(replay(image), image + 1)

    ask(4, WARM_UP + 1)
    ask(8, WARM_UP + 1)
    ask(4, 1)
    assert tape.records == replay.shapes == 2
    ask(16, WARM_UP + 1)  # in place of 8
    assert (tape.records, replay.shapes) == (3, 2)
    ask(4, 2)
    assert tape.records == 3
    ask(8, WARM_UP)
    assert tape.records == 3, "it is new again"
    ask(8, 1)
    assert tape.records == 4


def test_shapes_that_come_once_are_not_kept_count_of_for_ever(tape):
    recorder = Recorder(lambda images: images + 1, CPU, tape, warm_up=2, replaced=True)
    for side in range(1, 300):
        recorder([torch.rand(side)])
    assert len(recorder._seen) <= capture._SEEN_SHAPES
    assert tape.records == 0


def test_large_images_are_not_recorded_as_computing_takes_longer_than_launching(tape, monkeypatch):
    monkeypatch.setattr(recorded, "MOST_PIXELS", 32 * 32)
    recording, plain = _both()
    for sides in ((32, 32), (33, 32)):
        for _ in range(WARM_UP + 2):
            image = _image(plain, *sides)
            np.testing.assert_array_equal(*(one.probabilities(image) for one in (recording, plain)))
    assert (tape.records, tape.replays) == (1, 2)


def test_clicks_are_replayed_with_the_image(tape):
    recording, plain = _both("nuclei_click", ClickPredictor)
    for seed in range(WARM_UP + 2):
        image = _image(plain, 37, 44, seed=seed)
        clicks = Clicks(np.array([[5 + seed, 7]]), np.array([[20, 30]]))
        answers = [one.probabilities(image, clicks=clicks) for one in (recording, plain)]
        np.testing.assert_array_equal(*answers)
        assert not np.array_equal(answers[0], recording.probabilities(image))
    assert tape.replays > 0


def test_threads_that_share_a_predictor_get_each_its_own_answer(tape):
    recording, plain = _both()
    images = [_image(plain, 32 + 8 * (seed % 3), 40, seed=seed) for seed in range(24)]
    wanted = [plain.probabilities(image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(recording.probabilities, images))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    assert tape.replays > 0


def test_what_watches_the_network_sees_calls(tape):
    recording, plain = _both()
    image = _image(plain, 40, 40)
    for _ in range(WARM_UP + 2):
        recording.probabilities(image)
    before = tape.replays
    measures = [measure_prepared(one, image, seed=3).as_dict() for one in (recording, plain)]
    assert measures[0] == measures[1]
    assert tape.replays > before, "mirrored copies are not watched"


def test_outside_of_inference_the_network_is_called(tape):
    recording, _ = _both()
    channels = recording.task.encoder_decoder.in_channels
    images = torch.rand(1, channels, 32, 32, requires_grad=True)
    for _ in range(WARM_UP + 2):
        recording._logits(images).sum().backward()
    assert tape.records == tape.warm_ups == 0
    assert images.grad is not None


def test_where_recording_fails_the_network_is_called_and_the_log_says_so(tape, monkeypatch, caplog):
    def fail(call):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(tape, "record", fail)
    recording, plain = _both()
    with caplog.at_level(logging.WARNING):
        for seed in range(WARM_UP + 3):
            image = _image(plain, 37, 44, seed=seed)
            np.testing.assert_array_equal(*(one.probabilities(image) for one in (recording, plain)))
    told = [line for line in caplog.messages if "is not recorded as a CUDA graph" in line]
    assert told == [
        "The network's answer is not recorded as a CUDA graph, and takes longer so: "
        "CUDA error: out of memory"
    ]


def test_on_a_cpu_nothing_is_recorded():
    assert answer_tape(CPU) is None
    assert _both()[0].recorded is None


def test_on_a_gpu_all_graphs_compute_in_the_same_memory_by_the_usual_algorithms(monkeypatch):
    """What is asked of CUDA, on a machine that has none."""
    cuda = MagicMock()
    monkeypatch.setattr(capture.torch, "cuda", cuda)
    tape = answer_tape(torch.device("cuda", 0))
    assert isinstance(tape, GraphTape)
    tried = []
    tape.warm_up(lambda: tried.append(torch.backends.cudnn.benchmark))
    for _ in range(2):
        tape.record(lambda: tried.append(torch.backends.cudnn.benchmark))
    assert tried == [False] * 3
    cuda.graph_pool_handle.assert_called_once_with()
    pools = {call.args[1] for call in cuda.graph.call_args_list}
    assert pools == {cuda.graph_pool_handle.return_value}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_graphs_answer_as_calls_do():
    recording, plain = _both()
    recording, plain = (
        type(one)(one.task, one.network, "cuda", precision="fp32") for one in (recording, plain)
    )
    recording.recorded = RecordedForward(
        recording._computed, recording.device, answer_tape(recording.device)
    )
    for seed, sides in enumerate([(37, 44), (64, 64)] * 6):
        image = _image(plain, *sides, seed=seed)
        answers = [one.probabilities(image) for one in (recording, plain)]
        np.testing.assert_allclose(*answers, atol=1e-6)
    assert recording.recorded.shapes == 2
