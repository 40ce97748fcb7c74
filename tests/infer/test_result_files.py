"""Files of answers: found by their key, the oldest dropped, nothing left of what failed."""

from __future__ import annotations

import time

import pytest

from infer.result_files import ResultFiles
from lib.errors import InputError, NotFoundError


def _store(results: ResultFiles, text: str) -> str:
    with results.new_folder() as folder:
        (folder / "mask.nrrd").write_text(text)
    return folder.name


def test_the_oldest_answer_makes_room_for_a_new_one():
    results = ResultFiles(kept=2)
    first, second, third = (_store(results, text) for text in "abc")
    assert [results.find(key, "mask.nrrd").read_text() for key in (second, third)] == ["b", "c"]
    with pytest.raises(NotFoundError, match="keeps those of its last 2 answers"):
        results.find(first, "mask.nrrd")
    assert {path.name for path in results.find(third, "mask.nrrd").parents[1].iterdir()} == {
        second,
        third,
    }


@pytest.mark.parametrize("name", ["other.nrrd", "../mask.nrrd", ""])
def test_only_the_files_of_an_answer_are_handed_out(name):
    results = ResultFiles()
    with pytest.raises(NotFoundError, match=r"there are mask\.nrrd"):
        results.find(_store(results, "a"), name)


def test_an_answer_that_fails_leaves_nothing():
    results = ResultFiles()
    with pytest.raises(OSError, match="disk full"), results.new_folder() as folder:
        (folder / "mask.nrrd").write_text("half")
        raise OSError("disk full")
    assert not folder.exists()
    with pytest.raises(NotFoundError, match="these results are gone"):
        results.find(folder.name, "mask.nrrd")


def test_answers_are_kept_within_a_size_and_for_a_time(monkeypatch):
    results = ResultFiles()
    results.bound(megabytes=10e-6, minutes=1)
    first, second = _store(results, "six..."), _store(results, "seven..")
    with pytest.raises(NotFoundError, match="these results are gone"):
        results.find(first, "mask.nrrd")
    folder = results.find(second, "mask.nrrd").parent
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    results.expire()
    assert not folder.exists()
    with pytest.raises(NotFoundError, match="for 1 minutes"):
        results.find(second, "mask.nrrd")


def test_an_answer_larger_than_all_that_is_kept_is_refused():
    results = ResultFiles()
    results.bound(megabytes=3e-6, minutes=1)
    kept = _store(results, "a")
    with pytest.raises(InputError, match="results_mb"):
        _store(results, "four")
    assert results.find(kept, "mask.nrrd").exists()
    assert len(list(results.find(kept, "mask.nrrd").parents[1].iterdir())) == 1
