"""Networks as OpenVINO models on the CPU: converted once, kept in a cache, compiled.

OpenVINO is an optional package (requirements-openvino.txt); it is imported inside functions only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib.devices import cpu_has_bf16_units
from lib.leftovers import new_folder, remove_left
from lib.networks.encoder_decoder import EncoderDecoder
from lib.networks.features import WithFeatures
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_network, weights_fingerprint

Forward = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Takes images `(N, channels, *spatial)` and returns logits `(N, maps, *spatial)`, and features
`(N, features)` as `lib.networks.features.pooled`, or None; all float32."""

KEPT_BYTES = 2 * 2**30  # of the cache; the models that were used last stay
MODEL, PARTIAL = "model.xml", ".partial-"
OUTPUTS = "features"  # what models answer beside logits; part of the name in the cache
TOLERANCE = 1e-2  # of probabilities in float32, on noise; what is worse is a wrong conversion


def is_installed() -> bool:
    """Tell whether the package openvino is here."""
    return find_spec("openvino") is not None


def load_openvino() -> Any:
    """Return the package openvino, which is kept from telling its maker of its use."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def is_for(task: TaskSpec) -> bool:
    """Tell whether the task's network takes an image alone and answers maps."""
    network = task.network
    return not isinstance(network, ClassifierSpec) and not network.guidance_channels


def cache_folder() -> Path:
    """Return where converted models are kept: ``monailabel/openvino`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "monailabel" / "openvino"


def model_key(task: TaskSpec, checkpoint: Checkpoint) -> str:
    """Return a name for the network with these weights; it is the same for equal ones."""
    spec = hashlib.sha256(json.dumps(asdict(task.network), sort_keys=True).encode()).hexdigest()
    return f"{weights_fingerprint(checkpoint)}-{spec[:8]}"


def converted(task: TaskSpec, checkpoint: Checkpoint) -> Any:
    """Return an `openvino.Model` of the network with these weights, from the cache if it is there.

    Sides and batches may have any size. It is in float32.

    Raises:
        RuntimeError: OpenVINO cannot convert it, or what it makes of it answers otherwise.
    """
    openvino = load_openvino()

    core, folder = openvino.Core(), cache_folder()
    kept = folder / f"{model_key(task, checkpoint)}-{OUTPUTS}-{version('openvino')}"
    if (kept / MODEL).is_file():
        try:
            model = core.read_model(kept / MODEL)
            os.utime(kept)
            return model
        except RuntimeError:  # damaged: it is made again
            shutil.rmtree(kept, ignore_errors=True)
    model = _convert(task, load_network(task, checkpoint))
    with contextlib.suppress(OSError):  # a full disk or a folder that cannot be written
        _keep(model, kept)
    return model


def compiled(model: Any, dtype: torch.dtype) -> Forward:
    """Return what runs an `openvino.Model` on as many threads as torch has.

    Calls must not overlap.

    Args:
        dtype: what it computes in, see `precision_hint`.
    """
    openvino = load_openvino()

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision_hint(dtype),
    }
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def forward(images: Tensor) -> tuple[Tensor, Tensor | None]:
        found = request.infer({0: images.contiguous().numpy()}, share_inputs=True)
        logits, *others = (torch.from_numpy(np.array(one, np.float32)) for one in found.values())
        return logits, others[0] if others else None

    return forward


def precision_hint(dtype: torch.dtype) -> str:
    """Return OpenVINO's name of what it computes in: bfloat16 where the CPU can, else float32."""
    return "bf16" if dtype == torch.bfloat16 and cpu_has_bf16_units() else "f32"


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """Put root logger and handlers back: a conversion that fails leaves it at errors only."""
    root = logging.getLogger()
    parts: list[logging.Logger | logging.Handler] = [root, *root.handlers]
    filters, levels = list(root.filters), [part.level for part in parts]
    try:
        yield
    finally:
        root.filters = filters
        for part, level in zip(parts, levels, strict=True):
            part.setLevel(level)


def _convert(task: TaskSpec, network: Any) -> Any:
    openvino = load_openvino()

    spec = task.map_network
    # of more than one pixel at the coarsest level
    sides = [spec.input_size(factor * spec.divisor + 1) for factor in (1, 2)]
    noise = torch.Generator().manual_seed(0)
    example, other = (
        torch.rand(count, spec.in_channels, *[side] * spec.spatial_dims, generator=noise)
        for count, side in enumerate(sides, start=1)
    )
    try:
        with torch.no_grad(), warnings.catch_warnings(), _logging_kept():
            warnings.simplefilter("ignore")  # of tracing
            plain = not isinstance(network, EncoderDecoder)
            answering = network if plain else WithFeatures(network)
            model = openvino.convert_model(answering, example_input=example)
            expected, features = (network(other), None) if plain else answering(other)
    except Exception as error:  # its converter fails in many ways
        raise RuntimeError(f"OpenVINO cannot convert it: {_first_line(error)}") from error
    logits, seen = compiled(model, torch.float32)(other)
    if not _agree(torch.sigmoid(logits), torch.sigmoid(expected.float())):
        raise RuntimeError("what OpenVINO makes of it answers otherwise")
    if features is None:
        return model
    if seen is None or not _agree(seen / features.abs().max(), features / features.abs().max()):
        raise RuntimeError("what OpenVINO makes of it has other features")
    return model


def _agree(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and bool((found - expected).abs().max() <= TOLERANCE)


def _keep(model: Any, kept: Path) -> None:
    """Write a model into the cache, and remove from it what was not used for longest."""
    openvino = load_openvino()

    folder = kept.parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_left(folder.glob(f"{PARTIAL}*"))
    with new_folder(folder, PARTIAL) as partial:
        openvino.save_model(model, partial / "model" / MODEL, compress_to_fp16=False)
        with contextlib.suppress(OSError):  # another process was faster
            (partial / "model").rename(kept)
    total = 0
    models = [path for path in folder.iterdir() if not path.name.startswith(PARTIAL)]
    for path in sorted(models, key=lambda path: path.stat().st_mtime, reverse=True):
        total += sum(file.stat().st_size for file in path.glob("*"))
        if total > KEPT_BYTES and path != kept:
            shutil.rmtree(path, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
