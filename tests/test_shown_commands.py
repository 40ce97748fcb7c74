"""The commands that the documents show are taken by the program; marked ones are run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from shown_commands import (
    COMMANDS,
    NOT_COMMANDS,
    PAGES,
    REPOSITORY,
    blocks,
    fault,
    lines_of,
    shown,
)


def test_each_block_says_whether_it_is_of_commands():
    unmarked = [
        f"{block.page.name}: {block.text[:40]!r}"
        for block in blocks()
        if block.language not in (*COMMANDS, *NOT_COMMANDS)
    ]
    assert unmarked == [], "mark what is shown: sh for commands, text for output"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_program_takes_the_commands_of_a_page(page):
    faults = {command: fault(command) for command in shown(page)}
    assert {command: why for command, why in faults.items() if why} == {}


def test_many_commands_are_looked_at():
    commands = [command for page in PAGES for command in shown(page)]
    assert sum("monailabel_app" in command for command in commands) > 60
    assert sum(command.startswith("curl") for command in commands) > 10


@pytest.mark.parametrize(
    "command",
    [
        "python -m monailabel_app trian nuclei",
        "python -m monailabel_app train nuclei --studies cells --epoch 3",
        "python -m monailabel_app train nuclei --studies cells --epochs three",
        "python -m monailabel_app train nucleus --studies cells",
        "unetvnet infer nuclei --result masks cells.png",
        "make serve",
        "make run STUDY=cells",
        "curl -X POST 127.0.0.1:8000/trains/nuclei",
        "monailabel start_server --app monailabel_app --conf model nuclei",
        "rm -r /",
    ],
)
def test_a_wrong_command_is_noticed(command):
    assert fault(command)


@pytest.mark.parametrize(
    "block", [block for block in blocks() if block.run], ids=lambda block: block.text.split()[-1]
)
def test_commands_that_are_quick_are_run(block, tmp_path):
    """In an empty folder, with the demo images that the pages speak of."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    commands = [line for line in block.text.splitlines() if "activate" not in line]
    script = "python -m monailabel_app demo-data demo/nuclei >/dev/null\n" + "\n".join(commands)
    ended = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert list(lines_of(block.text))


def test_some_blocks_are_run():
    assert sum(block.run for block in blocks()) >= 2
