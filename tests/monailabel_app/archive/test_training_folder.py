"""Folders of trainings on an archive: those of other servers stay while these run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from monailabel_app.archive.training_folder import Entry, make_training_folder

_OTHER = """
import sys
from pathlib import Path
from monailabel_app.archive.training_folder import Entry, make_training_folder
root, file = map(Path, sys.argv[1:])
print(make_training_folder(root, [Entry(file, "other.png")]), flush=True)
sys.stdin.read()
"""


def test_a_running_process_keeps_its_folder_and_a_killed_one_leaves_none(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"image")
    root = tmp_path / "training"
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(root), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        mine = make_training_folder(root, [Entry(file, "mine.png")])
        assert (mine / "mine.png").is_file() and (theirs / "other.png").is_file()
        assert make_training_folder(root, [Entry(file, "mine.png")]) == mine
        other.kill()
    # the folder of a process is made once; another one looks for what is left
    subprocess.run(
        [sys.executable, "-c", _OTHER, str(root), str(file)], input="", check=True, text=True
    )
    assert not theirs.exists() and mine.is_dir()
