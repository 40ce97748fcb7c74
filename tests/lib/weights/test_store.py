"""The gate publishes what is better, and nothing is lost, torn or half written."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.errors import InputError, NotFoundError
from lib.files import sha256
from lib.weights.store import ModelStore

TASK = "nuclei_vhllrhe"
KILLS = int(os.environ.get("PUBLISH_KILLS", "15"))


def _file(folder: Path, content: bytes) -> Path:
    path = folder / f"candidate_{len(list(folder.iterdir()))}.pt"
    path.write_bytes(content)
    return path


@pytest.fixture
def store(tmp_path) -> ModelStore:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "candidates").mkdir()
    return ModelStore(tmp_path / "models", tmp_path / "shipped")


@pytest.fixture
def candidates(store, tmp_path) -> Path:
    return tmp_path / "candidates"


def _submit(store: ModelStore, file: Path, score: float, live: float | None):
    return store.submit(TASK, file, {"mean_iou": score}, "mean_iou", live)


def test_first_weights_are_published(store, candidates):
    assert store.served_path(TASK) is None
    assert store.versions(TASK) == []
    decision = _submit(store, _file(candidates, b"one"), 0.5, None)
    assert decision.published
    assert decision.reason == "first weights: mean_iou 0.5000"
    assert store.served_path(TASK).read_bytes() == b"one"


def test_better_weights_replace_the_live_ones_and_both_stay(store, candidates):
    first = _submit(store, _file(candidates, b"one"), 0.5, None)
    second = _submit(store, _file(candidates, b"two"), 0.6, 0.5)
    assert second.published
    assert second.reason == "mean_iou 0.6000 beats the published 0.5000"
    assert store.served_path(TASK).read_bytes() == b"two"
    live = {version.id: version.served for version in store.versions(TASK)}
    assert live == {first.version: False, second.version: True}


@pytest.mark.parametrize("score", [0.5, 0.4, float("nan")])
def test_what_is_not_better_is_kept_aside_and_said_so(store, candidates, score):
    _submit(store, _file(candidates, b"one"), 0.5, None)
    decision = _submit(store, _file(candidates, b"two"), score, 0.5)
    assert not decision.published
    assert "does not beat the published 0.5000 on the same validation cases" in decision.reason
    assert store.served_path(TASK).read_bytes() == b"one"
    aside = {version.id: version for version in store.versions(TASK)}[decision.version]
    assert (aside.published, aside.served, aside.reason) == (False, False, decision.reason)
    assert aside.path.read_bytes() == b"two"


def test_versions_made_within_a_second_keep_their_order(store, candidates):
    made = [_submit(store, _file(candidates, bytes([n])), 0.5, None).version for n in range(8)]
    assert [version.id for version in store.versions(TASK)] == made


def test_any_version_can_be_put_back(store, candidates):
    first = _submit(store, _file(candidates, b"one"), 0.5, None)
    second = _submit(store, _file(candidates, b"two"), 0.4, 0.5)
    for decision, content in ((second, b"two"), (first, b"one")):
        assert store.restore(TASK, decision.version) == store.published_path(TASK)
        assert store.served_path(TASK).read_bytes() == content
        assert [v.id for v in store.versions(TASK) if v.served] == [decision.version]


def test_shipped_weights_are_live_until_better_ones_come_and_can_be_put_back(store, candidates):
    store.shipped_path(TASK).write_bytes(b"shipped")
    assert [(v.id, v.served) for v in store.versions(TASK)] == [("shipped", True)]
    decision = _submit(store, _file(candidates, b"one"), 0.9, 0.8)
    live = [(version.id, version.served) for version in store.versions(TASK)]
    assert live == [("shipped", False), (decision.version, True)]
    assert store.restore(TASK, "shipped") == store.shipped_path(TASK)
    assert store.served_path(TASK).read_bytes() == b"shipped"
    assert len(store.versions(TASK)) == 2


@pytest.mark.parametrize("version", ["shipped", "20200101T000000-00000000", "../../x"])
def test_an_unknown_version_is_refused(store, candidates, version):
    _submit(store, _file(candidates, b"one"), 0.5, None)
    with pytest.raises(NotFoundError, match=f"unknown version of '{TASK}' '"):
        store.restore(TASK, version)
    assert store.served_path(TASK).read_bytes() == b"one"


def test_withdrawn_weights_are_no_longer_served_but_kept(store, candidates):
    with pytest.raises(InputError, match="has no published weights to withdraw"):
        store.withdraw(TASK)
    decision = _submit(store, _file(candidates, b"one"), 0.5, None)
    store.withdraw(TASK)
    assert store.served_path(TASK) is None
    assert store.restore(TASK, decision.version).read_bytes() == b"one"


@pytest.mark.parametrize("action", ["withdraw", "restore", "submit"])
def test_weights_put_there_by_hand_are_never_lost(store, candidates, action):
    old = _submit(store, _file(candidates, b"one"), 0.5, None)
    store.published_path(TASK).write_bytes(b"by hand")
    if action == "withdraw":
        store.withdraw(TASK)
    elif action == "restore":
        store.restore(TASK, old.version)
    else:
        _submit(store, _file(candidates, b"two"), 0.9, 0.5)
    assert b"by hand" in [version.path.read_bytes() for version in store.versions(TASK)]


def test_a_version_without_its_record_is_listed_as_kept_aside(store, candidates):
    decision = _submit(store, _file(candidates, b"one"), 0.5, None)
    record = store.versions(TASK)[0].path.with_suffix(".json")
    record.write_text("{ torn")
    version = store.versions(TASK)[0]
    assert (version.id, version.published, version.served) == (decision.version, False, True)
    assert version.reason == "its record is missing"


def test_versions_are_plain_data_for_reports(store, candidates):
    _submit(store, _file(candidates, b"one"), 0.5, None)
    row = json.loads(json.dumps(store.versions(TASK)[0].as_dict()))
    assert row["metrics"] == {"mean_iou": 0.5}
    assert row["live"] is True
    assert "path" not in row


def test_a_scratch_folder_is_gone_afterwards(store):
    with store.candidate_folder() as folder:
        (folder / "a").touch()
        assert folder.parent == store.folder
    assert list(store.folder.iterdir()) == []


PUBLISH = """
import sys
from pathlib import Path
from lib.weights.store import ModelStore

store = ModelStore(sys.argv[1], sys.argv[2])
candidates = sorted(Path(sys.argv[3]).iterdir())
print("ready", flush=True)
step = 0
while True:
    step += 1
    store.submit("nuclei_vhllrhe", candidates[step % len(candidates)], {"m": step}, "m", 0)
"""


def test_a_publisher_killed_at_any_moment_leaves_whole_files(store, candidates, environment):
    """`PUBLISH_KILLS=200 pytest ...` runs it longer."""
    whole = set()
    for number in range(3):
        content = random.Random(number).randbytes(3_000_000)
        whole.add(sha256(_file(candidates, content)))
    known: set[str] = set()
    for kill in range(KILLS):
        args = [sys.executable, "-c", PUBLISH, store.folder, store.shipped, candidates]
        child = subprocess.Popen(args, env=environment, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(random.Random(kill).uniform(0.02, 0.3))
        end = time.monotonic() + 60
        while kill == KILLS - 1 and store.served_path(TASK) is None and time.monotonic() < end:
            time.sleep(0.01)  # a busy machine may have published nothing yet
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        live = store.served_path(TASK)
        assert live is None or sha256(live) in whole, f"torn after kill {kill}"
        versions = store.versions(TASK)
        assert known <= {version.id for version in versions}, f"lost after kill {kill}"
        known = {version.id for version in versions}
    assert store.served_path(TASK) is not None
    assert {sha256(version.path) for version in store.versions(TASK)} <= whole
    assert any(version.served for version in store.versions(TASK))


FULL_DISK = """
import resource, sys
from pathlib import Path
from lib.weights.store import ModelStore

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
store = ModelStore(sys.argv[1], sys.argv[2])
try:
    store.submit("nuclei_vhllrhe", Path(sys.argv[3]), {"m": 1.0}, "m", 0.0)
except OSError as error:
    print("refused", error.errno)
"""


def test_a_full_disk_leaves_the_live_model_and_nothing_half_written(store, candidates, run_python):
    _submit(store, _file(candidates, b"one"), 0.5, None)
    large = _file(candidates, bytes(200_000))
    ended = run_python("-c", FULL_DISK, store.folder, store.shipped, large)
    assert ended.stdout.startswith("refused"), ended.stderr
    assert store.served_path(TASK).read_bytes() == b"one"
    assert len(store.versions(TASK)) == 1
    assert not [path for path in store.folder.rglob("*") if path.name.endswith(".partial")]
