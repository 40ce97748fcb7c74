"""What a killed process leaves is removed, and what a living one works on never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib import leftovers
from lib.leftovers import PRIVATE, new_file, new_folder, release, remove_left

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

WORK = """
import sys, tempfile, time
from pathlib import Path
from lib.leftovers import new_file, new_folder, use_private_folder

folder = Path(sys.argv[1])
private = use_private_folder()
assert use_private_folder() == private == Path(tempfile.gettempdir())
tempfile.mkstemp()
file, _ = new_file(folder, ".a.", ".partial")
with new_folder(folder, ".making-") as made:
    (made / "b").touch()
    print(private, file, made, sep="\\n", flush=True)
    sys.stdin.readline()
"""


def start(folder: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[str], list[Path]]:
    command = [sys.executable, "-c", WORK, str(folder)]
    pipe = subprocess.PIPE
    temporary = {**environment, "TMPDIR": str(folder)}
    process = subprocess.Popen(command, env=temporary, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, [Path(process.stdout.readline().strip()) for _ in range(3)]


def test_what_a_living_process_uses_stays_and_what_a_killed_one_used_goes(tmp_path, environment):
    living, used = start(tmp_path, environment)
    killed, left = start(tmp_path, environment)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert all(path.exists() for path in (*used, *left))
    remove_left(tmp_path.iterdir())
    assert all(path.exists() for path in used)
    assert not any(path.exists() for path in left)
    living.communicate("end\n")
    remove_left(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_takes_its_folder_with_it(tmp_path, environment):
    process, (private, *_) = start(tmp_path, environment)
    assert private.name.startswith(PRIVATE)
    assert private.stat().st_mode & 0o777 == 0o700
    process.communicate("end\n")
    assert not private.exists()


def test_the_next_process_removes_the_folder_of_a_killed_one(tmp_path, environment):
    killed, (private, *_) = start(tmp_path, environment)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert private.exists()
    process, _ = start(tmp_path, environment)
    assert not private.exists()
    process.communicate("end\n")


def test_links_are_left_alone(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "patients").mkdir()
    (inside / ".making-1").symlink_to(tmp_path / "patients")
    (inside / ".loop").symlink_to(inside / ".loop")
    remove_left(inside.iterdir())
    assert (tmp_path / "patients").is_dir()
    assert len(list(inside.iterdir())) == 2


def test_without_locks_only_what_is_old_counts_as_left(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.leftovers.fcntl", None)
    path, handle = new_file(tmp_path, ".a.", ".partial")
    release(handle)
    remove_left([path])
    assert path.exists()
    os.utime(path, (1, 1))
    remove_left([path])
    assert not path.exists()
    with new_folder(tmp_path, ".making-") as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_what_was_taken_for_a_leftover_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = leftovers._lock

    def lock_too_late(handle: int) -> bool | None:
        monkeypatch.undo()
        for file in tmp_path.iterdir():  # as another server does at its start
            file.unlink()
        return lock(handle)

    monkeypatch.setattr(leftovers, "_lock", lock_too_late)
    file, handle = new_file(tmp_path, "a", ".partial")
    assert file.exists()
    release(handle)
