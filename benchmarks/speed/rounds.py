"""Variants measured in turns, each in a process of its own.

Every round runs each variant once, one after the other, so that a slow spell of the machine meets
them all; a ratio is taken within a round. A process holds one variant only: what one sets in its
process does not help another, and its peak of memory is its own.
"""

from __future__ import annotations

import gc
import multiprocessing
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from lib.errors import InputError

WARM_UP = 2
MIN_ROUNDS = 3
SLOW_SHARE = 1 / 30  # of the time: a variant whose second run takes longer is not run again

# makes a variant ready: returns what is timed, and what is asked once at the end
Prepare = Callable[..., tuple[Callable[[], object], Callable[[], Any]]]


@dataclass
class Timed:
    """The times of one variant.

    Attributes:
        seconds: one entry per round.
        peak_mib: largest resident memory of its process, all of Python and torch included.
        base_mib: the same before the variant was made ready.
        result: what the variant answered at the end.
    """

    seconds: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    base_mib: float = 0.0
    result: Any = None


def measure(
    prepare: Prepare,
    variants: Sequence[str],
    settings: Mapping[str, Any],
    runs: int,
    seconds: float,
    on_round: Callable[[], object] = lambda: None,
    *,
    warm_up: int = WARM_UP,
    min_rounds: int = MIN_ROUNDS,
    start_method: str = "spawn",
) -> dict[str, Timed]:
    """Time `variants` in turns, for `runs` rounds or until `seconds` are over.

    A variant far too slow for that (bfloat16 emulated, say) counts with its second run.

    Args:
        prepare: a function of an importable module, called in the variant's process as
            `prepare(variant, **settings)`.
        warm_up: rounds that do not count.
        min_rounds: rounds that do count, however long they take.
        start_method: of `multiprocessing`; with "forkserver" the module of `prepare` is imported
            once for all, which saves seconds per process.

    Raises:
        InputError: a variant failed; the message has its last line.
    """
    context: Any = multiprocessing.get_context(start_method)
    if start_method == "forkserver":
        context.set_forkserver_preload([prepare.__module__])
    timed = {variant: Timed() for variant in variants}
    with ExitStack() as open_processes:
        processes = {
            variant: open_processes.enter_context(ProcessPoolExecutor(1, context))
            for variant in variants
        }

        def ask(variant: str, function: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return processes[variant].submit(function, *arguments).result()
            except BrokenProcessPool:
                message = f"benchmark: the process of '{variant}' ended, out of memory?"
                raise InputError(message) from None
            except Exception as error:
                reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
                raise InputError(f"benchmark: '{variant}' failed: {reason}") from None

        for variant in variants:
            timed[variant].base_mib = ask(variant, _make_ready, prepare, variant, dict(settings))
        slow: set[str] = set()
        deadline = time.monotonic() + seconds
        for index in range(-warm_up, runs):
            if index >= min_rounds and time.monotonic() > deadline:
                break
            for variant in variants:
                if variant in slow:
                    continue
                taken = ask(variant, _time_once)
                if index == -1 and variant != variants[0] and taken > seconds * SLOW_SHARE:
                    slow.add(variant)
                if index >= 0 or variant in slow:
                    timed[variant].seconds.append(taken)
            if index >= 0:
                on_round()
        for variant in variants:
            timed[variant].peak_mib, timed[variant].result = ask(variant, _finish)
    return timed


def measure_here(
    prepare: Prepare, variant: str, settings: Mapping[str, Any], runs: int, seconds: float
) -> dict[str, Timed]:
    """Time a variant in this process, as `measure` does: for GPUs, whose memory is freed between.

    Raises:
        InputError: it failed; the message has its last line.
    """
    timed = Timed(base_mib=peak_mib())
    try:
        run, finish = prepare(variant, **settings)
        for _ in range(2 * WARM_UP + 1):  # a step is recorded after a few
            run()
        deadline = time.monotonic() + seconds
        while len(timed.seconds) < runs:
            if len(timed.seconds) >= MIN_ROUNDS and time.monotonic() > deadline:
                break
            start = time.perf_counter()
            run()
            timed.seconds.append(time.perf_counter() - start)
        timed.peak_mib, timed.result = peak_mib(), finish()
    except Exception as error:
        reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise InputError(f"benchmark: '{variant}' failed: {reason}") from None
    finally:
        run = finish = None  # type: ignore[assignment]
        gc.collect()
        torch.cuda.empty_cache()
    return {variant: timed}


def compare(timed: Mapping[str, Timed], base: str) -> dict[str, dict[str, Any]]:
    """Return figures per variant, with its result where that is a mapping.

    `speedup` is the median over the rounds of the base's time over the variant's.
    """
    figures = {}
    for variant, times in timed.items():
        ratios = [b / t for b, t in zip(timed[base].seconds, times.seconds, strict=False)]
        figures[variant] = {
            "median_s": round(statistics.median(times.seconds), 5),
            "min_s": round(min(times.seconds), 5),
            "max_s": round(max(times.seconds), 5),
            "speedup": round(statistics.median(ratios), 3),
            "speedup_min": round(min(ratios), 3),
            "speedup_max": round(max(ratios), 3),
            "rounds": len(times.seconds),
            "peak_memory_mib": round(times.peak_mib),
            "memory_of_the_work_mib": round(times.peak_mib - times.base_mib),
            **(times.result if isinstance(times.result, Mapping) else {}),
        }
    return figures


def speedup(row: Mapping[str, Any]) -> str:
    """Return the speed-up in one row of `compare`, and its range."""
    return f"{row['speedup']:.2f} ({row['speedup_min']:.2f}..{row['speedup_max']:.2f})"


def table(figures: Mapping[str, Mapping[str, Any]], unit: str = "s") -> list[str]:
    """Return aligned lines of `compare`'s figures."""
    factor = {"s": 1, "ms": 1000}[unit]
    width = max(len(name) for name in figures)
    lines = [f"{'':{width}}  {'median':>10}  {'speed-up (min..max)':>22}  {'peak memory':>11}"]
    for name, row in figures.items():
        lines.append(
            f"{name:{width}}  {row['median_s'] * factor:>7.{3 if unit == 's' else 0}f} {unit:2}  "
            f"{speedup(row):>22}  {row['peak_memory_mib']:>7} MiB"
        )
    return lines


def peak_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


_ready: list[Callable[[], Any]] = []  # in the process of a variant: what `Prepare` returned


def _make_ready(prepare: Prepare, variant: str, settings: dict[str, Any]) -> float:
    """Prepare the variant of this process, and return the memory that was held before."""
    base = peak_mib()
    _ready[:] = prepare(variant, **settings)
    return base


def _time_once() -> float:
    start = time.perf_counter()
    _ready[0]()
    return time.perf_counter() - start


def _finish() -> tuple[float, Any]:
    peak = peak_mib()
    return peak, _ready[1]()
