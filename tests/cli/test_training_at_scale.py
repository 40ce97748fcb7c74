"""The commands of docs/training_at_scale.md, run as two machines with a process each."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lib.processes import free_port

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "training_at_scale.md").read_text()
TASK = "nuclei_u3clr"
OPTIONS = "--steps 4 --val-interval 2 --batch-size 4 --patch-size 16 --device cpu --precision fp32"


def _pytorch_job() -> str:
    job = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1])
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert set(replicas) == {"Master", "Worker"} and job["kind"] == "PyTorchJob"
    container = replicas["Worker"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["sh", "-c"]
    return container["args"][0]


def _slurm() -> str:
    script = re.search(r"```bash\n(#!.*?)```", PAGE, re.S)[1]
    return re.search(r"srun bash -c '(.*)'", script)[1]


@pytest.fixture(scope="module")
def alone(studies, tmp_path_factory, run_python):
    """The history of one process."""
    out = tmp_path_factory.mktemp("alone")
    words = ("train", TASK, "--studies", studies, "--out", out, *OPTIONS.split())
    ended = run_python("-m", "monailabel_app", *words)
    assert ended.returncode == 0, ended.stderr
    return json.loads((out / "history.json").read_text())


@pytest.mark.parametrize(
    ("command", "machine"), [(_pytorch_job(), "RANK"), (_slurm(), "SLURM_NODEID")]
)
def test_two_machines_give_the_curve_of_one_process(
    command, machine, alone, studies, environment, tmp_path
):
    shared = {
        **environment,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"])),
        **{"WORLD_SIZE": "2", "SLURM_NNODES": "2", "GPUS": "1", "SLURM_GPUS_ON_NODE": "1"},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())},
        **{"STUDIES": str(studies), "OUT": str(tmp_path), "TASK": TASK, "TRAIN_OPTIONS": OPTIONS},
    }
    machines = [
        subprocess.Popen(
            ["bash", "-c", command],
            env={**shared, machine: str(number)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for number in range(2)
    ]
    try:
        for process in machines:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in machines:
            if process.poll() is None:  # torchrun's own children end with their group only
                os.killpg(process.pid, signal.SIGKILL)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["step"] for entry in history] == [2, 4]
    for entry, wanted in zip(history, alone, strict=True):
        assert entry == pytest.approx(wanted, abs=2e-3)
