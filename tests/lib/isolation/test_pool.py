"""What a hostile file can do to a worker, and not to the process that asks for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_readers as hostile
import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.errors import BusyError, InputError, NotFoundError
from lib.image import Geometry
from lib.io.read import read_image
from lib.isolation import calls
from lib.isolation.pool import Pool, remove_left_folders, remove_left_folders_soon
from lib.isolation.sandbox import landlock_version
from lib.leftovers import in_use

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers need Linux")
confined = pytest.mark.skipif(
    sys.platform == "linux" and landlock_version() < 6,
    reason="this kernel has no Landlock of version 6",
)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Workers with little memory and time."""
    made = Pool(budget=600 << 20, seconds=3, at_once=4)
    calls.use(made)
    yield made
    calls.use(None)
    made.close()


@pytest.fixture
def file(tmp_path: Path, pool: Pool) -> Path:
    path = tmp_path / "a.png"
    PillowImage.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)
    return path


def still_reads(file: Path) -> bool:
    begin = time.monotonic()
    # a tenth of a second on a quiet machine; who waits for what others read waits for half a minute
    return read_image(file).shape == (8, 8) and time.monotonic() - begin < 10


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2],
        np.zeros((0, 3), np.float32),
        np.float64(0.5),
        (1, "text", {"a": Path("/b")}, slice(1, 2), frozenset({3})),
        Geometry.flat(2, 3),
    ],
)
def test_values_come_back_as_they_are(file: Path, value: object) -> None:
    found = hostile.echo(file, value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and np.array_equal(found, value)
        found[...] = 1  # as writable as what is read here
    else:
        assert found == value and type(found) is type(value)


def test_errors_keep_their_type(file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^a\.png: no such thing$"):
        hostile.fail(file)


def test_a_worker_that_breaks_is_an_error_of_the_file(file: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: it breaks the program that reads it"):
        hostile.break_down(file)
    assert still_reads(file)


def test_a_header_that_breaks_itk(tmp_path: Path, file: Path) -> None:
    header = tmp_path / "a.mha"
    header.write_text(
        "ObjectType = Image\nNDims = -1\nDimSize = 4 4\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n" + "a" * 16
    )
    with pytest.raises((InputError, RuntimeError), match=r"a\.mha|RuntimeError"):
        hostile.read_by_itk(header)
    with pytest.raises(InputError, match=r"a\.mha"):
        read_image(header)
    assert still_reads(file)


def test_an_endless_loop_ends(file: Path, pool: Pool) -> None:
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"a\.png: reading it takes longer than 4 s"):
        hostile.go_on_forever(file)
    assert 3 <= time.monotonic() - begin < 30
    assert still_reads(file)


def test_processor_time_is_limited_too(file: Path) -> None:
    assert hostile.processor_seconds(file) == 13  # four processors for three seconds


def test_memory_is_limited(file: Path) -> None:
    assert hostile.take_memory(file, 100 << 20) == 25600
    with pytest.raises(InputError, match=r"a\.png: reading it needs more than 629 MB of memory"):
        hostile.take_memory(file, 700 << 20)
    assert still_reads(file)


def test_a_small_file_gets_less_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.isolation.pool.SMALL_BYTES", 200 << 20)
    with pytest.raises(InputError, match=r"a\.png: reading it needs more than 21\d MB of memory"):
        hostile.take_memory(file, 300 << 20)
    file.write_bytes(bytes(100_000))
    assert hostile.take_memory(file, 300 << 20) == 76800


def test_an_answer_cannot_name_a_function(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png"):
        hostile.forge(file, f"touch {tmp_path}/run")
    assert not (tmp_path / "run").exists()
    assert still_reads(file)


@confined
def test_no_other_file_can_be_read_or_changed(file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("kept")
    assert hostile.look_at(secret, secret) == "kept"
    with pytest.raises(PermissionError):
        hostile.look_at(file, secret)
    with pytest.raises(PermissionError):
        hostile.look_at(file, Path("/etc/passwd"))
    with pytest.raises(PermissionError):
        hostile.list_folder(file, tmp_path)
    for target in (secret, file, tmp_path / "new.txt"):
        with pytest.raises(PermissionError):
            hostile.write_to(file, target)
    assert secret.read_text() == "kept" and not (tmp_path / "new.txt").exists()


def test_libraries_that_came_with_python_can_still_be_loaded(file: Path) -> None:
    assert hostile.list_folder(file, Path(sys.base_prefix, "lib"))


@confined
def test_no_program_no_network_no_signal(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(PermissionError):
            hostile.connect(file, server.getsockname()[1])
    with pytest.raises(PermissionError):
        hostile.run_program(file)
    with pytest.raises(PermissionError):
        hostile.signal_to(file, os.getpid())


def test_nothing_is_left_in_the_temporary_folder(file: Path) -> None:
    assert not Path(hostile.keep_in_temporary_folder(file)).exists()


def test_secrets_of_the_environment_stay(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MONAI_LABEL_DICOMWEB_PASSWORD" not in hostile.environment(file)
    assert "PATH" in hostile.environment(file)


def test_many_at_once(file: Path) -> None:
    with ThreadPoolExecutor(50) as threads:
        shapes = list(threads.map(lambda _: read_image(file).shape, range(50)))
    assert shapes == [(8, 8)] * 50


def test_waiting_for_a_worker_has_an_end(file: Path, pool: Pool) -> None:
    pool.wait_seconds = 0.2
    for _ in range(pool.at_once):
        pool._free.acquire()
    try:
        with pytest.raises(BusyError, match=r"a\.png: 4 other files"):
            read_image(file)
    finally:
        pool._free.release(pool.at_once)
        pool.wait_seconds = 30
    assert still_reads(file)


def test_a_killed_zygote_comes_back(file: Path, pool: Pool) -> None:
    folder = pool._folder
    pool.process.kill()
    pool.process.wait()
    assert read_image(file).shape == (8, 8)
    assert not folder.exists() and pool._folder.exists()


def test_nothing_outlives_its_parent(file: Path) -> None:
    script = (
        "import sys, time; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path; from threading import Thread\n"
        "import hostile_readers as hostile; from lib.isolation import calls; from lib.io.read "
        "import read_image\n"
        "calls.read_in_workers(); read_image(sys.argv[3])\n"
        "Thread(target=hostile.go_on_forever, args=(Path(sys.argv[3]),)).start()\n"
        "print(calls._pool.process.pid, calls._pool._folder, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(ROOT), str(ROOT / "tests/samples"), str(file)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    zygote, folder = parent.stdout.readline().split()
    workers: list[int] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(map(_works, workers)):
        time.sleep(0.05)
        workers = [int(child) for child in _children(int(zygote))]
    assert any(map(_works, workers))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(map(_lives, [int(zygote), *workers])):
        time.sleep(0.05)
    assert not any(map(_lives, [int(zygote), *workers]))
    assert not Path(folder).exists()


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def _stat(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ["Z", *"0" * 12]


def _lives(process: int) -> bool:
    return _stat(process)[0] != "Z"


def _works(process: int) -> bool:
    """Tell whether a process has taken a quarter of a second of the processor, as a loop does."""
    return _lives(process) and int(_stat(process)[11]) >= os.sysconf("SC_CLK_TCK") / 4


def test_a_parent_that_ends_at_once_leaves_no_traceback(file: Path) -> None:
    script = "from lib.isolation import calls; calls.read_in_workers()"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=240
    )
    assert ended.stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_temporary_files_go_with_who_a_signal_ends(tmp_path: Path, number: int) -> None:
    script = (
        "import os, sys, tempfile; from lib.isolation import calls; from lib import leftovers;"
        "leftovers.use_private_folder(); calls.read_in_workers();"
        "tempfile.mkstemp(); os.kill(os.getpid(), int(sys.argv[1]))"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(int(number))]
    assert subprocess.run(command, env=environment, cwd=ROOT).returncode == -number
    end = time.monotonic() + 30
    while list(tmp_path.glob("monailabel-app-*")) and time.monotonic() < end:
        time.sleep(0.1)
    assert not list(tmp_path.glob("monailabel-app-*"))


def test_the_folder_of_one_killed_with_all_that_it_began_is_removed_and_no_other(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from lib.isolation import calls; from lib.io.read import read_image\n"
        "calls.read_in_workers(); read_image(sys.argv[2])\n"
        "print(calls._pool.process.pid, calls._pool._folder, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(ROOT), str(file)]
    killed, other = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    assert killed.stdout is not None and other.stdout is not None
    try:
        zygote, folder = killed.stdout.readline().split()
        kept = Path(other.stdout.readline().split()[1])
        begun = [int(zygote), *map(int, _children(int(zygote)))]
        os.kill(int(zygote), signal.SIGKILL)  # as MONAI Label stops a training
        killed.kill()
        killed.wait()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and any(map(_lives, begun)):
            time.sleep(0.05)
        assert Path(folder).is_dir() and kept.is_dir()
        remove_left_folders()
        assert not Path(folder).exists() and kept.is_dir()
    finally:
        other.kill()
        other.wait()


def test_what_has_not_ended_yet_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("lib.isolation.pool._UNTIL_ENDED", (0.0, 0.2, *[0.5] * 9))
    folder = tmp_path / "monailabel-reading-1"
    folder.mkdir()
    with in_use(folder):
        remove_left_folders_soon()
        time.sleep(0.1)
        assert folder.is_dir()
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
