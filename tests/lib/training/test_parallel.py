"""Several processes that share a batch take the steps of one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.errors import InputError
from lib.tasks.image_spec import AugmentSpec, TargetSpec
from lib.training.batches import (
    HeldCases,
    PreparedCases,
    StepBatches,
    loading_threads,
    prefetch,
)
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.training.parallel import fit_in_processes
from lib.weights.checkpoint import load_checkpoint


def _options(out, **changes):
    return FitOptions(out=out, device="cpu", precision="fp32", progress=False, **changes)


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

    class Watched(HeldCases):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    batches = StepBatches(cases, 0)
    batches.held = Watched(cases)
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
    with pytest.raises(InputError, match=f"'{items[0].id}' has no accepted label; save one"):
        cases[0]


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_threads_hand_out_the_batches_in_order(task, items, threads):
    batches = StepBatches(PreparedCases(items, task), seed=3)
    found = list(prefetch(batches, range(5, 25), threads))
    assert len(found) == 20
    for step, (images, targets) in zip(range(5, 25), found, strict=True):
        torch.testing.assert_close(images, batches[step][0], rtol=0, atol=0)
        torch.testing.assert_close(targets, batches[step][1], rtol=0, atol=0)


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_that_are_slow_do_not_overtake_and_few_are_prepared_ahead(threads):
    begun: list[int] = []

    class Slow:
        def __getitem__(self, step):
            begun.append(step)
            time.sleep(0.01 * (step % 3))
            return step

    loader = prefetch(Slow(), range(1000), threads)  # type: ignore[arg-type]
    assert [next(loader) for _ in range(12)] == list(range(12))
    loader.close()
    assert len(begun) <= 12 + 2 * threads


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_a_thread_is_raised_at_its_batch(threads):
    class Broken:
        def __getitem__(self, step):
            if step == 6:
                raise InputError("a.png: damaged")
            return step

    loader = prefetch(Broken(), range(20), threads)  # type: ignore[arg-type]
    assert [next(loader) for _ in range(6)] == list(range(6))
    with pytest.raises(InputError, match=r"a\.png: damaged"):
        next(loader)
    with pytest.raises(StopIteration):
        next(loader)


def test_no_steps_give_no_batches(task, items):
    assert list(prefetch(StepBatches(PreparedCases(items, task), 0), range(0), 2)) == []


def test_threads_are_a_quarter_of_the_cores(monkeypatch):
    for cores, wanted in ((1, 1), (2, 1), (8, 2), (16, 4), (128, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert loading_threads() == wanted


def test_cases_read_by_several_threads_at_once_are_the_same(task, items):
    alone, shared = (PreparedCases(items, task, cache_bytes=3 * 64 * 64 * 3) for _ in range(2))
    order = [index % len(items) for index in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.__getitem__, order))
    for index, case in zip(order, found, strict=True):
        for part, wanted in zip(case, alone[index], strict=True):
            np.testing.assert_array_equal(part, wanted)


def test_a_batch_of_volumes_has_patches_with_a_side_for_each_axis(volume_task, volume_items):
    images, targets = StepBatches(PreparedCases(volume_items, volume_task), seed=0)[0]
    assert images.shape == targets.shape == (2, 1, 8, 16, 16)
    assert images.dtype == targets.dtype == torch.float32


def test_a_batch_has_all_maps_of_the_target(task, items):
    spec = TargetSpec(maps=("foreground", "border", "distance", "border_weight"))
    several = replace(task, target=spec, network=replace(task.network, out_channels=3))
    images, targets = StepBatches(PreparedCases(items, several), seed=0)[0]
    assert images.shape == (4, 1, 32, 32)
    assert targets.shape == (4, 4, 32, 32)
    assert set(targets[:, :2].unique().tolist()) <= {0, 1}
    assert targets[:, 3].min() >= 1 - 1e-3


def test_the_recipes_foreground_share_reaches_the_patches(task, items):
    shares = []
    for share in (0.0, 1.0):
        recipe = replace(task.training, foreground_share=share, patch_size=8, batch_size=8)
        small = PreparedCases(items, replace(task, training=recipe, augment=AugmentSpec()))
        batches = StepBatches(small, seed=0)
        shares.append(np.mean([batches[n][1][:, 0, 3:6, 3:6].amax((1, 2)) for n in range(6)]))
    assert shares[1] > 0.9 > shares[0]
