"""Files are wholly there or not at all."""

from __future__ import annotations

import json
import os

import pytest

from lib.files import (
    copy_atomically,
    file_stamp,
    fingerprint,
    read_object,
    remove_leftovers,
    replaced_atomically,
    restored_on_error,
    sha256,
    write_atomically,
    write_json,
)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, lambda file: file.write(b"one"))
    write_atomically(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, ValueError])
def test_a_failed_write_leaves_the_old_content_and_no_other_file(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise kind("stopped")

    with pytest.raises(kind, match="stopped"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_written_with_values_it_does_not_know_as_text(tmp_path):
    write_json(tmp_path / "a.json", {"path": tmp_path, "n": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": str(tmp_path), "n": 1}


def test_a_copy_has_the_same_content(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 9000)
    copy_atomically(tmp_path / "a", tmp_path / "b")
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")


def test_leftovers_of_killed_processes_go_and_those_at_work_stay(tmp_path):
    for name in (".a.png.x1.partial", "c.png"):
        (tmp_path / name).touch()
    with replaced_atomically(tmp_path / "b.png") as working:
        remove_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([working, tmp_path / "c.png"])
        working.write_text("b")
    assert (tmp_path / "b.png").read_text() == "b"


def test_a_file_that_is_kept_for_the_case_of_an_error_is_no_leftover(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(OSError, match="full"), restored_on_error(tmp_path / "a"):
        (tmp_path / "a").unlink()
        remove_leftovers(tmp_path)
        raise OSError("full")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", "[" * 100_000, '{"a": "\\ud800"}', "5", '{"a": 1' + "0" * 5000 + "}"]
)
def test_what_is_no_object_of_json_counts_as_an_empty_one(tmp_path, text):
    file = tmp_path / "a.json"
    file.write_text(text)
    assert read_object(file) == {}
    assert read_object(tmp_path) == read_object(tmp_path / "none") == {}


def test_numbers_that_no_answer_can_hold_are_left_out_of_an_object(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": NaN, "b": 1e999, "c": -Infinity, "d": 0.5}')
    assert read_object(file) == {"a": None, "b": None, "c": None, "d": 0.5}


def test_a_fingerprint_follows_names_and_contents_but_not_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    before = fingerprint([a, b])
    assert before == fingerprint([b, a])
    assert len(before) == 16
    changed = b.stat().st_mtime_ns
    b.write_text("3")
    os.utime(b, ns=(changed, changed))  # clocks of file systems stand still for milliseconds
    assert fingerprint([a, b]) != before


def test_sha256_is_the_known_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_a_library_that_writes_by_the_suffix_replaces_a_file_whole(tmp_path):
    path = tmp_path / "a.nii.gz"
    with replaced_atomically(path, ".nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"one")
    assert path.read_bytes() == b"one"
    with pytest.raises(ValueError, match="stopped"), replaced_atomically(path) as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("stopped")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_stamp_of_a_file_follows_its_replacement(tmp_path):
    path = write_atomically(tmp_path / "a", lambda file: file.write(b"1"))
    before = file_stamp(path)
    assert file_stamp(path) == before
    write_atomically(path, lambda file: file.write(b"2"))
    assert file_stamp(path) != before
