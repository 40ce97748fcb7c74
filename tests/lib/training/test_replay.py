"""A retraining draws old cases and new ones, and each version knows what it was trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.studies import Item, list_items, split_items
from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.training import publish as publishing
from lib.training.batches import PreparedCases, StepBatches
from lib.training.options import FitOptions
from lib.training.publish import train_and_submit
from lib.training.replay import (
    MOST_REPEATS,
    cases_of_pass,
    count_labels,
    label_fingerprints,
    new_ids,
)
from lib.weights.store import ModelStore

TASK = "nuclei_vhllrhe"


def _items(count: int) -> list[Item]:
    return [Item(f"case_{number}", Path(f"case_{number}.png")) for number in range(count)]


def _new(*numbers: int) -> frozenset[str]:
    return frozenset(f"case_{number}" for number in numbers)


def _drawn(count: int, new: frozenset[str], seed: int = 0) -> Counter[int]:
    numbers = cases_of_pass(_items(count), new, np.random.default_rng(seed))
    assert len(numbers) == count
    return Counter(numbers.tolist())


def test_new_cases_take_half_of_a_pass_and_old_ones_the_rest():
    drawn = _drawn(40, _new(*range(10)))
    assert sum(drawn[number] for number in range(10)) == 20
    assert all(drawn[number] == 2 for number in range(10))
    assert max(drawn[number] for number in range(10, 40)) == 1


def test_a_few_new_cases_are_not_repeated_more_than_four_times():
    drawn = _drawn(1000, _new(3, 500))
    assert drawn[3] == drawn[500] == MOST_REPEATS
    assert sum(drawn.values()) - 2 * MOST_REPEATS == len(drawn) - 2 == 992


def test_all_old_cases_come_in_some_pass():
    seen = set().union(*(_drawn(12, _new(0), seed) for seed in range(20)))
    assert seen == set(range(12))


@pytest.mark.parametrize("new", [(), range(5), range(10)])
def test_where_none_or_half_are_new_each_case_is_drawn_once(new):
    assert _drawn(10, _new(*new)) == Counter(range(10))


def test_batches_without_new_cases_are_those_of_before(task, items):
    cases = PreparedCases(items, task)
    rng = np.random.default_rng((7, 0, 2))  # seed, order, pass
    wanted = rng.permutation(len(items))
    assert StepBatches(cases, 7)._order(2).tolist() == wanted.tolist()
    every = frozenset(item.id for item in items)
    assert StepBatches(cases, 7, new_ids=every)._order(2).tolist() == wanted.tolist()


def test_a_new_case_comes_more_often_in_the_batches(task, items):
    batches = StepBatches(PreparedCases(items, task), 7, new_ids=frozenset({items[0].id}))
    drawn = Counter(np.concatenate([batches._order(number) for number in range(10)]).tolist())
    assert drawn[0] == 10 * min(MOST_REPEATS, len(items) // 2)
    assert len(drawn) == len(items)


def test_a_changed_label_is_new_and_a_rewritten_one_is_not(items):
    known = label_fingerprints(items)
    assert new_ids(label_fingerprints(items), known) == frozenset()
    label = items[2].label
    assert label is not None
    label.write_bytes(label.read_bytes())
    assert new_ids(label_fingerprints(items), known) == frozenset()
    Image.fromarray(np.asarray(Image.open(label)) * 0).save(label)
    changed = new_ids(label_fingerprints(items), known)
    assert changed == {items[2].id}
    assert count_labels(items, changed) == 1


def test_views_that_share_a_label_count_as_one():
    label = Path("exam.json")
    views = [Item(f"exam_{side}-CC", Path(f"exam_{side}-CC.png"), label) for side in "RL"]
    assert count_labels(views, frozenset(view.id for view in views)) == 1


def test_each_version_keeps_what_it_was_trained_on(task, items, tmp_path, monkeypatch):
    given: list[frozenset[str]] = []
    fit = publishing.fit_in_processes

    def note(task, items, options, processes):
        given.append(options.new_ids)
        return fit(task, items, options, processes)

    monkeypatch.setattr(publishing, "fit_in_processes", note)
    store = ModelStore(tmp_path / "models", tmp_path / "none")

    def train(folder: str, items: list[Item]) -> None:
        options = FitOptions(out=tmp_path / folder, progress=False, tensorboard=False, device="cpu")
        train_and_submit(task, items, options, store)

    train("first", items[:6])
    store.restore(TASK, store.versions(TASK)[0].id)  # few steps: may be kept aside as trivial
    assert store.last_labels(TASK) == store.served_labels(TASK) == label_fingerprints(items[:6])
    train("second", items)
    assert given == [frozenset(), frozenset(item.id for item in items[6:])]
    assert store.last_labels(TASK) == label_fingerprints(items)
    first, second = store.versions(TASK)
    assert store.served_labels(TASK) == label_fingerprints(items if second.served else items[:6])
    training, validation = split_items(items, task.training.val_split)
    assert first.training["data"] != second.training["data"]
    assert second.training["training_cases"] == len(training)
    assert second.training["validation_cases"] == len(validation)
    assert second.training["new_cases"] == sum(item in training for item in items[6:])
    assert "labels" not in second.as_dict()


@pytest.fixture
def items(tmp_path) -> list[Item]:
    write_nuclei_studies(tmp_path / "studies", count=8, labelled=8)
    return list_items(tmp_path / "studies", labelled=True)


@pytest.fixture
def task() -> TaskSpec:
    task = get_task(TASK)
    recipe = replace(task.training, steps=2, batch_size=2, patch_size=32, val_interval=2)
    return replace(task, training=recipe)
