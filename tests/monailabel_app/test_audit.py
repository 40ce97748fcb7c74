"""The audit log: whole lines, only ever appended, and no change fails for it."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from monailabel_app.audit import LONGEST_TEXT, AuditLog


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "models" / "audit.jsonl", lambda: ("anna", "10.0.0.1"))


def test_a_line_says_who_what_when_and_from_where(log):
    log.write("label saved", "cell_1", tag="final", before="", after="ab")
    (line,) = lines(log.file)
    assert line.pop("time").endswith("+00:00")
    told = {"by": "anna", "address": "10.0.0.1", "what": "label saved", "on": "cell_1"}
    assert line == {**told, "tag": "final", "after": "ab"}
    assert log.file.stat().st_mode & 0o077 == 0


def test_a_line_lies_on_the_disk_before_the_request_is_answered(log, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    log.write("label saved", "cell_1")
    assert synced == [log.file.stat().st_size]


def test_a_change_that_fails_is_no_line_and_one_that_ends_has_both_checksums(log):
    sums = iter("abcd")
    with pytest.raises(ValueError), log.change("x", "y", lambda: next(sums)):
        raise ValueError
    assert not log.file.exists()
    with log.change("x", "y", lambda: next(sums), by="training"):
        pass
    (line,) = lines(log.file)
    assert (line["before"], line["after"], line["by"]) == ("b", "c", "training")


def test_what_is_sent_cannot_break_a_line_or_make_it_long(log):
    for text in ("a\nb\x1b[31m\u2028", "\ud800", "😀" * 5000, "x" * 100_000):
        log.write("label saved", text, tag=text)
    content = log.file.read_bytes()
    assert content.count(b"\n") == len(lines(log.file)) == 4
    assert all(32 <= sign < 127 or sign == 10 for sign in content)
    assert max(map(len, content.splitlines())) < 3 * LONGEST_TEXT


def test_a_half_line_that_a_full_disk_left_does_not_spoil_the_next(log):
    log.write("one", "x")
    with open(log.file, "a") as file:
        file.write('{"time": "half')
    log.write("two", "x")
    assert [json.loads(line)["what"] for line in log.file.read_text().splitlines()[::2]] == [
        "one",
        "two",
    ]


def test_a_log_that_cannot_be_written_is_said_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    log = AuditLog(tmp_path / "file" / "audit.jsonl")
    with log.change("label saved", "cell_1", lambda: ""):
        pass
    assert "not in the audit log" in caplog.text and "cell_1" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_stops_nothing(caplog):
    AuditLog(Path("/dev/full")).write("label saved", "cell_1")
    assert "No space left" in caplog.text


def test_a_checksum_that_cannot_be_had_stops_nothing(log):
    def gone() -> str:
        raise FileNotFoundError

    with log.change("label saved", "cell_1", gone):
        pass
    assert lines(log.file)[0]["what"] == "label saved"


def _write(file: Path, count: int) -> None:
    log = AuditLog(file)
    for number in range(count):
        log.write("label saved", f"{os.getpid()}-{number}", note="x" * LONGEST_TEXT)


def test_lines_of_several_processes_stay_whole(tmp_path):
    file = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(file, 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len({line["on"] for line in lines(file)}) == 200


def test_a_flood_of_wrong_passwords_is_few_lines(log):
    for number in range(1000):
        log.refused(f"name{number}", "10.0.0.9", 5)
    (line,) = lines(log.file)
    assert (line["what"], line["on"], line["address"]) == ("wrong password", "name0", "10.0.0.9")
