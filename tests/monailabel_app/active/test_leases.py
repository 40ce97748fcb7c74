"""Two people who label at once are not given the same image, at whatever server they are."""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from monailabel_app.active import leases as module
from monailabel_app.active.leases import FILE, Leases

ONE = {"a": ("a",)}
TWO = {"a": ("a",), "b": ("b",)}
MANY = {f"image {n}": (f"image {n}",) for n in range(40)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shared" / FILE


def test_an_image_that_somebody_works_on_is_not_offered_to_others(file):
    leases = Leases(file)
    assert leases.take(TWO, "a", "anna")
    assert list(leases.free(TWO, "bert")) == ["b"]
    assert list(leases.free(TWO, "anna")) == ["a", "b"]
    assert not leases.take(TWO, "a", "bert"), "it was taken in between"
    leases.drop(["a"])
    assert list(leases.free(TWO, "bert")) == ["a", "b"]


def test_where_others_hold_every_image_one_of_them_is_given_all_the_same(file):
    leases = Leases(file)
    assert leases.take(ONE, "a", "anna")
    assert list(leases.free(ONE, "bert")) == ["a"]
    assert leases.take(ONE, "a", "bert")
    assert list(leases.free(TWO, "carl")) == ["b"], "it is still anna's"


def test_an_image_is_free_again_after_a_while(file):
    leases = Leases(file, seconds=0.0)
    assert leases.take(TWO, "a", "anna")
    assert list(leases.free(TWO, "bert")) == ["a", "b"]


def test_all_views_of_an_exam_belong_to_who_works_on_one(file):
    leases = Leases(file)
    exams = {"one": ("r", "l"), "two": ("x",)}
    assert leases.take(exams, "one", "anna")
    assert list(leases.free(exams, "bert")) == ["two"]
    assert list(leases.free({"l": ("l",), "x": ("x",)}, "bert")) == ["x"], "as single images too"


def _take_many(file: Path, who: str) -> list[str]:
    """Take images as a server does, of those that are offered the first."""
    leases, taken = Leases(file), []
    for number in range(10):
        person = f"{who} {number}"
        while True:
            chosen = next(iter(leases.free(MANY, person)))
            if leases.take(MANY, chosen, person):
                taken.append(chosen)
                break
    return taken


def test_processes_that_give_images_at_once_give_none_to_two(file):
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        taken = sum(pool.map(_take_many, [file] * 4, ["anna", "bert", "carl", "dora"]), [])
    assert len(taken) == len(set(taken)) == len(MANY)


def test_servers_on_one_file_know_each_others_leases_and_a_new_one_those_of_before(file):
    one, other = Leases(file), Leases(file)
    assert one.take(TWO, "a", "anna")
    assert list(other.free(TWO, "bert")) == ["b"] and other.is_held(["a"])
    assert not other.take(TWO, "a", "bert")
    assert list(Leases(file).free(TWO, "bert")) == ["b"], "after a restart"
    other.drop(["a"])
    assert not one.is_held(["a"]) and one.take(TWO, "a", "bert")
    assert "anna" not in file.read_text() and "bert" not in file.read_text()


def test_what_is_given_out_again_has_its_task_until_it_is_dropped_and_its_turn_for_longer(file):
    one, other = Leases(file), Leases(file)
    assert one.take(TWO, "a", "anna", "nuclei") and other.take(TWO, "b", "bert", "nuclei")
    assert other.reopened_for("a") == "nuclei" and other.reopened_for("c") == ""
    one.drop(["a"])
    assert other.reopened_for("a") == "" and not other.is_held(["a"])
    assert one.turns() == other.turns() == {"a": 1, "b": 2}
    assert other.take(TWO, "a", "carl", "nuclei")
    assert one.turns() == {"a": 3, "b": 2}


def test_the_file_keeps_what_is_held_and_the_last_turns(file, monkeypatch):
    monkeypatch.setattr(module, "MOST_TURNS", 3)
    leases = Leases(file)
    assert leases.take(MANY, "image 39", "anna")
    for number in range(9):
        assert leases.take(MANY, f"image {number}", "anna", "nuclei")
        leases.drop([f"image {number}"])
    assert set(json.loads(file.read_text())) == {"image 39", "image 6", "image 7", "image 8"}


def test_a_damaged_file_counts_as_an_empty_one(file):
    leases = Leases(file)
    assert leases.take(TWO, "a", "anna")
    for content in ("{", "[]", '{"a": 3, "b": ["x", "y", "z", 0], "c": ["x", 1e400, "", 0]}'):
        file.write_text(content)
        assert list(Leases(file).free(TWO, "bert")) == ["a", "b"]
    assert leases.take(TWO, "b", "bert") and Leases(file).is_held(["b"])


def test_a_clock_that_was_set_back_makes_no_lease_longer(file, monkeypatch):
    leases = Leases(file, seconds=100.0)
    assert leases.take(TWO, "a", "anna")
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now - 3600)
    assert leases.take(TWO, "b", "bert")
    assert not leases.is_held(["a"]) and leases.is_held(["b"])


def test_without_a_place_to_write_to_one_server_still_gives_an_image_to_one_alone(tmp_path, caplog):
    (tmp_path / "shared").write_text("no folder")
    leases = Leases(tmp_path / "shared" / FILE)
    assert leases.take(TWO, "a", "anna") and not leases.take(TWO, "a", "bert")
    assert list(leases.free(TWO, "bert")) == ["b"] and leases.take(TWO, "b", "bert")
    assert len(caplog.records) == 1 and "this server alone" in caplog.text
