"""A task's network on a device: what the predictors of all kinds of tasks share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from lib.devices import autocast, resolve_device, resolve_precision
from lib.networks import place_network
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_network


class NetworkRunner:
    """Runs one task's network, in evaluation mode and in the precision of its device.

    Several threads may share a runner; their calls run one after the other.

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
        self._lock = threading.Lock()

    @classmethod
    def from_checkpoint(
        cls,
        task: TaskSpec,
        checkpoint: Checkpoint,
        device: str | torch.device | None = None,
        precision: str = "auto",
        **options: Any,
    ) -> Self:
        """Return a runner with the checkpoint's weights.

        Args:
            options: further arguments of the class.

        Raises:
            InputError: the weights are those of another network.
        """
        task, stored = cls.as_trained(task, checkpoint)
        network = load_network(task, checkpoint)
        return cls(task, network, device, precision, **stored, **options)

    @classmethod
    def as_trained(cls, task: TaskSpec, checkpoint: Checkpoint) -> tuple[TaskSpec, dict[str, Any]]:
        """Return the task as the weights need it, and the arguments that the checkpoint stores."""
        return task, {}

    @contextmanager
    def watching(
        self, modules: Iterable[nn.Module], hook: Callable[[Tensor], Tensor | None]
    ) -> Iterator[None]:
        """Call `hook` with the outputs of `modules` in this thread, within the context.

        Args:
            modules: parts of `network`.
            hook: called with each output; if it returns a tensor, that replaces the output.
        """
        watching_thread = threading.get_ident()

        def in_thread(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
            return hook(output) if threading.get_ident() == watching_thread else None

        with self._lock:
            handles = [module.register_forward_hook(in_thread) for module in modules]
        try:
            yield
        finally:
            with self._lock:
                for handle in handles:
                    handle.remove()

    def _logits(self, *inputs: Tensor) -> Tensor:
        """Return the network's logits, float32; a network in training mode stays in it."""
        with self._running() as network:
            logits: Tensor = network(*inputs)
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
