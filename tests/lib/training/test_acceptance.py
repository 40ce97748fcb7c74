"""Weights from elsewhere: what is not whole, not of the task, or cannot answer is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.errors import InputError
from lib.networks import build_network
from lib.tasks.registry import get_task
from lib.training.acceptance import accept_weights, check_version, largest_file
from lib.weights.checkpoint import Checkpoint, save_checkpoint, state_on_cpu
from lib.weights.store import ModelStore

TASK = get_task("nuclei_u3clr")
FIRST = "encoder.0.convolutions.0.0.weight"


@pytest.fixture(scope="module")
def good() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        task=TASK.name,
        spec=TASK.as_dict(),
        weights=state_on_cpu(build_network(TASK.network)),
        metrics={"mean_iou": 0.5},
        provenance={"step": 3},
    )


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"from": value}
    return value


def _laughs() -> list[Any]:
    value: list[Any] = ["ha"]
    for _ in range(40):
        value = [value, value]
    return value


def _cycle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


BAD: dict[str, tuple[Callable[[Checkpoint], dict[str, Any]], str]] = {
    "nan": (lambda c: {FIRST: c.weights[FIRST] * float("nan")}, "not finite"),
    "overflow": (lambda c: {n: torch.full_like(w, 3e38) for n, w in c.weights.items()}, "phantom"),
    "shape": (lambda c: {FIRST: torch.zeros(3)}, "size mismatch"),
    "more": (lambda c: {"more": torch.zeros(3)}, "Unexpected key"),
    "no tensor": (lambda c: {FIRST: "x"}, "no tensor of numbers"),
    "expanded": (lambda c: {FIRST: torch.zeros(1).expand(10**5, 10**5)}, "damaged weights file"),
    "complex": (lambda c: {FIRST: c.weights[FIRST].to(torch.complex64)}, "no tensor of numbers"),
    "integers": (lambda c: {FIRST: c.weights[FIRST].to(torch.int32)}, "expected real numbers"),
    "sparse": (lambda c: {FIRST: c.weights[FIRST].reshape(-1, 1).to_sparse()}, "no tensor"),
}
BAD_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "task": ({"task": "nuclei_vcr"}, "weights of task 'nuclei_vcr', expected 'nuclei_u3clr'"),
    "no task": ({"task": 4}, "task is int, expected str"),
    "kind": ({"spec": {**TASK.as_dict(), "kind": "x"}}, "trained with kind x"),
    "labels": ({"spec": {**TASK.as_dict(), "labels": {"a": 1}}}, "trained with labels"),
    "network": ({"spec": {**TASK.as_dict(), "network": [1]}}, "networks differ"),
    "spec": ({"spec": "x"}, "spec is str, expected dict"),
    "nan metric": ({"metrics": {"mean_iou": float("nan")}}, "expected a finite number"),
    "text metric": ({"metrics": {"mean_iou": "x"}}, "expected a finite number"),
    "endless metric": ({"metrics": {"mean_iou": 10**400}}, "no plain value"),
    "tensor metric": ({"metrics": {"mean_iou": torch.zeros(1)}}, "damaged weights file"),
    "metrics": ({"metrics": [1]}, "metrics is list, expected dict"),
    "deep": ({"provenance": _nested(230)}, "in each other"),
    "laughs": ({"provenance": {"a": _laughs()}}, "values"),
    "cycle": ({"provenance": _cycle()}, "in each other"),
    "long text": ({"provenance": {"step": "a" * 20_000}}, "no plain value"),
    "half a sign": ({"provenance": {"step": "\ud800"}}, "no plain value"),
    "name": ({"provenance": {5: 1}}, "expected text"),
    "answer": ({"answer": 3}, "answer is int, expected dict"),
}


def _refused(file: Path, words: str) -> None:
    with pytest.raises(InputError) as refused:
        accept_weights(file, TASK)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_good_weights_are_accepted(good, tmp_path):
    found = accept_weights(save_checkpoint(tmp_path / "good.pt", good), TASK)
    assert found.provenance == {"step": 3}
    assert all(torch.equal(found.weights[name], value) for name, value in good.weights.items())


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_are_refused(good, tmp_path, name):
    change, words = BAD[name]
    bad = replace(good, weights={**good.weights, **change(good)})
    _refused(save_checkpoint(tmp_path / "bad.pt", bad), words)


@pytest.mark.parametrize("name", BAD_PARTS)
def test_what_is_wrong_beside_the_weights_is_refused(good, tmp_path, name):
    change, words = BAD_PARTS[name]
    _refused(save_checkpoint(tmp_path / "bad.pt", replace(good, **change)), words)


def _rewritten(file: Path, change: Callable[[str, bytes], bytes], packed: int) -> Path:
    content = io.BytesIO()
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(content, "w", packed) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, change(entry.filename, source.read(entry)))
    file.write_bytes(content.getvalue())
    return file


def test_a_packed_file_is_refused_before_it_is_unpacked(good, tmp_path):
    file = save_checkpoint(tmp_path / "bomb.pt", good)
    zeros = bytes(200_000_000)
    bomb = _rewritten(
        file, lambda name, data: zeros if name.endswith("/data/0") else data, zipfile.ZIP_DEFLATED
    )
    _refused(bomb, "would unpack to 20")


def test_weights_that_claim_more_than_the_file_holds_are_refused(good, tmp_path):
    file = save_checkpoint(tmp_path / "short.pt", good)
    _refused(
        _rewritten(
            file,
            lambda name, data: data[:16] if name.endswith("/data/0") else data,
            zipfile.ZIP_STORED,
        ),
        "damaged weights file",
    )


def test_a_file_larger_than_the_task_needs_is_not_read(tmp_path):
    file = tmp_path / "large.pt"
    with open(file, "wb") as target:
        target.truncate(largest_file(TASK) + 1)
    _refused(file, "have at most")


@pytest.mark.parametrize("name", ["nuclei_click", "nuclei_huv", "nerve_cine", "density_birads"])
def test_weights_of_every_kind_can_be_accepted(name, tmp_path):
    task = get_task(name)
    weights = state_on_cpu(build_network(task.network))
    checkpoint = Checkpoint(task=name, spec=task.as_dict(), weights=weights)
    accept_weights(save_checkpoint(tmp_path / "row.pt", checkpoint), task)


def test_an_input_that_nobody_trains_on_is_refused(tmp_path):
    task = get_task("density_a_vs_d_vgg")
    spec = {**task.as_dict(), "input": {"size": 10**7}}
    weights = state_on_cpu(build_network(task.network))
    file = tmp_path / "row.pt"
    save_checkpoint(file, Checkpoint(task=task.name, spec=spec, weights=weights))
    with pytest.raises(InputError, match="images of size 10000000"):
        accept_weights(file, task)


def test_a_version_that_was_damaged_is_not_served_again(good, tmp_path):
    store = ModelStore(tmp_path / "models", tmp_path)
    file = save_checkpoint(tmp_path / "good.pt", good)
    first = store.submit(TASK.name, file, {"m": 1.0}, "m", None).version
    check_version(store, TASK, first)
    (version,) = store.versions(TASK.name)
    version.path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged or foreign weights file"):
        check_version(store, TASK, first)
