"""A simulation played in several processes: its parts, and which have to wait for others."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from benchmarks.active_learning.protocol import Protocol, Samples
from benchmarks.active_learning.rounds import FIRST, WHOLE, Player
from benchmarks.harness.processes import Work, run_in_processes
from lib.active_learning.strategies import STRATEGIES


def play_in_processes(player: Player) -> None:
    """Play what is missing, `protocol.jobs` parts at once; the player then finds all cells.

    A part is a training on the first or on all labels, or a strategy of a seed, which waits for
    the first. Strategies that measure most come before those that are played faster.
    """
    protocol, samples, say = player.protocol, player.samples, player.say
    threads = max(1, (os.cpu_count() or 1) // protocol.jobs)
    quiet = replace(protocol, where=replace(protocol.where, progress=False))

    def costs(name: str) -> tuple[bool, bool, bool]:
        return STRATEGIES[name].measures, STRATEGIES[name].copies, STRATEGIES[name].dropout

    def part(seed: int, name: str, after: str = "") -> Work:
        args = (quiet, samples, seed, name, threads)
        wait = frozenset({f"seed {seed}, {after}"} if after else ())
        return Work(f"seed {seed}, {name}", _play_part, args, wait)

    strategies = sorted(protocol.strategies, key=costs, reverse=True)
    work = [
        part(seed, name, after="" if name in (FIRST, WHOLE) else FIRST)
        for name in (FIRST, WHOLE, *strategies)
        for seed in protocol.seeds
        if not player.has(seed, name)
    ]
    run_in_processes(work, protocol.jobs, lambda name, status: say(f"{name}: ended, {status}"))


def _play_part(protocol: Protocol, samples: Samples, seed: int, name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    Player(protocol, samples).play_part(seed, name)
