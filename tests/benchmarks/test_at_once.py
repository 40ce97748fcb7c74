"""Studies and simulations with several runs at once: the same results, one copy of the cases."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_samples import assert_same_weights

from benchmarks.active_learning import campaign as simulations
from benchmarks.active_learning.protocol import Protocol, fixed_steps
from benchmarks.harness import processes
from benchmarks.harness.campaign import Execution
from benchmarks.reproduction import campaign as campaigns
from benchmarks.reproduction.campaign import reproduce
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.study import Variant
from lib import kinds
from lib.segmentation.losses import LOSSES
from lib.tasks.outside import VARIABLE
from lib.tasks.registry import TASKS

QUICK = Execution("cpu", "fp32", progress=False, command="a test")
PATCH = (("patch_size", 32), ("batch_size", 2))


def _quiet(line: str) -> None:
    pass


@pytest.fixture
def ask(task, tmp_path, monkeypatch):
    """Return a function that makes a campaign of two small variants and four steps."""
    narrow = replace(task, network=replace(task.network, channels=(4, 6, 8)))
    for name, row in (("tiny_a", task), ("tiny_b", narrow)):
        monkeypatch.setitem(TASKS, name, replace(row, name=name))
    variants = (
        Variant(name="A", task="tiny_a"),
        Variant(name="B", task="tiny_b", recipes=("ours", "thesis")),
    )
    study = replace(STUDIES["thesis-nuclei"], variants=variants)

    def make(**changes):
        plain = {"steps": 4, "execution": QUICK, "changes": PATCH, "data_name": "phantoms"}
        plain |= {"study": study, "out": tmp_path / "out", "variants": variants}
        return Campaign(**{**plain, **changes})

    return make


@pytest.fixture
def read(monkeypatch):
    """Count the preparations of segmentation cases by their images."""
    counted, row = [], kinds.KINDS["segmentation"]

    def load(item, task):
        counted.append((item.image.name, task.target.gap))
        return row.cases.load(item, task)

    monkeypatch.setitem(
        kinds.KINDS, "segmentation", replace(row, cases=replace(row.cases, load=load))
    )
    return counted


@pytest.fixture
def here(monkeypatch):
    """Do what processes would, in this one."""

    def run(work, at_once, on_end, on_poll=None):
        for job in work:
            args = pickle.loads(pickle.dumps((*job.args, *(job.late() if job.late else ()))))
            job.call(*args)
            on_end(job.name, 0)

    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    for module in (campaigns, simulations):
        monkeypatch.setattr(module, "run_in_processes", run)


def _figures(report):
    return [
        {name: run[name] for name in ("folder", "status", "validation", "history", "pooled")}
        for run in report["runs"]
    ]


def test_runs_at_once_end_as_those_one_after_the_other(ask, items, tmp_path):
    each = reproduce(ask(out=tmp_path / "each"), items, _quiet)
    at_once = reproduce(ask(out=tmp_path / "at_once", jobs=2), items, _quiet)
    assert len(each["runs"]) == 3
    if torch.get_num_threads() == max(1, processes._cores() // 2):  # sums are rounded alike
        assert _figures(at_once) == _figures(each)
        for run in each["runs"]:
            files = [tmp_path / one / run["folder"] / "best.pt" for one in ("each", "at_once")]
            assert_same_weights(*files)
    for run, wanted in zip(_figures(at_once), _figures(each), strict=True):
        assert run["status"] == wanted["status"] == "done"
        assert run["validation"] == pytest.approx(wanted["validation"], abs=1e-3)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_case_is_prepared_once_for_all_runs_that_take_it_alike(ask, items, read, here, jobs):
    campaign = ask(jobs=jobs, seeds=(0, 1))
    report = reproduce(campaign, items, _quiet)
    assert [run["status"] for run in report["runs"]] == ["done"] * 6
    trained_on = report["data"]["sources"]["studies"]
    count = trained_on["training"] + trained_on["validation"]
    assert len(read) == len(set(read)) == 2 * count, "once for each of two gaps"
    again = reproduce(campaign, items, _quiet)
    assert _figures(again) == _figures(report)
    assert len(read) == 2 * count, "what is done is not prepared for"
    (campaign.out / "tiny_b-ours-seed1" / "result.json").unlink()
    assert _figures(reproduce(campaign, items, _quiet)) == _figures(report), "the state was there"


def test_strategies_at_once_prepare_each_sample_once(task, items, tmp_path, read, here):
    plain = {"strategies": ("random", "uncertainty"), "counts": (1, 3), "seeds": (0, 1)}
    plain |= {
        "task": fixed_steps(replace(task, training=replace(task.training, batch_size=2)), steps=3)
    }
    each, at_once = (
        simulations.simulate(
            Protocol(out=tmp_path / str(jobs), execution=QUICK, test_share=0.3, jobs=jobs, **plain),
            items,
            _quiet,
        )
        for jobs in (1, 2)
    )
    assert sorted(read) == sorted([(item.image.name, 0) for item in items] * 2)
    for one, other in zip(each["seeds"], at_once["seeds"], strict=True):
        for name, curve in one["curves"].items():
            for point, wanted in zip(other["curves"][name], curve, strict=True):
                assert (point["ids"], point["figures"]) == (wanted["ids"], wanted["figures"])
    for result in (tmp_path / "1").glob("*/best.pt"):
        assert_same_weights(result, tmp_path / "2" / result.parent.name / "best.pt")


def test_how_many_run_at_once_depends_on_the_cores(monkeypatch):
    for cores, count in ((1, 1), (2, 1), (7, 1), (8, 2), (16, 4), (96, 4)):
        monkeypatch.setattr(processes, "_cores", lambda cores=cores: cores)
        assert processes.choose_at_once() == count


def test_processes_know_the_tasks_from_outside(tmp_path, monkeypatch, own_tasks):
    file = tmp_path / "own.py"
    file.write_text("from lib.segmentation.losses import LOSSES\nLOSSES['own'] = LOSSES['dice']\n")
    monkeypatch.setenv(VARIABLE, str(file))
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    found = []
    job = processes.torch_job("one", 1, lambda: found.append("own" in LOSSES))
    job.call(*job.args)
    assert found == [True]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


HANGING = """
import os, sys, time
from pathlib import Path
from benchmarks.harness.processes import Job, run_in_processes

def hang(file):
    try:
        Path(file).write_text(str(os.getpid()))
        while True:
            time.sleep(0.05)
    finally:
        Path(file).with_suffix(".ended").touch()

if __name__ == "__main__":
    jobs = [Job(name, hang, (str(Path(sys.argv[1], name + ".pid")),)) for name in "ab"]
    run_in_processes(jobs, 2, print)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are read from /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_runs_end_in_order_with_the_command_that_is_killed(tmp_path, environment, how):
    script = tmp_path / "study.py"
    script.write_text(HANGING)
    study = subprocess.Popen(
        [sys.executable, script, tmp_path],
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as in the background
    )
    pids: list[int] = []
    try:
        deadline = time.monotonic() + 240  # of patience with a busy machine
        while len(pids) < 2 and time.monotonic() < deadline:
            assert study.poll() is None
            time.sleep(0.05)
            told = [file.read_text() for file in tmp_path.glob("*.pid")]
            pids = [int(text) for text in told if text]
        assert len(pids) == 2 and all(_alive(pid) for pid in pids)
    finally:
        study.send_signal(how)
        study.wait()
    deadline = time.monotonic() + 60
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in pids if _alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
    assert len(list(tmp_path.glob("*.ended"))) == 2, "what was begun was put in order"
