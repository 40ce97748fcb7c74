"""Two people who label at once are not given the same image."""

from __future__ import annotations

from monailabel_app.active.leases import Leases

ONE = {"a": ("a",)}
TWO = {"a": ("a",), "b": ("b",)}


def test_an_image_that_somebody_works_on_is_not_offered_to_others():
    leases = Leases()
    assert leases.take(TWO, "a", "anna")
    assert list(leases.free(TWO, "bert")) == ["b"]
    assert list(leases.free(TWO, "anna")) == ["a", "b"]
    assert not leases.take(TWO, "a", "bert"), "it was taken in between"
    leases.drop(["a"])
    assert list(leases.free(TWO, "bert")) == ["a", "b"]


def test_where_others_hold_every_image_one_of_them_is_given_all_the_same():
    leases = Leases()
    assert leases.take(ONE, "a", "anna")
    assert list(leases.free(ONE, "bert")) == ["a"]
    assert leases.take(ONE, "a", "bert")
    assert list(leases.free(TWO, "carl")) == ["b"], "it is still anna's"


def test_an_image_is_free_again_after_a_while():
    leases = Leases(seconds=0.0)
    assert leases.take(TWO, "a", "anna")
    assert list(leases.free(TWO, "bert")) == ["a", "b"]


def test_all_views_of_an_exam_belong_to_who_works_on_one():
    leases = Leases()
    exams = {"one": ("r", "l"), "two": ("x",)}
    assert leases.take(exams, "one", "anna")
    assert list(leases.free(exams, "bert")) == ["two"]
    assert list(leases.free({"l": ("l",), "x": ("x",)}, "bert")) == ["x"], "as single images too"
