"""Weights on disk, with their origin: written atomically, read without executing code."""

from __future__ import annotations

import hashlib
import io
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.errors import InputError
from lib.files import write_atomically
from lib.image import LUMINANCE
from lib.networks import build_network
from lib.tasks.image_spec import COLOURS
from lib.tasks.spec import TaskSpec
from lib.weights.contents import check_archive, check_plain_parts, check_tensors

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights of one task.

    Attributes:
        task: name of the row.
        spec: the row as plain data, as it was trained.
        weights: the network's state dict, on the CPU, float32 (float16 in a compact copy).
        metrics: figures on the fixed validation cases, by name.
        provenance: seed, steps, data fingerprint, versions, time and command.
        answer: what else decides the answers, such as a temperature.
    """

    task: str
    spec: dict[str, Any]
    weights: dict[str, Tensor]
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> Path:
    """Write `checkpoint` atomically and return its path."""
    return save_tensors(path, {"format": FORMAT, **vars(checkpoint)})


def compact(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with its weights rounded to float16: half the size, to pass on."""
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in checkpoint.weights.items()
    }
    return replace(
        checkpoint, weights=halved, provenance={**checkpoint.provenance, "stored": "float16"}
    )


def save_tensors(path: str | os.PathLike[str], content: dict[str, Any]) -> Path:
    """Write tensors and plain data atomically; a full disk raises `OSError`."""
    # torch turns errors of the file into RuntimeErrors of its own, so it writes to memory
    memory = io.BytesIO()
    torch.save(content, memory)
    return write_atomically(path, lambda file: file.write(memory.getbuffer()))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; only tensors and plain data are accepted.

    Raises:
        InputError: missing, damaged, not a checkpoint of this project, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path.name}: no such weights file")
    try:
        content = _load(path)
    except InputError:
        raise
    except Exception as error:  # a foreign file fails in many ways: pickle, zip, struct, torch
        cause = str(error).strip().splitlines()[0][:160] if str(error).strip() else "unreadable"
        raise InputError(f"{path.name}: damaged or foreign weights file ({cause})") from None
    if not isinstance(content, dict) or not {"format", *_FIELDS} <= set(content):
        raise InputError(
            f"{path.name}: not a checkpoint of this app; expected one written by its training "
            f"(task, spec, weights, metrics, provenance)"
        )
    check_plain_parts(path.name, content)
    if content["format"] > FORMAT:
        raise InputError(
            f"{path.name}: checkpoint format {content['format']}, this version reads up to "
            f"{FORMAT}; update the app"
        )
    names = (*_FIELDS, *_LATER)
    return Checkpoint(**{name: content[name] for name in names if name in content})


def load_network(task: TaskSpec, checkpoint: Checkpoint) -> nn.Module:
    """Return the task's network with the checkpoint's weights, in evaluation mode.

    Raises:
        InputError: the weights are those of another network.
    """
    # the checkpoint was trained with the defaults of options that are newer than it
    defaults = asdict(type(task.network)())
    expected = _plain(asdict(task.network))
    stored = checkpoint.spec.get("network", {})
    found = _plain({**defaults, **(stored if isinstance(stored, dict) else {"spec": stored})})
    if task.input.coloured and found.get("in_channels") == 1:  # of luminance, see `_fitted`
        found["in_channels"] = expected.get("in_channels")
    if expected != found:
        keys = sorted(set(expected) | set(found))
        differing = [key for key in keys if expected.get(key) != found.get(key)]
        raise InputError(
            f"weights of task '{checkpoint.task}' do not fit task '{task.name}': the networks "
            f"differ in {', '.join(differing)}; use weights trained for '{task.name}'"
        )
    network = build_network(task.network)
    try:
        network.load_state_dict(_fitted(task, checkpoint, network.state_dict()))
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1].strip()[:200]
        raise InputError(f"weights of task '{checkpoint.task}' are incomplete ({cause})") from None
    return network.eval()


def transfer_network(task: TaskSpec, checkpoint: Checkpoint) -> tuple[nn.Module, int, list[str]]:
    """Return a new network of the task that starts from the checkpoint's weights that fit it.

    Tensors with the same name and shape are taken, from any task. The others (heads, a
    normalisation, stages of another width) keep their random values.

    Returns:
        The network, in evaluation mode; how many tensors were taken; the names of the others.

    Raises:
        InputError: fewer than half of the network's parameters are among the weights.
    """
    network = build_network(task.network)
    state = network.state_dict()
    weights = _fitted(task, checkpoint, state)
    fitting = {n: weights[n] for n in state if n in weights and weights[n].shape == state[n].shape}
    taken, total = (sum(state[n].numel() for n in names) for names in (fitting, state))
    if 2 * taken < total:
        raise InputError(
            f"weights of task '{checkpoint.task}' do not fit task '{task.name}': {taken} of "
            f"{total} parameters have the same name and shape, expected at least half; start "
            f"from weights of a network with the same maps and kernels, or from random ones"
        )
    network.load_state_dict({**state, **fitting})
    return network.eval(), len(fitting), [name for name in state if name not in fitting]


def _fitted(
    task: TaskSpec, checkpoint: Checkpoint, state: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """Return the weights as a task takes them whose network has `state`.

    A kernel for luminance becomes one for three colours that answers their luminance alike, and one
    for colours a kernel for grey that answers as to three equal colours.
    """
    stored = checkpoint.spec.get("input")
    channels = stored.get("channels") if isinstance(stored, dict) else None
    coloured = isinstance(channels, (list, tuple)) and tuple(channels) == COLOURS
    if task.input.coloured == coloured:
        return checkpoint.weights
    shares = torch.from_numpy(LUMINANCE).reshape(1, -1, 1, 1)
    before, after = (len(COLOURS), 1) if coloured else (1, len(COLOURS))
    fitted = dict(checkpoint.weights)
    for name in state.keys() & fitted.keys():
        weight, (maps, *others) = fitted[name], state[name].shape or (0,)
        if weight.ndim == 4 and weight.shape == (maps, before, *others[1:]) and others[0] == after:
            fitted[name] = weight.sum(1, keepdim=True) if coloured else weight * shares.to(weight)
    return fitted


def weights_fingerprint(checkpoint: Checkpoint) -> str:
    """Return 16 hexadecimal digits over the names and values of the weights."""
    digest = hashlib.sha256()
    for name, value in sorted(checkpoint.weights.items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def state_on_cpu(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's weights on the CPU, contiguous."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in ("torch", "monai", "pytorch-ignite", "numpy", "scikit-image", "monailabel"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def utc_now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_FIELDS = ("task", "spec", "weights", "metrics", "provenance")
_LATER = ("answer",)  # files from before it lack it


def _load(path: Path) -> Any:
    """Return what is in a file of `torch.save`.

    The file is mapped into memory first: a storage that claims to be longer than its bytes is cut
    there, and read beyond them otherwise. What fits is then copied.
    """
    check_archive(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    weights = content.get("weights") if isinstance(content, dict) else None
    if isinstance(weights, dict):
        check_tensors(path, weights)
        content["weights"] = {name: value.clone() for name, value in weights.items()}
    return content


def _plain(value: Any) -> Any:
    """Return `value` with lists for tuples, which JSON does not keep apart."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
