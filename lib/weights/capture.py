"""What a GPU is asked for again and again, as one CUDA graph for each shape of batch.

A training step or an answer of a small network is hundreds of kernels, each launched from Python; a
replay is one call. What a graph computes with is fixed: the buffers that batches are copied into,
the weights, and in training the gradients and what the host writes to between the steps (learning
rate, decay of the moving average). See "CUDA semantics, CUDA Graphs" in PyTorch's documentation for
the rules.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

WARM_UP = 3  # calls of a shape before it is recorded: optimisers, cuDNN and allocator settle
MOST_SHAPES = 4  # recordings that are kept
_SEEN_SHAPES = 64  # that a recorder counts

# one recording at a time: what begins one waits for the whole device
_recording = threading.Lock()

Call = Callable[[], Tensor]
Replay = Callable[[], object]


class Tape(Protocol):
    """What calls are recorded on."""

    def warm_up(self, call: Call) -> Tensor:
        """Call `call` as it will be recorded, and return its result."""
        ...

    def record(self, call: Call) -> tuple[Replay, Tensor]:
        """Record what `call` computes, without effect on its tensors.

        Returns:
            A function that computes it again on the same tensors, and the tensor that has the
            result afterwards.
        """
        ...


class GraphTape:
    """Records CUDA graphs on `device`.

    Args:
        try_algorithms: whether cuDNN tries its algorithms in the calls before, which see the only
            shapes that it will meet. Without, it takes those of calls that are not recorded.
        shared: whether all graphs compute in the same memory. Each replay then overwrites what the
            one before left, so that its result must be copied first, as `Recorder` does.
    """

    def __init__(
        self, device: torch.device, try_algorithms: bool = True, shared: bool = False
    ) -> None:
        self.device, self._tries = device, try_algorithms
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream()
            self._pool = torch.cuda.graph_pool_handle() if shared else None

    def warm_up(self, call: Call) -> Tensor:
        """Call `call` on another stream than the default one, which is never recorded."""
        with torch.cuda.device(self.device), _tried_algorithms(self._tries):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                result = call()
            current.wait_stream(self._stream)
        return result

    def record(self, call: Call) -> tuple[Replay, Tensor]:
        """Record a graph; other threads may use the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self.device),
            _recording,
            _tried_algorithms(self._tries),
            torch.cuda.graph(
                graph, self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            result = call()
        return graph.replay, result


@contextmanager
def _tried_algorithms(tries: bool) -> Iterator[None]:
    if not tries:
        yield
        return
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@dataclass(frozen=True)
class _Recording:
    inputs: list[Tensor]
    replay: Replay
    result: Tensor


class Recorder:
    """Makes the calls of `function`, recorded where that works, else as they come.

    The first `warm_up` batches of a shape are calls as without a recorder. Where recording fails
    all further calls are such, too; the log has the reason.

    Args:
        function: takes a batch on `device`, and returns a tensor without gradient. It must not read
            from the device, nor depend on numbers that change.
        tape: what to record on.
        what: the function in words, for the log.
        most: recordings that are kept at once.
        replaced: whether the recording that was not used for longest gives way to a further one.
            Without, shapes beyond the first `most` are not recorded.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        device: torch.device,
        tape: Tape,
        what: str = "The training step",
        warm_up: int = WARM_UP,
        most: int = MOST_SHAPES,
        replaced: bool = False,
    ) -> None:
        self._function, self._device, self._tape = function, device, tape
        self._what, self._warm_up, self._most, self._replaced = what, warm_up, most, replaced
        self._recordings: OrderedDict[object, _Recording] = OrderedDict()  # the last used is last
        self._seen: Counter[object] = Counter()
        self._failed = False

    def __call__(self, batch: Sequence[Tensor]) -> Tensor:
        """Call the function on `batch`, on any device; the result stays as it is."""
        if self._failed:
            return self._function(*self._moved(batch))
        shapes = tuple((part.shape, part.dtype) for part in batch)
        if shapes not in self._recordings:
            full = not self._replaced and len(self._recordings) == self._most
            if self._count(shapes) <= self._warm_up and not full:
                inputs = self._moved(batch)
                return self._tape.warm_up(lambda: self._function(*inputs))
            if full or not self._record(shapes, batch):
                return self._function(*self._moved(batch))
        self._recordings.move_to_end(shapes)
        recording = self._recordings[shapes]
        for buffer, part in zip(recording.inputs, batch, strict=True):
            buffer.copy_(part, non_blocking=True)
        recording.replay()
        return recording.result.clone()

    @property
    def recorded(self) -> int:
        """How many shapes of batches are recorded."""
        return len(self._recordings)

    def forget(self) -> None:
        """Drop all recordings, as when tensors that they use were replaced."""
        self._recordings.clear()
        self._seen.clear()

    def _count(self, shapes: object) -> int:
        """Return how often batches of `shapes` came that are not recorded, this one included."""
        if len(self._seen) == _SEEN_SHAPES and shapes not in self._seen:
            self._seen.clear()
        self._seen[shapes] += 1
        return self._seen[shapes]

    def _record(self, shapes: object, batch: Sequence[Tensor]) -> bool:
        if len(self._recordings) == self._most:
            self._seen.pop(self._recordings.popitem(last=False)[0], None)
        inputs = [part.to(self._device, copy=True) for part in batch]
        try:
            replay, result = self._tape.record(lambda: self._function(*inputs))
        except Exception as error:  # whatever a driver or a kernel of another maker raises
            logger.warning(
                f"{self._what} is not recorded as a CUDA graph, and takes longer so: {error}"
            )
            self._failed = True
            self._recordings.clear()
            return False
        self._recordings[shapes] = _Recording(inputs, replay, result)
        return True

    def _moved(self, batch: Sequence[Tensor]) -> list[Tensor]:
        return [part.to(self._device, non_blocking=True) for part in batch]


def tape_for(device: torch.device, dtype: torch.dtype) -> Tape | None:
    """Return what training steps on `device` are recorded on; None where they are as they come.

    That is on CPUs, and in float16, whose gradient scaler asks the device in every step whether
    gradients overflowed.
    """
    if device.type != "cuda" or dtype == torch.float16:
        return None
    return GraphTape(device)


def answer_tape(device: torch.device) -> Tape | None:
    """Return what a network's answers on `device` are recorded on; None on CPUs."""
    if device.type != "cuda":
        return None
    return GraphTape(device, try_algorithms=False, shared=True)
