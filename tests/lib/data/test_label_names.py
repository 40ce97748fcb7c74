"""Names decide which structure a value is; a value without a name is a task's, or refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lib.data.ignore import IGNORE
from lib.data.label_names import (
    OtherStructuresError,
    Told,
    as_label_info,
    common_name,
    label_of_task,
    names_of,
    read_label_info,
    structure_of,
)
from lib.data.structures import sort_structures, values_by_name
from lib.errors import InputError

GLAND = {"gland": 1, "cyst": 2}
NUCLEI, LESION, NERVE = {"nuclei": 1}, {"lesion": 1}, {"nerve": 1}


def _label(*values: int) -> np.ndarray:
    return np.array([[0, *values]], np.int32)


def _told(*names: object) -> tuple[Told, ...]:
    """Entries as Slicer sends them: positions from 1, where None is a segment that it skips."""
    return tuple(Told(str(name), idx) for idx, name in enumerate(names, start=1) if name)


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("gland", "gland"),
        ("GLAND", "gland"),
        (" Gland_2", "gland"),
        ("gland-12", "gland"),
        ("gland2", ""),
        ("glands", ""),
        ("cyst", "cyst"),
        ("Segment_1", ""),
        ("", ""),
    ],
)
def test_names_are_compared_sensibly(name, structure):
    assert structure_of(name, GLAND) == structure


@pytest.mark.parametrize("values", [{1}, {2}, {1, 2}, set()])
@pytest.mark.parametrize("skipped", [(), (None,), (None, None)])
def test_slicer_numbers_segments_by_their_order_whatever_their_position(values, skipped):
    told = _told(*skipped, "cyst", "gland")
    assert names_of(told, values) == (("cyst", 1), ("gland", 2))


def test_the_position_is_the_value_where_the_order_does_not_fit():
    assert names_of((Told("cyst", 2),), {2}) == (("cyst", 2),)
    assert names_of((Told("cyst", 2), Told("gland", 7)), {2, 7}) == (("cyst", 2), ("gland", 7))
    # positions never fall in Slicer, so these are values
    assert names_of((Told("cyst", 2), Told("gland", 1)), {1, 2}) == (("cyst", 2), ("gland", 1))


def test_an_id_is_the_value_whatever_the_order():
    told = (Told("gland", 1, 2), Told("cyst", 2, 1))
    assert dict(names_of(told, {1, 2})) == {"gland": 2, "cyst": 1}


def test_a_background_that_is_told_does_not_shift_the_order():
    told = (Told("background", 0), Told("gland", 1), Told("cyst", 2))
    assert names_of(told, {1, 2}) == (("gland", 1), ("cyst", 2))
    assert names_of(_told("background", "gland"), {1}) == (("gland", 1),)


def test_values_that_nothing_names_are_refused_with_values_and_names():
    with pytest.raises(OtherStructuresError, match=r"values 1, 5, but .* 'gland' 1, 'cyst' 2"):
        names_of(_told("gland", "cyst"), {1, 5})


@pytest.mark.parametrize(
    "wrong",
    [
        [1],
        [{"idx": 1}],
        [{"name": ""}],
        [{"name": "a", "idx": "1"}],
        [{"name": "a", "idx": True}],
        "gland",
        {"cyst": 1, "gland": 2},
    ],
)
def test_a_label_info_of_another_form_is_refused(wrong):
    with pytest.raises(InputError, match="label_info (holds|is) .*; expected .*entries such as"):
        read_label_info(wrong)


def test_a_label_info_comes_back_as_it_was_written():
    names = (("cyst", 2), ("duct", 7), ("gland", 0))
    told = read_label_info(as_label_info(names))
    assert names_of(told, {2, 7}) == names
    assert read_label_info(None) == read_label_info([]) == ()


@pytest.mark.parametrize("order", list(itertools.permutations(["gland", "cyst", "artery"])))
def test_structures_get_the_values_of_the_task_and_foreign_ones_are_apart(order):
    truth = {"gland": 1, "cyst": 2, "artery": 3}
    sent = _label(*(order.index(name) + 1 for name in truth))
    names = tuple((name.upper(), value) for value, name in enumerate(order, start=1))
    found = sort_structures("a", sent, names, [NUCLEI, GLAND])
    assert found.label.tolist() == [[0, 1, 2, 0]]
    assert found.names == (("gland", 1), ("cyst", 2))
    assert found.foreign.tolist() == [[0, 0, 0, 1]]
    assert found.foreign_names == (("ARTERY", 1),)


def test_a_value_that_two_tasks_name_differently_goes_by_the_name():
    names = (("lesion", 1), ("nerve", 2))
    for sent in (_label(1), _label(2), _label(1, 2), _label(2, 1)):
        found = sort_structures("a", sent, names, [NERVE, LESION, GLAND])
        for name, labels in (("lesion", LESION), ("nerve", NERVE)):
            expected = sent == dict(names)[name]
            if expected.any():
                mine = label_of_task("a", found.label, found.names, name, labels)
                assert ((mine > 0) == expected).all()
            else:
                with pytest.raises(OtherStructuresError, match="is a label of"):
                    label_of_task("a", found.label, found.names, name, labels)
    assert sort_structures("a", _label(2), names, [LESION, NERVE]).label.tolist() == [[0, 1]]


def test_objects_of_one_structure_keep_their_numbers():
    label = _label(1, 2, 3)
    names = (("nuclei 1", 1), ("nuclei_2", 2), ("Nuclei", 3))
    found = sort_structures("a", label, names, [GLAND, NUCLEI])
    assert found.label.tolist() == label.tolist() and found.foreign is None
    assert found.names == (("nuclei", 1),)
    assert label_of_task("a", found.label, found.names, "n", NUCLEI).tolist() == label.tolist()
    many = sort_structures("a", _label(7, 100_000, 3_000_000), (("nuclei", 1),), [NUCLEI])
    assert many.label.tolist() == [[0, 7, 100_000, 3_000_000]]
    mixed = sort_structures(
        "a", _label(1, 2, 3), (*names[:2], ("cyst", 3)), [NUCLEI, LESION, GLAND]
    )
    own = label_of_task("a", mixed.label, mixed.names, "n", NUCLEI)
    assert len(set(own[0, 1:3])) == 2 and own[0, 3] == 0 and own.all(where=[[0, 1, 1, 0]])
    assert label_of_task("a", mixed.label, mixed.names, "g", GLAND).tolist() == [[0, 0, 0, 2]]


def test_objects_of_one_of_several_structures_become_that_structure():
    names = (("cyst 1", 1), ("cyst 2", 2), ("gland", 3))
    found = sort_structures("a", _label(1, 2, 3), names, [GLAND])
    assert found.label.tolist() == [[0, 2, 2, 1]]
    assert found.names == (("gland", 1), ("cyst", 2))


def test_a_mask_of_one_name_may_have_any_value():
    told = _told("cyst")
    assert names_of(told, {255}) == (("cyst", 255),)
    assert sort_structures("a", _label(255), names_of(told, {255}), [GLAND]).label.max() == 2
    with pytest.raises(OtherStructuresError, match="no segment has the values 2"):
        sort_structures("a", _label(1, 2), names_of(told, {1, 2}), [GLAND])


def test_what_nobody_labelled_is_told_by_its_name():
    found = sort_structures("a", _label(1, 2), (("Ignore", 1), ("cyst", 2)), [NUCLEI, GLAND])
    assert found.label.tolist() == [[0, IGNORE, 2]]
    assert dict(found.names) == {"ignore": IGNORE, "cyst": 2}
    for labels in (GLAND, {"cyst": 1}):
        mine = label_of_task("a", found.label, found.names, "t", labels)
        assert mine[0, 1] == IGNORE and mine[0, 2] == 2


def test_an_empty_label_is_of_the_tasks_whose_structures_were_offered():
    names = (("nuclei", 1), ("gland", 2), ("artery", 3))
    found = sort_structures("a", _label(), names, [NUCLEI, LESION, GLAND])
    assert found.names == (("gland", 0), ("nuclei", 0)) and found.foreign is None
    for labels in (NUCLEI, GLAND):
        assert not label_of_task("a", found.label, found.names, "t", labels).any()
    with pytest.raises(OtherStructuresError, match="is a label of gland, nuclei, 't' expects"):
        label_of_task("a", found.label, found.names, "t", LESION)


def test_without_tasks_names_and_values_stay():
    found = sort_structures("a", _label(4, 9), (("a", 4), ("b", 9)), [])
    assert found.label.tolist() == [[0, 4, 9]] and found.names == (("a", 4), ("b", 9))


def test_without_names_values_are_those_of_the_task_or_refused():
    assert label_of_task("a", _label(1, 2, IGNORE), (), "t", GLAND).tolist() == [[0, 1, 2, IGNORE]]
    assert label_of_task("a", _label(5, 255), (), "t", NUCLEI).tolist() == [[0, 5, 255]]
    with pytest.raises(OtherStructuresError, match=r"the values 5, 255, .* 'gland' 1, 'cyst' 2"):
        label_of_task("a", _label(1, 5, 255), (), "t", GLAND)


def test_structures_of_other_tasks_are_background():
    names = (("nuclei", 1), ("cyst", 5))
    assert label_of_task("a", _label(1, 5), names, "t", GLAND).tolist() == [[0, 0, 2]]
    assert label_of_task("a", _label(1, 5), names, "t", NUCLEI).tolist() == [[0, 1, 0]]


def test_segments_of_other_programs_get_a_value_each():
    assert values_by_name(["Nerve", "lesion 2"], [LESION, NERVE]) == {"nerve": 1, "lesion": 2}
    assert values_by_name(["cyst", "artery"], [NUCLEI, GLAND]) == {"cyst": 2}
    assert values_by_name(["artery"], [NUCLEI, GLAND]) == {"nuclei": 1, "gland": 1, "cyst": 2}
    assert values_by_name(["artery"], []) is None
    objects = values_by_name(["Nuclei 1", "nuclei 2", "nerve"], [NUCLEI, NERVE])
    assert objects is not None and len(set(objects.values())) == 3
    assert values_by_name(["cyst 1", "cyst 2", "gland"], [GLAND]) == {"cyst": 2, "gland": 1}


def test_names_of_many_objects_are_told_once():
    assert common_name([("nuclei 1", 1), ("nuclei 2", 2)]) == (("nuclei", 1),)
    assert common_name([("gland", 1), ("cyst", 2)]) == (("gland", 1), ("cyst", 2))
    assert common_name([("label 1", 1), ("label 5", 5)]) == ()
