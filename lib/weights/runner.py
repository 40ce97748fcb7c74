"""A task's network on a device: what the predictors of all kinds of tasks share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import Self

from lib.devices import autocast, resolve_device, resolve_precision
from lib.networks import place_network
from lib.networks.encoder_decoder import EncoderDecoder
from lib.networks.features import WithFeatures, pooled
from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import TORCH
from lib.weights.backends import Backend, openvino_backend, wants_openvino
from lib.weights.capture import answer_tape
from lib.weights.checkpoint import Checkpoint, load_network
from lib.weights.familiarity import Familiarity
from lib.weights.recorded import RecordedForward


class NetworkRunner:
    """Runs one task's network, in evaluation mode and in the precision of its device.

    Several threads may share a runner; their calls run one after the other.

    Attributes:
        backend: what computes the logits; another may be set at any time.
        recorded: replays the torch network's answers on a GPU; None where it is called each time.
        familiarity: what images the weights were trained on; None where that is not known.

    Args:
        task: the row.
        network: module with the task's weights; see `from_checkpoint`.
        device: the device or its name; None for the best there is.
        precision: "auto", "fp32", "bf16" or "fp16"; see `lib.devices.resolve_precision`.
    """

    def __init__(
        self,
        task: TaskSpec,
        network: nn.Module,
        device: str | torch.device | None = None,
        precision: str = "auto",
    ) -> None:
        self.task = task
        self.device = device if isinstance(device, torch.device) else resolve_device(device)
        self.dtype = resolve_precision(self.device, precision)
        self.network = place_network(network, self.device, self.dtype)
        self.backend = Backend()
        self.recorded: RecordedForward | None = None
        self.familiarity: Familiarity | None = None
        self._lock = threading.Lock()
        self._watching: set[int] = set()  # threads that hook into the torch network
        self._noted: dict[int, list[Tensor]] = {}  # features, by the thread that notes them

    @classmethod
    def from_checkpoint(
        cls,
        task: TaskSpec,
        checkpoint: Checkpoint,
        device: str | torch.device | None = None,
        precision: str = "auto",
        backend: str = TORCH,
        models: Path | None = None,
        **options: Any,
    ) -> Self:
        """Return a runner with the checkpoint's weights, whose answers a GPU replays.

        Args:
            backend: one of `lib.weights.backend_names.BACKENDS`.
            models: folder of models, where those in int8 lie too.
            options: further arguments of the class.

        Raises:
            InputError: the weights are those of another network.
        """
        task, stored = cls.as_trained(task, checkpoint)
        network = load_network(task, checkpoint)
        runner = cls(task, network, device, precision, **stored, **options)
        runner.familiarity = Familiarity.of(checkpoint.answer)
        if wants_openvino(backend, task, runner.device):
            runner.backend = openvino_backend(task, checkpoint, precision, runner.dtype, models)
        if (tape := answer_tape(runner.device)) is not None:
            runner.recorded = RecordedForward(runner._computed, runner.device, tape)
        return runner

    @classmethod
    def as_trained(cls, task: TaskSpec, checkpoint: Checkpoint) -> tuple[TaskSpec, dict[str, Any]]:
        """Return the task as the weights need it, and the arguments that the checkpoint stores."""
        return task, {}

    @contextmanager
    def watching(
        self, modules: Iterable[nn.Module], hook: Callable[[Tensor], Tensor | None]
    ) -> Iterator[None]:
        """Call `hook` with the outputs of `modules` in this thread, within the context.

        Meanwhile torch answers this thread, as other backends have no modules to watch.

        Args:
            modules: parts of `network`.
            hook: called with each output; if it returns a tensor, that replaces the output.
        """
        watching_thread = threading.get_ident()

        def in_thread(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
            return hook(output) if threading.get_ident() == watching_thread else None

        with self._lock:
            handles = [module.register_forward_hook(in_thread) for module in modules]
            self._watching.add(watching_thread)
        try:
            yield
        finally:
            with self._lock:
                self._watching.discard(watching_thread)
                for handle in handles:
                    handle.remove()

    @contextmanager
    def noting_features(self) -> Iterator[list[Tensor]]:
        """Collect the features of all windows that this thread answers within the context.

        Each entry is float32 `(N, features)`, see `lib.networks.features.pooled`. There are none of
        other networks than encoder-decoders, and none from models that were converted without them.
        """
        thread = threading.get_ident()
        noted = self._noted[thread] = []
        try:
            yield noted
        finally:
            del self._noted[thread]

    def note(self, levels: Sequence[Tensor]) -> None:
        """Note the features of an encoder's maps, if this thread does; see `noting_features`."""
        if (noted := self._noted.get(threading.get_ident())) is not None:
            noted.append(pooled(levels))

    def strangeness(self, noted: list[Tensor], prepared: np.ndarray | None = None) -> float | None:
        """Return how unlike the training images an image is whose features were noted.

        See `lib.weights.familiarity.Familiarity.strangeness`; None where it cannot be told.

        Args:
            prepared: the network's input; one that is the same everywhere is infinitely unlike.
        """
        if prepared is not None and np.ptp(prepared) == 0:
            return math.inf
        features = mean_features(noted)
        known = self.familiarity
        if features is None or known is None or features.shape != known.mean.shape:
            return None
        return known.strangeness(features)

    def _logits(self, *inputs: Tensor) -> Tensor:
        """Return the network's logits, float32; a network in training mode stays in it."""
        thread = threading.get_ident()
        if thread in self._watching:
            return self._computed(*inputs)
        forward = self.backend.forward
        if forward is not None and len(inputs) == 1:
            logits, features = forward(*inputs)
            if features is not None and thread in self._noted:
                self._noted[thread].append(features)
            return logits
        if self.recorded is not None and torch.is_inference_mode_enabled():
            return self._replayed(self.recorded, *inputs)
        return self._computed(*inputs)

    def _replayed(self, recorded: RecordedForward, *inputs: Tensor) -> Tensor:
        """Return what `recorded` does, without features: what is replayed notes none."""
        noted = self._noted.pop(thread := threading.get_ident(), None)
        try:
            return recorded(*inputs)
        finally:
            if noted is not None:
                self._noted[thread] = noted

    def _computed(self, *inputs: Tensor) -> Tensor:
        """Return what `_logits` does, computed by torch now."""
        noted = self._noted.get(threading.get_ident())
        with self._running() as network:
            if noted is None or not isinstance(network, EncoderDecoder):
                logits: Tensor = network(*inputs)
            else:
                logits, features = WithFeatures(network)(*inputs)
                noted.append(features)
        return logits.float()

    @contextmanager
    def _running(self) -> Iterator[Any]:
        """Yield the network in evaluation mode; afterwards it is in the mode it was in before."""
        was_training = self.network.training
        self.network.eval()
        try:
            with autocast(self.device, self.dtype):
                yield self.network
        finally:
            self.network.train(was_training)


def mean_features(noted: Iterable[Tensor]) -> np.ndarray | None:
    """Return the mean `(features)` over all windows; None if there are none.

    Args:
        noted: `(N, features)` each, see `NetworkRunner.noting_features`.
    """
    rows = [features.cpu().numpy() for features in noted]
    return np.concatenate(rows).mean(axis=0, dtype=np.float64) if rows else None
