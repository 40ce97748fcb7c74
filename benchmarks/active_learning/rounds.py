"""The rounds of active learning: train, score, choose, train again.

Every training is a cell: a folder with the identity of the training and its figures. An interrupted
simulation goes on where it was, and seeds or strategies may be added later. The strategies of a
seed share the cell of its first labels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.active_learning.measuring import Measurer
from benchmarks.active_learning.protocol import Protocol, Samples, random_of
from benchmarks.harness.campaign import Say, read_result
from lib.active_learning.strategies import STRATEGIES, choose_next
from lib.data.studies import Item, fingerprint_of
from lib.files import write_json
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.training.shared_cases import SharedCases
from lib.uncertainty.informativeness import Informativeness
from lib.weights.checkpoint import Checkpoint, load_checkpoint, weights_fingerprint

FIRST, WHOLE = "first labels", "all labels"
RESULT, CHOICE = "result.json", "choice.json"
NOTHING = Informativeness(0.0, 0.0, 0.0, 1.0, np.zeros(1, dtype=np.float32))


class _NotFoundError(Exception):
    """A cell is not on disk."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training: the samples it was given, and how well the model does.

    Attributes:
        identity: what decides the figures.
        figures: on the test set, of the last step's weights.
    """

    folder: Path
    identity: dict[str, Any]
    ids: tuple[str, ...]
    figures: dict[str, float]
    seconds: float

    @property
    def weights(self) -> Path:
        """The weights of the last step."""
        return self.folder / "best.pt"


class Player:
    """Plays one protocol on one split of the samples.

    Args:
        cases: the prepared samples, for this player and others; None prepares them as they come.
    """

    def __init__(
        self,
        protocol: Protocol,
        samples: Samples,
        say: Say = print,
        cases: SharedCases | None = None,
    ) -> None:
        self.protocol, self.samples, self.say, self.cases = protocol, samples, say, cases
        self.measurer = Measurer(protocol, samples, cases)
        self._test_fingerprint = fingerprint_of(samples.test)
        self._init = load_checkpoint(protocol.init_from) if protocol.init_from else None
        self._only_found = False  # whether nothing may be trained or chosen

    def play(self, seed: int) -> dict[str, Any]:
        """Play all strategies of a seed, and train once on all labels."""
        curves = {name: self.play_strategy(seed, name) for name in self.protocol.strategies}
        return {
            "seed": seed,
            "curves": {name: [self._summary(cell) for cell in curves[name]] for name in curves},
            "all": self._summary(self.train_whole(seed)),
        }

    def train_first(self, seed: int) -> Cell:
        """Train on the first labels of a seed, which its strategies share."""
        pool = dict.fromkeys(self.samples.pool, NOTHING)
        count = self.protocol.counts[0]
        first = choose_next("random", pool, {}, count, random_of(seed, 0, ""))
        return self.train(f"seed{seed}-start-{count}", first, seed)

    def play_strategy(self, seed: int, strategy: str) -> list[Cell]:
        """Play the rounds of a strategy, from the model of the first labels on."""
        cells = [self.train_first(seed)]
        for number, count in enumerate(self.protocol.counts[1:], start=1):
            name = f"seed{seed}-{strategy}-{count}"
            ids = self.extend(cells[-1], strategy, count, seed, number, name)
            cells.append(self.train(name, ids, seed, cells[-1]))
            self.measurer.keep_only(cells[0].weights)  # the next strategy asks for it again
        return cells

    def train_whole(self, seed: int) -> Cell:
        """Train on all labels of the pool."""
        pool = list(self.samples.pool)
        return self.train(f"seed{seed}-all-{len(pool)}", pool, seed, task=self.protocol.whole)

    def play_part(self, seed: int, name: str) -> None:
        """Play what one process does: `FIRST`, `WHOLE`, or a strategy of a seed."""
        if name == FIRST:
            self.train_first(seed)
        elif name == WHOLE:
            self.train_whole(seed)
        else:
            self.play_strategy(seed, name)

    def has(self, seed: int, name: str) -> bool:
        """Return whether `play_part` would find all that it does on disk."""
        self._only_found = True
        try:
            self.play_part(seed, name)
        except _NotFoundError:
            return False
        finally:
            self._only_found = False
        return True

    def train(
        self,
        name: str,
        ids: Sequence[str],
        seed: int,
        before: Cell | None = None,
        task: TaskSpec | None = None,
    ) -> Cell:
        """Train on some samples of the pool, or return what was trained so before."""
        protocol, folder = self.protocol, self.protocol.out / name
        items = self.samples.items(ids)
        origin = before if protocol.continued else None
        task = task or protocol.task
        identity = {
            "task": json.loads(json.dumps(task.as_trained())),
            "seed": seed,
            "training": fingerprint_of(items),
            "test": self._test_fingerprint,
            **({"from": origin.identity} if origin else {}),
            **({"init": weights_fingerprint(self._init)} if self._init and not origin else {}),
        }
        result = read_result(folder / RESULT, identity)
        if result is None:
            if self._only_found:
                raise _NotFoundError(name)
            init = load_checkpoint(origin.weights) if origin else self._init
            result = {"identity": identity, "ids": list(ids)}
            result |= self._fit(task, items, folder, seed, init)
            write_json(folder / RESULT, result)
            (folder / "state.pt").unlink(missing_ok=True)
            self.say(
                f"{name}: {protocol.metric} {result['figures'][protocol.metric]:.4f} on the test "
                f"set, {result['seconds']:.0f} s"
            )
        return Cell(
            folder=folder,
            identity=identity,
            ids=tuple(result["ids"]),
            figures=result["figures"],
            seconds=result["seconds"],
        )

    def _fit(
        self,
        task: TaskSpec,
        items: Sequence[Item],
        folder: Path,
        seed: int,
        init: Checkpoint | None,
    ) -> dict[str, Any]:
        """Train, and return the figures on the test set."""
        execution = self.protocol.execution
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        options = FitOptions(
            out=folder,
            seed=seed,
            device=execution.device,
            precision=execution.precision,
            init=init,
            progress=execution.progress,
            tensorboard=False,
            command=execution.command,
            validation_ids=frozenset(item.id for item in self.samples.test),
            keep="last",  # so that nothing is chosen on the test set
            prepared=self.measurer.prepared,
            at_once=self.protocol.jobs,
        )
        if self.cases:
            options = self.cases.given_to(options, self.protocol.jobs)
        fitted = fit(task, [*items, *self.samples.test], options)
        return {
            "figures": fitted.metrics,
            "steps": fitted.steps,
            "loss": fitted.history[-1]["loss"],
            "seconds": round(time.perf_counter() - start, 1),
        }

    def extend(
        self, cell: Cell, strategy: str, count: int, seed: int, number: int, name: str
    ) -> list[str]:
        """Return the labelled ids of a cell and what the strategy adds, `count` together."""
        file = self.protocol.out / name / CHOICE
        identity = {"cell": cell.identity, "strategy": strategy, "count": count, "round": number}
        if stored := read_result(file, identity):
            return list(stored["ids"])
        if self._only_found:
            raise _NotFoundError(name)
        start = time.perf_counter()
        labelled, free = set(cell.ids), [id for id in self.samples.pool if id not in cell.ids]
        measured = dict.fromkeys(self.samples.pool, NOTHING)
        if STRATEGIES[strategy].measures:
            copies = STRATEGIES[strategy].copies
            measured = self.measurer.measured(cell.weights, cell.ids, seed, copies)
        added = choose_next(
            strategy,
            {id: measured[id] for id in free},
            {id: measured[id] for id in sorted(labelled)},
            count - len(cell.ids),
            random_of(seed, number, strategy),
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        seconds = round(time.perf_counter() - start, 1)
        ids = [*cell.ids, *added]
        write_json(file, {"identity": identity, "ids": ids, "added": added, "seconds": seconds})
        self.say(f"{name}: {len(added)} labels chosen, {seconds:.0f} s")
        return ids

    def _summary(self, cell: Cell) -> dict[str, Any]:
        return {
            "labels": len(cell.ids),
            "score": cell.figures[self.protocol.metric],
            "empty": sum(self.measurer.foreground(id) == 0 for id in cell.ids),
            "figures": cell.figures,
            "ids": list(cell.ids),
            "seconds": cell.seconds,
        }
