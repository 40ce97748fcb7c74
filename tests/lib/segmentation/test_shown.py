"""A stored label as 3D Slicer shows it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lib.data.ignore import IGNORE
from lib.errors import InputError
from lib.segmentation import shown
from lib.segmentation.shown import as_segments, as_structures

NUCLEI = {"nuclei": 1}
ORGANS = {"gland": 1, "cyst": 2}


@pytest.mark.parametrize(
    ("values", "names", "labels", "expected"),
    [
        ((1,), (), NUCLEI, {"nuclei": 1}),
        ((255,), (), NUCLEI, {"nuclei": 1}),
        ((3, 7, 300), (), NUCLEI, {"nuclei 3": 1, "nuclei 7": 2, "nuclei 300": 3}),
        ((1, 2), (("nuclei", 1),), NUCLEI, {"nuclei 1": 1, "nuclei 2": 2}),
        ((1, 2), (("nuclei 1", 1), ("nuclei 2", 2)), NUCLEI, {"nuclei 1": 1, "nuclei 2": 2}),
        ((1, 2), (), ORGANS, {"gland": 1, "cyst": 2}),
        ((2,), (), ORGANS, {"cyst": 1}),
        ((2, 5), (("cyst", 5), ("gland", 2)), ORGANS, {"gland": 1, "cyst": 2}),
        ((1, 255), (("nuclei", 1), ("ignore", 255)), NUCLEI, {"nuclei": 1, "ignore": 2}),
        ((1, 9), (), ORGANS, {"gland": 1, "segment": 2}),
        ((), (), ORGANS, {"gland": 1, "cyst": 2}),
    ],
)
def test_the_names_are_those_of_the_values_in_order(values, names, labels, expected):
    label = np.zeros((8, 8), np.int32)
    for row, value in enumerate(values):
        label[row] = value
    found, named = as_segments(label, names, labels)
    assert named == expected and list(named.values()) == sorted(named.values())
    for row, number in enumerate(range(1, len(values) + 1)):
        assert (found[row] == number).all()
    assert not found[len(values) :].any()


def test_more_objects_than_segments_become_one_in_which_none_touch(monkeypatch):
    monkeypatch.setattr(shown, "MAX_SEGMENTS", 3)
    label = np.repeat(np.repeat(np.arange(1, 5).reshape(2, 2), 4, 0), 4, 1)
    found, named = as_segments(label, (), NUCLEI)
    assert named == {"nuclei": 1} and ndimage.label(found)[1] == 4


def test_objects_beside_names_that_were_not_drawn_are_of_the_one_that_was():
    label = np.array([[0, 10], [11, 12]], np.int32)
    names = [("nuclei", 10), ("cyst", 0)]
    shown, found = as_segments(label, names, {"nuclei": 1})
    assert found == {"nuclei 10": 1, "nuclei 11": 2, "nuclei 12": 3}
    assert shown.tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("values", "names", "tasks", "expected", "found"),
    [
        ((255,), (), [NUCLEI], {"nuclei": 1}, [1]),
        ((3, 7, 300), (), [NUCLEI], {"nuclei": 1}, [1, 1, 1]),
        ((1, 2), (("nuclei", 1),), [NUCLEI], {"nuclei": 1}, [1, 1]),
        ((1, 2), (("nuclei 1", 1), ("Nuclei-2", 2)), [NUCLEI], {"nuclei": 1}, [1, 1]),
        ((1, 2), (), [ORGANS], ORGANS, [1, 2]),
        ((5, 7), (("cyst", 5), ("gland", 7)), [NUCLEI, ORGANS], ORGANS, [2, 1]),
        (
            (1, IGNORE),
            (("nuclei", 1), ("ignore", IGNORE)),
            [NUCLEI],
            {"nuclei": 1, "ignore": 2},
            [1, 2],
        ),
        ((1,), (("liver", 1),), [NUCLEI], {"nuclei": 1, "liver": 2}, [2]),
        ((4, 5), (), [], {"label 4": 1, "label 5": 2}, [1, 2]),
        ((), (("cyst", 0),), [NUCLEI, ORGANS], ORGANS, []),
    ],
)
def test_a_structure_has_the_value_of_the_task_that_has_it(values, names, tasks, expected, found):
    label = np.zeros((8, 8), np.int32)
    for row, value in enumerate(values):
        label[row] = value
    drawn, named = as_structures(label, names, tasks)
    assert named == expected and drawn.dtype == np.uint8
    assert drawn[: len(values), 0].tolist() == found and not drawn[len(values) :].any()


def test_more_structures_than_a_browser_draws_are_refused():
    label = np.arange(400, dtype=np.int32).reshape(20, 20)
    with pytest.raises(InputError, match="holds 399 structures, at most 255"):
        as_structures(label, tuple((f"vessel{'x' * n}", n) for n in range(1, 400)), [])
