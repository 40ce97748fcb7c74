"""A model as ONNX, checked by onnxruntime before it is written.

onnx, onnxscript and onnxruntime are optional (requirements-exchange.txt); they are imported inside
functions only.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.errors import InputError
from lib.exchange.about import About, spec_of
from lib.files import write_atomically
from lib.networks.classifiers import MultiViewClassifier
from lib.tasks.image_spec import InputSpec
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_network

TOLERANCE = 1e-3  # of probabilities on noise; what is worse is a wrong conversion
AXES = ("z", "y", "x")
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """What is converted, and inputs of two sizes.

    Attributes:
        module: from `inputs` to probabilities.
        names: of the inputs.
        example, other: values for each input; the axes in which they differ may have any size.
        axes: by number, those of each argument that may have any size, as torch.export has them.
    """

    module: nn.Module
    names: tuple[str, ...]
    example: tuple[Tensor, ...]
    other: tuple[Tensor, ...]
    axes: tuple[Any, ...]


def write_onnx(file: Path, task: TaskSpec, checkpoint: Checkpoint, about: About) -> float:
    """Write a model as ONNX, from prepared images to probabilities, and return how exact it is.

    Input ``image``: float32 `(batch, channels, *spatial)`, prepared as the property
    ``preprocessing`` of the file says. Segmentation: the sides are multiples of the network's
    divisor; a task that follows clicks also takes ``guidance``, `(batch, 2, *spatial)`; output
    ``probabilities`` `(batch, maps, *spatial)`. Mammograms: ``view`` is the index of each image's
    network, `(batch)` int64; output `(batch, classes)`, with the temperature applied.

    Args:
        task: as the weights need it, see `NetworkRunner.as_trained`.

    Returns:
        The largest difference of a probability from torch, on noise of another size.

    Raises:
        InputError: a package is missing, the weights do not fit, torch cannot convert the network,
            or what it makes of it answers otherwise.
    """
    check_installed()
    import onnxruntime

    network = load_network(task, checkpoint)
    graph = (_exam_graph if task.exam is not None else _image_graph)(task, network, checkpoint)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                graph.module,
                graph.example,
                dynamo=True,
                dynamic_shapes=graph.axes,
                input_names=graph.names,
                output_names=["probabilities"],
                verbose=False,
            )
            expected = graph.module(*graph.other).numpy()
    except Exception as error:  # its exporter fails in many ways
        cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"'{task.name}' cannot be converted to ONNX: {cause}") from error
    assert program is not None
    model = program.model_proto
    for name, text in _properties(task, about).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    content: bytes = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = dict(zip(graph.names, (one.numpy() for one in graph.other), strict=True))
    given = {one.name: given[one.name] for one in session.get_inputs()}
    (found,) = session.run(["probabilities"], given)
    difference = float(np.abs(found - expected).max())
    if found.shape != expected.shape or not difference <= TOLERANCE:
        raise InputError(
            f"what ONNX makes of '{task.name}' answers otherwise, by {difference:.2g}; it is not "
            f"written"
        )
    write_atomically(file, lambda stream: stream.write(content))
    return difference


def check_installed() -> None:
    """Raise `InputError` if a package that ONNX takes is missing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"--format onnx needs {', '.join(missing)}; pip install -r requirements-exchange.txt"
        )


class _Maps(nn.Module):
    """Probabilities of a segmentation network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return probabilities `(N, maps, *spatial)`."""
        return torch.sigmoid(self.network(*inputs))


class _Views(nn.Module):
    """Probabilities of a classifier; every network answers, and each image takes that of its own.

    A choice of what to run would depend on values, which a graph cannot.
    """

    def __init__(self, network: MultiViewClassifier, temperature: float) -> None:
        super().__init__()
        self.networks, self.temperature = network.networks, temperature

    def forward(self, image: Tensor, view: Tensor) -> Tensor:
        """Return probabilities `(N, classes)`."""
        answers = torch.stack([network(image) for network in self.networks], 1)
        chosen = view.reshape(-1, 1, 1).expand(-1, 1, answers.shape[2])
        return torch.softmax(answers.gather(1, chosen)[:, 0] / self.temperature, 1)


def _image_graph(task: TaskSpec, network: nn.Module, checkpoint: Checkpoint) -> _Graph:
    spec = task.map_network
    least = spec.input_size(spec.divisor + 1)
    sides = [spec.input_size(least + one * spec.divisor) for one in range(4)]
    axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    for number, name in enumerate(AXES[-spec.spatial_dims :], start=2):
        free = torch.export.Dim(name, min=2)
        axes[number] = spec.divisor * free if spec.padding == "same" else free
    noise = torch.Generator().manual_seed(0)
    widths = [spec.in_channels, *([spec.guidance_channels] if spec.guidance_channels else [])]
    names = ("image", "guidance")[: len(widths)]
    example, other = (
        tuple(torch.rand(count, width, *shape, generator=noise) for width in widths)
        for count, shape in (
            (2, sides[1 : 1 + spec.spatial_dims]),
            (1, sides[: spec.spatial_dims][::-1]),
        )
    )
    return _Graph(
        module=_Maps(network),
        names=names,
        example=example,
        other=other,
        axes=(tuple(dict(axes) for _ in widths),),  # of the one argument *inputs
    )


def _exam_graph(task: TaskSpec, network: nn.Module, checkpoint: Checkpoint) -> _Graph:
    assert isinstance(network, MultiViewClassifier)
    spec, batch = task.classifier, torch.export.Dim("batch", min=1)
    noise = torch.Generator().manual_seed(0)
    count = len(network.networks)
    example, other = (
        (
            torch.rand(number, spec.in_channels, *task.input.sides, generator=noise),
            torch.arange(number) % count,
        )
        for number in (2, 3)
    )
    return _Graph(
        module=_Views(network, float(checkpoint.answer.get("temperature", 1.0))),
        names=("image", "view"),
        example=example,
        other=other,
        axes=({0: batch}, {0: batch}),
    )


def _properties(task: TaskSpec, about: About) -> dict[str, str]:
    """Return what the file says of itself, texts by name."""
    exam = task.exam is not None
    named: dict[str, Sequence[str]] = (
        {"classes": task.exam_rules.names} if exam else {"maps": task.target.answered}
    )
    if exam:
        named["networks"] = task.classifier.views or ("all",)
    return {
        "task": task.name,
        "description": task.description,
        "version": about.version,
        "software": f"unetvnet {about.software}",
        "licence": task.weights_licence or "the weights belong to who trained them",
        "preprocessing": _preparation(task),
        "input": json.dumps(spec_of(task.input)),
        "labels": json.dumps(dict(task.labels)),
        **{name: json.dumps(value) for name, value in named.items()},
        "output": json.dumps({} if exam else spec_of(task.output)),
    }


def _preparation(task: TaskSpec) -> str:
    spec = task.input
    if task.exam is not None:
        rows, columns = spec.sides
        return (
            f"the breast alone, chest wall at the right, head up, resized with its aspect ratio "
            f"into {rows} x {columns}, 0 outside; channels {', '.join(spec.channels)}: greys whose "
            f"0.5th and 99.5th percentile within the breast are 0 and 1, and those of the image"
        )
    steps = [
        "red, green and blue, each by itself, of images in colour the median of whose brightest "
        "colour is above 0.4 of its 99.8th percentile; three times the luminance (0.299, 0.587, "
        "0.114) of all others"
        if spec.coloured
        else "colour to luminance (0.299, 0.587, 0.114)",
        f"intensities scaled so that {_ends(spec)}, clipped",
    ]
    if spec.dark_background:
        steps.append(
            "inverted if the median lies above the middle of that range, or if it is in colour and "
            "the median of the brightest colour is above 0.4 of its 99.8th percentile"
        )
    if spec.longest_side:
        steps.append(f"rows and columns resampled linearly, the longer to {spec.longest_side}")
    if spec.orientation:
        steps.append(f"volumes turned so that x, y, z point to {spec.orientation}")
    if spec.spacing:
        steps.append(f"volumes resampled linearly to {spec.spacing} mm along x, y, z; 0 keeps")
    elif spec.isotropic:
        steps.append("volumes resampled to one spacing, the coarsest, at most 1.5 x the mean")
    divisor = task.map_network.divisor
    if task.map_network.padding == "same":
        steps.append(f"mirrored at the far edges up to multiples of {divisor}")
    if task.clicks is not None:
        radius = task.clicks.radius
        steps.append(
            f"guidance: discs of radius {radius} pixels at positive clicks, then at negative ones"
        )
    return "; ".join(steps)


def _ends(spec: InputSpec) -> str:
    """Return which intensities become 0 and 1."""
    if spec.window:
        return "{} is 0 and {} is 1".format(*spec.window)
    return "percentile {} is 0 and {} is 1".format(*spec.percentiles)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from printing what it does."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
