"""A whole simulation: plays all seeds, one after the other or several at once, and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.active_learning.protocol import Protocol, Samples, split_samples
from benchmarks.active_learning.report import summarise, verdicts
from benchmarks.active_learning.rounds import FIRST, WHOLE, Player
from benchmarks.harness.campaign import REPORT, Say
from benchmarks.harness.processes import run_in_processes, torch_job
from lib.active_learning.strategies import STRATEGIES
from lib.data.studies import Item
from lib.devices import resolve_device
from lib.files import write_json
from lib.training.shared_cases import SharedCases, share_cases


def simulate(protocol: Protocol, items: Sequence[Item], say: Say = print) -> dict[str, Any]:
    """Play what is missing of all seeds, and return and write the report to `protocol.out`.

    The report is written after every seed, so that an interrupted simulation leaves one too.

    Args:
        items: labelled items.
        say: shows a line of progress.

    Raises:
        InputError: too few samples, or an unreadable file.
    """
    device = resolve_device(protocol.execution.device)
    samples = split_samples(items, protocol)
    protocol.out.mkdir(parents=True, exist_ok=True)
    say(
        f"{protocol.task.name}: {len(samples.pool)} samples may be chosen, "
        f"{samples.test_samples} are tested on"
    )
    played_on = [*samples.items(list(samples.pool)), *samples.test]
    with share_cases(played_on, protocol.task) as cases:
        return _simulate(Player(protocol, samples, say, cases), device)


def _simulate(player: Player, device: torch.device) -> dict[str, Any]:
    protocol, samples = player.protocol, player.samples
    if protocol.jobs > 1:
        play_in_processes(player)
    labels = player.measurer
    empty = sum(labels.foreground(id) == 0 for id in samples.pool)
    data = {"name": protocol.data_name, **samples.as_dict(empty, labels.empty_of_test())}
    played: list[dict[str, Any]] = []
    report: dict[str, Any] = {}
    for seed in protocol.seeds:
        played.append(player.play(seed))
        report = {
            "protocol": {**protocol.as_dict(), "seeds": [one["seed"] for one in played]},
            "data": {**data, "test_share": protocol.test_share},
            "strategies": summarise(played, len(samples.pool), protocol.target),
            "all_labels": [one["all"]["score"] for one in played],
            "seeds": [_without_ids_of_all(one) for one in played],
            **protocol.execution.provenance(device),
        }
        report["verdicts"] = verdicts(report)
        write_json(protocol.out / REPORT, report)
    return report


def _without_ids_of_all(played: dict[str, Any]) -> dict[str, Any]:
    return {**played, "all": {k: v for k, v in played["all"].items() if k != "ids"}}


def play_in_processes(player: Player) -> None:
    """Play what is missing in `protocol.jobs` processes; the player then finds all cells.

    A process trains on the first labels of a seed, or on all, or plays a strategy, which waits for
    the first labels. Strategies that measure most come before those that are played faster.
    """
    protocol, say = player.protocol, player.say
    quiet = replace(protocol, execution=replace(protocol.execution, progress=False))

    def cost(name: str) -> tuple[bool, bool, bool]:
        return STRATEGIES[name].measures, STRATEGIES[name].copies, STRATEGIES[name].dropout

    jobs = [
        torch_job(
            f"seed {seed}, {name}",
            protocol.jobs,
            _play_part,
            *(quiet, player.samples, player.cases, seed, name),
            after="" if name in (FIRST, WHOLE) else f"seed {seed}, {FIRST}",
        )
        for name in (FIRST, WHOLE, *sorted(protocol.strategies, key=cost, reverse=True))
        for seed in protocol.seeds
        if not player.has(seed, name)
    ]
    run_in_processes(jobs, protocol.jobs, lambda name, status: say(f"{name}: ended, {status}"))


def _play_part(
    protocol: Protocol, samples: Samples, cases: SharedCases | None, seed: int, name: str
) -> None:
    Player(protocol, samples, cases=cases).play_part(seed, name)
