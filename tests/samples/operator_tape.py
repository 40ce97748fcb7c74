"""A tape on the CPU that is as strict as a CUDA graph: `lib.weights.capture.Tape` for tests.

It records the operators that a step runs, below autograd, and runs them again on the very same
tensors. Numbers are what they were when it recorded; an operator that reads from the device, or
whose result has a size that depends on values, cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WRITTEN = ("running_mean", "running_var")  # by batch_norm, whose schema does not say so
_READING = ("_local_scalar_dense", "nonzero", "_unique2", "unique_dim", "equal", "masked_select")


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name == func._schema.name.removeprefix("aten::") for name in _READING):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        kwargs = kwargs or {}
        for given, argument in zip(args, func._schema.arguments, strict=False):
            alias = argument.alias_info
            if argument.name in _WRITTEN or (alias is not None and alias.is_write):
                for tensor in _tensors(given):
                    storage = tensor.untyped_storage()
                    self.before.setdefault(storage.data_ptr(), (storage, storage.clone()))
        result = func(*args, **kwargs)
        self.operators.append((func, args, kwargs, result))
        return result


class OperatorTape:
    """Records operators.

    Attributes:
        warm_ups, records, replays: how often each was asked for.
    """

    def __init__(self) -> None:
        self.warm_ups = self.records = self.replays = 0

    def warm_up(self, call):
        self.warm_ups += 1
        return call()

    def record(self, call):
        self.records += 1
        recording = _Recording()
        try:
            with recording:
                result = call()
        finally:
            for storage, values in recording.before.values():  # recording has no effect
                storage.copy_(values)

        @torch.no_grad()
        def replay() -> None:
            self.replays += 1
            for func, args, kwargs, result in recording.operators:
                again = func(*args, **kwargs)
                for old, new in zip(_tensors(result), _tensors(again), strict=True):
                    if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                        old.copy_(new)

        return replay, result
