"""OpenVINO answers what torch answers, from a cache; where it cannot, torch does and says so."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from infer.predictor_cache import PublishedPredictors
from lib.errors import NotFoundError
from lib.interactive.predictor import ClickPredictor
from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec
from lib.uncertainty.informativeness import measure_prepared
from lib.weights import backends, openvino_models
from lib.weights.backend_names import VARIABLE, default_backend
from lib.weights.backends import wants_openvino
from lib.weights.checkpoint import Checkpoint, save_checkpoint, state_on_cpu
from lib.weights.store import ModelStore

CPU = torch.device("cpu")
SMALL = {"channels": (4, 8, 12), "convolutions": (1, 1, 2)}
with_openvino = pytest.mark.skipif(
    not openvino_models.is_installed(), reason="openvino is not installed"
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of its own for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "monailabel" / "openvino"


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What the backends warn of."""
    found: list[str] = []
    monkeypatch.setattr(backends.logger, "warning", found.append)
    return found


def _row(name: str = "nuclei", **network) -> tuple[TaskSpec, Checkpoint]:
    """Return a small row, and random weights of it."""
    task = get_task(name)
    task = replace(task, network=replace(task.network, **{**SMALL, **network}))
    torch.manual_seed(0)
    weights = state_on_cpu(build_network(task.network))
    return task, Checkpoint(task=task.name, spec=task.as_dict(), weights=weights)


def _image(task: TaskSpec, side: int = 45) -> np.ndarray:
    axes = task.network.spatial_dims
    shape = (task.encoder_decoder.in_channels, side, side + 7, 22)[: axes + 1]
    return np.random.default_rng(1).random(shape, dtype=np.float32)


@with_openvino
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("nuclei", {}),
        ("nuclei_vhllrhe", {}),
        ("nuclei_u3clr", {"norm": "batch", "activation": "prelu"}),
        ("nuclei_unet2015", {"topology": "unet"}),
        ("nerve_vhllrhe", {}),
        ("ultrasound3d_vnet", {}),
    ],
)
def test_openvino_answers_what_torch_does_for_images_of_any_size(name, network):
    task, checkpoint = _row(name, **network)
    expected = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32")
    found = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "openvino")
    assert (expected.backend.name, found.backend.name) == ("torch", "openvino f32")
    for side, flips in ((45, False), (30, True)):
        image = _image(task, side)
        answers = [runner.probabilities(image, flips) for runner in (expected, found)]
        assert answers[0].std() > 1e-3
        np.testing.assert_allclose(answers[1], answers[0], atol=1e-4)


@with_openvino
def test_bfloat16_stays_near_torch():
    task, checkpoint = _row()
    image = _image(task)
    answers = [
        Predictor.from_checkpoint(task, checkpoint, CPU, *options).probabilities(image)
        for options in (("fp32",), ("bf16", "openvino"))
    ]
    assert np.abs(answers[0] - answers[1]).mean() < 0.005


@with_openvino
def test_a_network_is_converted_once_and_a_damaged_file_again(cache, monkeypatch):
    task, checkpoint = _row()
    conversions = []
    convert = openvino_models._convert
    monkeypatch.setattr(
        openvino_models, "_convert", lambda *row: conversions.append(row) or convert(*row)
    )

    def answer() -> np.ndarray:
        runner = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "openvino")
        return runner.probabilities(_image(task))

    first = answer()
    np.testing.assert_array_equal(answer(), first)
    assert len(conversions) == 1
    (kept,) = cache.iterdir()
    (kept / "model.xml").write_text("<net")
    np.testing.assert_array_equal(answer(), first)
    assert len(conversions) == 2
    other = replace(checkpoint, weights={n: 2 * w for n, w in checkpoint.weights.items()})
    Predictor.from_checkpoint(task, other, CPU, "fp32", "openvino")
    assert len(conversions) == 3 and len(list(cache.iterdir())) == 2


@with_openvino
def test_the_cache_keeps_what_was_used_last(cache, monkeypatch):
    monkeypatch.setattr(openvino_models, "KEPT_BYTES", 1)
    for width in (4, 6):
        task, checkpoint = _row(channels=(width, 8, 12))
        Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "openvino")
        (kept,) = cache.iterdir()
        assert kept.name.startswith(openvino_models.model_key(task, checkpoint))


@with_openvino
def test_a_conversion_that_answers_otherwise_is_not_served(monkeypatch, said):
    task, checkpoint = _row()
    compiled = openvino_models.compiled

    def shifted(*model):
        forward = compiled(*model)
        return lambda x: (forward(x)[0] + 0.2, forward(x)[1])

    monkeypatch.setattr(openvino_models, "compiled", shifted)
    runner = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "openvino")
    assert runner.backend.name == "torch"
    assert "answers otherwise" in said[0]


def _broken(*row: object) -> None:
    raise RuntimeError("OpenVINO cannot convert it: no such operation")


@with_openvino
def test_torch_answers_what_cannot_be_converted_and_it_is_said(monkeypatch, said):
    task, checkpoint = _row()
    monkeypatch.setattr(openvino_models, "_convert", _broken)
    runner = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "auto")
    assert runner.backend.name == "torch"
    assert "'nuclei' is answered by torch: OpenVINO cannot convert it" in said[0]
    assert runner.probabilities(_image(task)).shape == (3, 45, 52)


def test_without_the_package_torch_answers_and_it_is_said_where_it_was_asked_for(monkeypatch, said):
    monkeypatch.setattr(backends, "is_installed", lambda: False)
    task, checkpoint = _row()
    assert Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "auto").backend.forward is None
    assert not said
    runner = Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "openvino")
    assert runner.backend.forward is None
    assert "openvino is not installed; install requirements-openvino.txt" in said[0]


def test_torch_answers_on_cuda_and_with_clicks(monkeypatch):
    monkeypatch.setattr(backends, "is_installed", lambda: True)
    task = get_task("nuclei")
    assert wants_openvino("openvino", task, CPU) and wants_openvino("auto", task, CPU)
    assert not wants_openvino("torch", task, CPU)
    assert not wants_openvino("openvino", task, torch.device("cuda"))
    assert not wants_openvino("openvino", get_task("nuclei_click"), CPU)
    assert not wants_openvino("openvino", TASKS["density_birads"], CPU)
    clicked, checkpoint = _row("nuclei_click")
    runner = ClickPredictor.from_checkpoint(clicked, checkpoint, CPU, "fp32", "openvino")
    assert runner.probabilities(_image(clicked)).shape[1:] == (45, 52)
    with pytest.raises(NotFoundError, match="unknown backend 'onnx'"):
        wants_openvino("onnx", task, CPU)


@with_openvino
def test_an_image_is_measured_by_the_torch_network_meanwhile():
    task, checkpoint = _row(channels=(4, 8, 12, 16), convolutions=(1, 1, 1, 1))
    measured = [
        measure_prepared(
            Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", backend), _image(task)
        )
        for backend in ("torch", "openvino")
    ]
    assert measured[0].entropy > 0
    assert measured[1].entropy == pytest.approx(measured[0].entropy, rel=1e-3)


@with_openvino
def test_a_server_answers_by_torch_until_openvino_is_ready(tmp_path):
    task, checkpoint = _row()
    store = ModelStore(tmp_path / "models", tmp_path / "shipped")
    store.folder.mkdir()
    save_checkpoint(store.published_path(task.name), checkpoint)
    predictors: PublishedPredictors[Predictor] = PublishedPredictors(task, store, "fp32", "auto")
    runner, _ = predictors.get("cpu")
    first = runner.probabilities(_image(task))
    end = time.monotonic() + 120
    while runner.backend.name == "torch" and time.monotonic() < end:
        time.sleep(0.05)
    assert runner.backend.name == "openvino f32"
    np.testing.assert_allclose(runner.probabilities(_image(task)), first, atol=1e-4)
    waiting = PublishedPredictors[Predictor](task, store, "fp32", "auto", wait=True)
    assert waiting.get("cpu")[0].backend.name == "openvino f32"


@with_openvino
def test_openvino_does_not_tell_its_maker(run_python):
    ended = run_python(
        "-c",
        "import sys; from lib.weights.openvino_models import load_openvino; load_openvino();"
        "from openvino.tools.ovc import telemetry_utils; print(telemetry_utils.tm.__name__)",
    )
    assert ended.stdout.strip() == "openvino.tools.ovc.telemetry_stub", ended.stderr


def test_the_environment_names_the_backend(monkeypatch):
    monkeypatch.setenv(VARIABLE, "torch")
    assert default_backend() == "torch"
    monkeypatch.delenv(VARIABLE)
    assert default_backend() == "auto"


@with_openvino
def test_a_conversion_leaves_logging_as_it_was(monkeypatch):
    def change_levels(*_, **__):
        for one in (logging.getLogger(), *logging.getLogger().handlers):
            one.setLevel(logging.CRITICAL)
        raise RuntimeError

    handlers = [logging.getLogger(), *logging.getLogger().handlers]
    before = [one.level for one in handlers]
    monkeypatch.setattr(openvino_models.load_openvino(), "convert_model", change_levels)
    task, checkpoint = _row()
    Predictor.from_checkpoint(task, checkpoint, CPU, "fp32", "auto")
    assert [one.level for one in handlers] == before
