"""Prepared cases in one file are the cases, and are held once."""

from __future__ import annotations

import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_samples import assert_same_weights, fit_options, with_recipe

from lib import kinds
from lib.errors import InputError
from lib.tasks.registry import TASKS
from lib.training.batches import RESIDENT_SHARE, HeldCases, PreparedCases
from lib.training.loop import fit
from lib.training.shared_cases import ALIGNMENT, CasePool, preparation, share_cases

LINUX = Path("/proc/self/smaps_rollup").is_file()


@pytest.fixture
def read(monkeypatch):
    """Count the preparations of segmentation cases by their images."""
    counted, row = [], kinds.KINDS["segmentation"]

    def load(item, task):
        counted.append(item.image.name)
        return row.cases.load(item, task)

    monkeypatch.setitem(
        kinds.KINDS, "segmentation", replace(row, cases=replace(row.cases, load=load))
    )
    return counted


def test_shared_cases_are_the_prepared_ones(task, items):
    with share_cases(items, task) as shared:
        opened = pickle.loads(pickle.dumps(shared)).open()  # as another process does
    alone = PreparedCases(items, task)
    assert len(opened) == len(items)
    for index, item in enumerate(items):
        case = opened[item.image, item.label]
        for part, wanted in zip(case, alone[index], strict=True):
            assert part.dtype == wanted.dtype
            np.testing.assert_array_equal(part, wanted)
            assert part.base is not None, "a view of the file"
    assert all(start % ALIGNMENT == 0 for parts in shared.parts.values() for start, *_ in parts)


def test_views_of_exams_are_shared_too(exam_task, exam_studies):
    views = kinds.kind_of(exam_task).cases.list(exam_studies, exam_task, True)[:3]
    with share_cases(views, exam_task) as shared:
        opened = shared.open()
    for index, item in enumerate(views):
        for part, wanted in zip(
            opened[item.image, item.label], PreparedCases(views, exam_task)[index], strict=True
        ):
            assert (part.dtype, part.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_array_equal(part, wanted)


def test_what_a_process_changes_is_its_own(task, items):
    with share_cases(items[:1], task) as shared:
        first, second = (next(iter(shared.open().values()))[0] for _ in range(2))
    before = second.copy()
    first[:] = 0
    np.testing.assert_array_equal(second, before)
    assert before.any()


def test_cases_beyond_the_budget_are_left_to_each_run_which_keeps_none(task, items, tmp_path, read):
    one_case = 64 * 64 * 3 + 2 * ALIGNMENT  # float16 image and uint8 target
    with share_cases(items, task, 0) as none:
        assert none.open() == {}
    with share_cases(items, task, 2 * one_case + 10) as two:
        options = two.given_to(fit_options(tmp_path))
    assert len(options.prepared) == 2
    cases = PreparedCases(items, task, options.cache_bytes, options.prepared)
    read.clear()
    for _ in range(2):
        cases.read_all()
    assert len(read) == 2 * (len(items) - 2)
    assert len(options.prepared) == 2


@pytest.mark.skipif(not LINUX, reason="files without a name are looked for in /proc")
def test_the_file_has_no_name_so_that_nothing_can_be_left(task, items, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with share_cases(items, task) as shared:
        assert list(tmp_path.iterdir()) == []
        assert shared.file.stat().st_nlink == 0
        assert len(shared.open()) == len(items)
    assert not shared.file.exists()


def test_where_files_need_names_it_is_removed(task, items, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("lib.training.shared_cases.os.getpid", lambda: 0)  # no such folder in /proc
    with share_cases(items, task) as shared:
        assert len(list(tmp_path.iterdir())) == 1
        assert len(shared.open()) == len(items)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not LINUX, reason="memory is read from /proc")
def test_two_runs_hold_no_copy_of_the_cases(task, items):
    def own_bytes():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024

    large = replace(task, input=replace(task.input, longest_side=1024))  # 6 MiB each
    with share_cases(items[:4], large) as shared:
        size = sum(
            int(np.prod(s)) * np.dtype(t).itemsize for p in shared.parts.values() for _, s, t in p
        )
        assert size > 2**23
        before = own_bytes()
        opened = [shared.open() for _ in range(2)]
        assert sum(
            float(part.sum(dtype=float)) for one in opened for c in one.values() for part in c
        )
        assert own_bytes() - before < size / 4
        for case in opened[0].values():
            for part in case:
                part += 1  # pages that are written to are copied
        assert own_bytes() - before > size * 0.9, "what the test would see of a copy"


def test_a_run_on_shared_cases_reads_nothing_and_is_the_same(whole, task, items, tmp_path, read):
    with share_cases(items, task) as shared:
        assert len(read) == len(items)
        result = fit(task, items, shared.given_to(fit_options(tmp_path / "run"), 2))
    assert len(read) == len(items)
    assert result.history == whole.history
    assert_same_weights(result.weights, whole.weights)


def test_what_cannot_be_read_is_left_to_the_run_that_needs_it(task, items, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    bad = [replace(items[0], id="broken", image=broken), *items]
    with share_cases(bad, task) as shared:
        options = shared.given_to(fit_options(tmp_path / "run"))
        assert len(options.prepared) == len(items)
        with pytest.raises(InputError, match=r"broken\.png: the file is empty"):
            fit(task, bad, options)


def test_rows_share_cases_where_these_are_prepared_alike(task):
    row = TASKS["nuclei_vhllrhe"]
    assert preparation(row) == preparation(TASKS["nuclei_vcr"]) == preparation(TASKS["nuclei_huv"])
    assert preparation(row) == preparation(with_recipe(row, steps=3, loss="dice"))
    for other in (
        replace(row, target=replace(row.target, gap=1)),
        replace(row, input=replace(row.input, longest_side=77)),
        replace(row, labels={"cells": 1}),
        TASKS["busi_lesion"],
        TASKS["volume_vnet"],
    ):
        assert preparation(row) != preparation(other)
    exams = TASKS["density_birads"]
    assert preparation(exams) != preparation(TASKS["density_birads_shared"]), "other networks"
    assert preparation(exams) == preparation(replace(exams, name="another"))


def test_a_pool_reads_each_case_once_and_gives_it_up_after_the_last_run(task, items, read):
    eroded = replace(task, target=replace(task.target, gap=1))
    runs = {
        "a": (task, items[:5]),
        "b": (with_recipe(task, steps=3), items[3:]),
        "c": (eroded, items),
    }
    with CasePool(runs) as pool:
        assert read == []
        first = pool.of("a")
        assert len(first.parts) == len(items) == len(read)
        assert pool.of("b") is first
        pool.done("a")
        assert first.file.exists()
        pool.done("b")
        assert not first.file.exists()
        other = pool.of("c")
        assert len(read) == 2 * len(items)
        assert pool.of("unknown") is None
    assert not other.file.exists()


def test_runs_at_once_share_the_room_on_a_gpu(task, items, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    cases, device = PreparedCases(items, task), torch.device("cuda")
    assert HeldCases(cases, device)._bytes_left == 1000 * RESIDENT_SHARE
    assert HeldCases(cases, device, at_once=4)._bytes_left == 1000 * RESIDENT_SHARE / 4
