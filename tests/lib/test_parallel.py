"""Several processes that share a batch take the steps of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.checkpoints import load_checkpoint
from lib.data import PreparedCases, StepBatches
from lib.errors import InputError
from lib.parallel import fit_in_processes
from lib.training import FitOptions, fit


def _options(out, **changes):
    return FitOptions(out, device="cpu", precision="fp32", progress=False, **changes)


def test_two_processes_give_the_curve_of_one(task, items, tmp_path):
    task = replace(task, labels=dict(task.labels))
    alone = fit(task, items, _options(tmp_path / "one"))
    shared = fit_in_processes(task, items, _options(tmp_path / "two"), processes=2)
    assert len(shared.history) == len(alone.history)
    for entry, other in zip(shared.history, alone.history, strict=True):
        assert entry == pytest.approx(other, abs=2e-3)
    assert shared.steps == alone.steps
    assert shared.validation_ids == alone.validation_ids
    weights = load_checkpoint(shared.weights).weights
    for name, value in load_checkpoint(alone.weights).weights.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-2, atol=2e-3)


def test_an_error_in_a_process_is_the_error_of_the_call(task, items, tmp_path):
    wrong = replace(task, training=replace(task.training, optimizer="adm"))
    with pytest.raises(InputError, match="unknown optimizer 'adm': did you mean 'adam'"):
        fit_in_processes(wrong, items, _options(tmp_path), processes=2)


@pytest.mark.parametrize(
    ("processes", "message"),
    [(3, "batch_size 4 cannot be shared by 3 processes"), (0, "processes must be at least 1")],
)
def test_impossible_shares_are_refused(task, items, tmp_path, processes, message):
    with pytest.raises(InputError, match=message):
        fit_in_processes(task, items, _options(tmp_path), processes)


def test_the_shares_of_a_step_are_its_batch(task, items):
    cases = PreparedCases(items, task)
    whole = StepBatches(cases, seed=3)
    for step in (0, 1, 7):
        shares = [StepBatches(cases, 3, rank, world_size=2)[step] for rank in range(2)]
        for part in range(2):
            torch.testing.assert_close(torch.cat([s[part] for s in shares]), whole[step][part])


def test_a_batch_is_a_function_of_seed_and_step(task, items):
    one, other = (StepBatches(PreparedCases(items, task, cache), 3) for cache in (0, 2**30))
    later = one[40]
    assert one[0][0].shape == (4, 1, 32, 32)
    torch.testing.assert_close(other[40], later, rtol=0, atol=0)
    assert not torch.equal(StepBatches(PreparedCases(items, task), 4)[40][0], later[0])


def test_every_case_is_drawn_once_per_pass(task, items):
    cases = PreparedCases(items, task)
    seen: list[int] = []

    class Watched:
        task = cases.task

        def __len__(self):
            return len(cases)

        def __getitem__(self, index):
            seen.append(index)
            return cases[index]

    batches = StepBatches(Watched(), 0)  # type: ignore[arg-type]
    for step in range(6):
        batches[step]
    passes = np.array(seen).reshape(3, 8)
    assert all(sorted(order) == list(range(8)) for order in passes)
    assert passes[0].tolist() != passes[1].tolist()


def test_the_cache_keeps_within_its_budget(task, items):
    one_case = 64 * 64 * 3  # float16 image and uint8 target
    cases = PreparedCases(items, task, cache_bytes=2 * one_case + 10)
    first = [cases[index] for index in range(len(cases))]
    again = [cases[index] for index in range(len(cases))]
    assert sum(a is b for a, b in zip(first, again, strict=True)) == 2
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_an_item_without_a_label_is_refused(task, items):
    cases = PreparedCases([replace(items[0], label=None)], task)
    with pytest.raises(InputError, match=f"'{items[0].id}' has no label; save one before"):
        cases[0]
