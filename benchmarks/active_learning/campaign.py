"""A whole simulation: all seeds played, one after the other or several at once, and reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.active_learning.processes import play_in_processes
from benchmarks.active_learning.protocol import Protocol, split_samples
from benchmarks.active_learning.report import summarise, verdicts
from benchmarks.active_learning.rounds import Player
from benchmarks.harness.machine import device_facts
from lib.data.studies import Item
from lib.devices import resolve_device
from lib.files import write_json
from lib.weights.checkpoint import utc_now, versions

REPORT = "report.json"

Say = Callable[[str], object]


def simulate(protocol: Protocol, items: Sequence[Item], say: Say = print) -> dict[str, Any]:
    """Play what is missing of all seeds, and return and write the report to `protocol.out`.

    The report is written after every seed, so that an interruption leaves what there is.

    Args:
        items: labelled items.
        say: shows a line of progress.

    Raises:
        InputError: too few samples, or an unreadable file.
    """
    device = resolve_device(protocol.where.device)
    samples = split_samples(items, protocol)
    protocol.out.mkdir(parents=True, exist_ok=True)
    say(
        f"{protocol.task.name}: {len(samples.pool)} samples may be chosen, "
        f"{samples.test_samples} are tested on"
    )
    player = Player(protocol, samples, say)
    if protocol.jobs > 1:
        play_in_processes(player)
    labels = player.measurer
    empty = sum(labels.foreground(id) == 0 for id in samples.pool)
    data = {"name": protocol.data_name, **samples.as_dict(empty, labels.empty_of_test())}
    played: list[dict[str, Any]] = []
    report: dict[str, Any] = {}
    for seed in protocol.seeds:
        played.append(player.play(seed))
        table = summarise(played, len(samples.pool), protocol.target)
        report = {
            "protocol": {**protocol.described(), "seeds": [one["seed"] for one in played]},
            "data": {**data, "test_share": protocol.test_share},
            "strategies": table,
            "all_labels": [one["all"]["score"] for one in played],
            "seeds": [_without_ids_of_all(one) for one in played],
            "machine": device_facts(device),
            "versions": versions(),
            "command": protocol.where.command,
            "created": utc_now(),
        }
        report["verdicts"] = verdicts(report)
        write_json(protocol.out / REPORT, report)
    return report


def _without_ids_of_all(played: dict[str, Any]) -> dict[str, Any]:
    return {**played, "all": {k: v for k, v in played["all"].items() if k != "ids"}}
