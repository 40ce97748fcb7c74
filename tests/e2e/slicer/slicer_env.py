"""A process of 3D Slicer's code, and what it shows compared with what is true."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

PROGRAM = Path(__file__).with_name("slicer_process.py")
NEAR = 1e-3  # millimetres within which two positions are one


@dataclass(frozen=True)
class Shown:
    """What Slicer shows.

    Attributes:
        volume: voxels of the image as Slicer loaded them, `(k, j, i)`, in colour `(k, j, i, 3)`.
        segments: by name, boolean on the grid of the volume.
        counts: by name, number of voxels of the segment wherever it lies.
        shift: distance of the label from the image, millimetres; None where no label is shown.
    """

    volume: np.ndarray
    segments: dict[str, np.ndarray]
    counts: dict[str, int]
    shift: float | None

    @property
    def bright(self) -> np.ndarray:
        """Voxels of the image in the upper half of 0..255."""
        grey = self.volume if self.volume.ndim == 3 else self.volume.max(axis=-1)
        return grey > 128

    def faults(self, truth: Mapping[str, np.ndarray]) -> str:
        """Return in what the segments differ from `truth`, boolean on the volume's grid by name."""
        found = []
        if self.shift is None or self.shift > NEAR:
            found.append(f"the label lies {self.shift} mm beside the image")
        if set(self.segments) != set(truth):
            found.append(f"segments {sorted(self.segments)}, expected {sorted(truth)}")
        for name in self.segments.keys() & truth.keys():
            shown, true = self.segments[name], truth[name]
            if wrong := int(np.count_nonzero(shown != true)):
                found.append(f"{name}: {wrong} voxels differ, {true.sum()} expected")
            if self.counts[name] != shown.sum():
                found.append(f"{name}: {self.counts[name] - shown.sum()} voxels are not shown")
        return "; ".join(found)


class SlicerProcess:
    """Runs `slicer_process.py` in the environment of 3D Slicer's code.

    Args:
        python: of that environment.
        folder: for what is exchanged, and for what Slicer prints.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.out, self.log = python, folder / "shown.npz", folder / "slicer.log"
        self.process: subprocess.Popen[str] | None = None

    def _running(self) -> subprocess.Popen[str]:
        """Return the process, started again where a wrong label ended it."""
        if self.process is None or self.process.poll() is not None:
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    [self.python, PROGRAM],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            self._reply(self.process)
        return self.process

    def _reply(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"3D Slicer's code ended:\n{self.log.read_text(errors='replace')[-2000:]}"
        reply: dict[str, Any] = json.loads(line)
        assert "error" not in reply, reply["error"]
        return reply

    def _ask(self, do: str, **request: Any) -> tuple[Shown, dict[str, Any]]:
        process = self._running()
        assert process.stdin is not None
        known = {
            key: str(value) if isinstance(value, Path) else value for key, value in request.items()
        }
        process.stdin.write(json.dumps({"do": do, "out": str(self.out), **known}) + "\n")
        process.stdin.flush()
        reply = self._reply(process)
        with np.load(self.out) as arrays:
            volume = arrays["volume"]
            segments = {name: arrays[f"segment {n}"] for n, name in enumerate(reply["names"])}
        return Shown(volume, segments, reply["counts"], reply["shift"]), reply

    def load(self, image: Path) -> Shown:
        """Load an image alone."""
        return self._ask("voxels", image=image)[0]

    def show(self, image: Path, label: Path | str, names: Mapping[str, int]) -> Shown:
        """Show a label image over an image, with the names of an answer."""
        return self._ask("show", image=image, label=str(label), names=in_order(names))[0]

    def submit(
        self, image: Path, label: Path | str, names: Mapping[str, int], first: list[str], file: Path
    ) -> tuple[Shown, list[dict[str, Any]]]:
        """Show a label over an image that has empty segments `first`; write what Submit sends.

        Returns:
            What is shown, and the ``label_info`` that goes with the file.
        """
        shown, reply = self._ask(
            "submit", image=image, label=str(label), names=in_order(names), first=first, file=file
        )
        return shown, reply["label_info"]

    def draw(
        self, image: Path, segments: Mapping[str, np.ndarray], file: Path
    ) -> list[dict[str, Any]]:
        """Draw segments, boolean on the grid of the volume, and write what is sent of them.

        Returns:
            The ``label_info`` that goes with the file.
        """
        drawn = self.out.with_name("drawn.npz")
        np.savez(drawn, **segments)
        info: list[dict[str, Any]]
        info = self._ask("draw", image=image, drawn=drawn, file=file)[1]["label_info"]
        return info

    def stop(self) -> None:
        """End the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait(60)


def in_order(names: Mapping[str, int]) -> list[str]:
    """Return names as the module passes them on: by value."""
    return [name for name, _ in sorted(names.items(), key=lambda item: item[1])]


def image_id(file: Path) -> str:
    """Return the id under which the tests put an image into the studies."""
    return file.name.split(".")[0]


def run(client: Any, model: str, image: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Ask for an answer as the module does on Run: the first of every list of the model's config.

    Returns:
        The label file, and what is told of it.
    """
    config = client.info()["models"][model]["config"]
    params = {k: v[0] if isinstance(v, list) else v for k, v in config.items()} | more
    params |= {"result_extension": ".nrrd", "result_dtype": "uint8"}
    answer: tuple[str, dict[str, Any]] = client.infer(model, image, params)
    return answer


def objects_of(shown: Shown) -> int:
    """Check that the segments are the bright objects of the image, one each, and count them."""
    true, count = ndimage.label(shown.bright, np.ones((3, 3, 3)))
    parts = [true == number for number in range(1, count + 1)]
    truth = {}
    for name, segment in shown.segments.items():
        truth[name] = parts[int(true[segment].max(initial=1)) - 1]
    assert len(truth) == count and not shown.faults(truth)
    assert np.array_equal(np.logical_or.reduce(list(truth.values())), shown.bright)
    return int(count)
