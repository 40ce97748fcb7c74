"""Weights from elsewhere: read before they are published, never run as code."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from server_support import MODEL, UNTRAINED, Server, assert_refused, threshold_weights

IMAGE = "fluorescence_000"


class Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def bad_weights(folder: Path) -> dict[str, tuple[bytes, str]]:
    other = threshold_weights(folder / "other.pt", task=UNTRAINED).read_bytes()
    torch.save({"weights": torch.zeros(3)}, folder / "bare.pt")
    return {
        "text": (b"garbage", "weights file"),
        "nothing": (b"", "weights file"),
        "half": (other[: len(other) // 2], "weights file"),
        "bare tensors": ((folder / "bare.pt").read_bytes(), "not a checkpoint"),
        "another task": (other, f"expected '{MODEL}'"),
        "code": (pickle.dumps(Trap(folder / "sprung")), "weights file"),
    }


def test_bad_weights_are_refused_and_the_live_ones_stay(calm: Server, tmp_path: Path) -> None:
    live = calm.live_file.read_bytes()
    info = calm.get(f"/model/info/{MODEL}").json()
    for content, cause in bad_weights(tmp_path).values():
        response = calm.put(f"/model/{MODEL}", files={"file": ("weights.pt", content)})
        assert_refused(response, 400, cause)
    assert not (tmp_path / "sprung").exists(), "code in an upload was run"
    assert calm.live_file.read_bytes() == live
    assert calm.get(f"/model/info/{MODEL}").json() == info
    assert not list(calm.model_dir.glob(".upload*"))
    assert calm.infer(IMAGE).ok


def test_good_weights_are_served_at_once_and_can_be_taken_back(
    calm: Server, tmp_path: Path
) -> None:
    weights = threshold_weights(tmp_path / "new.pt", task=UNTRAINED).read_bytes()
    reply = calm.put(f"/model/{UNTRAINED}", files={"file": ("new.pt", weights)})
    assert reply.ok, reply.text
    try:
        assert UNTRAINED in calm.get("/info/").json()["models"]
        answer = calm.post(f"/infer/{UNTRAINED}", params={"image": IMAGE, "output": "json"})
        assert answer.json()["objects"] > 1
    finally:
        assert calm.delete(f"/model/{UNTRAINED}").ok
    assert UNTRAINED not in calm.get("/info/").json()["models"]
    assert_refused(calm.delete(f"/model/{UNTRAINED}"), 400, "no published weights")
