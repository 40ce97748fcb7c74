"""The fuzzer reads its own seeds, and finds what is planted."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz import worker
from fuzz.__main__ import Campaign
from fuzz.readers import TARGETS
from lib.errors import InputError


@pytest.mark.parametrize("name", TARGETS)
def test_most_seeds_of_a_target_are_read(name: str, tmp_path: Path) -> None:
    run = worker.Run(name, tmp_path, tmp_path)
    seeds, refused = run.target.seeds(), 0
    for content in seeds:
        run.file.write_bytes(content)
        try:
            run.target.read(run.file)
        except InputError:
            refused += 1
    assert refused <= len(seeds) / 2


def planted(monkeypatch: pytest.MonkeyPatch, fault) -> None:
    monkeypatch.setitem(TARGETS, "density", replace(TARGETS["density"], read=fault))


def test_another_error_is_found_and_its_file_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(path: Path) -> None:
        if b"\0" in path.read_bytes():
            raise KeyError("planted")

    planted(monkeypatch, fault)
    monkeypatch.setattr(worker.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(worker, "read_in_workers", lambda: None)
    worker.main("density", 0, 3, 10**6, tmp_path, tmp_path)
    kept = list(tmp_path.glob("*-input.json"))
    assert len(kept) == 1 and b"\0" in kept[0].read_bytes()
    assert "KeyError in" in capsys.readouterr().out.splitlines()[-1]


def test_words_that_are_no_line_are_found(tmp_path: Path) -> None:
    assert worker._wrong_words("one\ntwo") and worker._wrong_words("x" * 2000)
    assert not worker._wrong_words(str(InputError("a\nb\x00" + "x" * 2000)))


def test_a_crash_is_found_with_its_file(tmp_path: Path) -> None:
    campaign = Campaign(["density"], 0, 20, None, tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import fuzz.readers as r, os, signal\n"
        "from dataclasses import replace\n"
        "kill = lambda path: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "r.TARGETS['density'] = replace(r.TARGETS['density'], read=kill)\n"
    )
    old = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{tmp_path}:{Path.cwd()}:{old}"
    try:
        campaign._run("density", 1000, 5)
    finally:
        os.environ["PYTHONPATH"] = old
    counts = campaign.counts["density"]
    assert counts.crashes == 1
    (finding,) = counts.findings
    assert finding.startswith(signal.Signals.SIGSEGV.name)
    assert (tmp_path / counts.findings[finding]).stat().st_size > 0


def test_a_campaign_ends_after_as_many_files_of_each_type_the_same_ones_each_time(
    tmp_path: Path,
) -> None:
    found = []
    for _ in range(2):
        campaign = Campaign(["density", "table"], 3, 600, 40, tmp_path)
        campaign.work()
        assert [counts.inputs for counts in campaign.counts.values()] == [40, 40]
        found.append([(counts.read, counts.refused) for counts in campaign.counts.values()])
    assert found[0] == found[1]
