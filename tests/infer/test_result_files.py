"""Files of answers: found by their key, the oldest dropped, nothing left of what failed."""

from __future__ import annotations

import pytest

from infer.result_files import ResultShelf
from lib.errors import NotFoundError


def _put(shelf: ResultShelf, text: str) -> str:
    with shelf.put() as folder:
        (folder / "mask.nrrd").write_text(text)
    return folder.name


def test_the_oldest_answer_makes_room_for_a_new_one():
    shelf = ResultShelf(kept=2)
    first, second, third = (_put(shelf, text) for text in "abc")
    assert [shelf.find(key, "mask.nrrd").read_text() for key in (second, third)] == ["b", "c"]
    with pytest.raises(NotFoundError, match="keeps those of its last 2 answers"):
        shelf.find(first, "mask.nrrd")
    assert {path.name for path in shelf.find(third, "mask.nrrd").parents[1].iterdir()} == {
        second,
        third,
    }


@pytest.mark.parametrize("name", ["other.nrrd", "../mask.nrrd", ""])
def test_only_the_files_of_an_answer_are_handed_out(name):
    shelf = ResultShelf()
    with pytest.raises(NotFoundError, match=r"there are mask\.nrrd"):
        shelf.find(_put(shelf, "a"), name)


def test_an_answer_that_fails_leaves_nothing():
    shelf = ResultShelf()
    with pytest.raises(OSError, match="disk full"), shelf.put() as folder:
        (folder / "mask.nrrd").write_text("half")
        raise OSError("disk full")
    assert not folder.exists()
    with pytest.raises(NotFoundError, match="these results are gone"):
        shelf.find(folder.name, "mask.nrrd")
