"""Folds: every item once, none in two, none moved by what arrives later."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.data.folds import k_folds
from lib.data.studies import Item
from lib.errors import InputError
from lib.statistics import mean_and_sd


def _items(count: int, start: int = 0) -> list[Item]:
    return [Item(f"case_{n}", Path(f"case_{n}.png")) for n in range(start, start + count)]


@pytest.mark.parametrize("k", [2, 3, 5, 10])
def test_each_item_is_held_out_by_exactly_one_fold(k):
    items = _items(200)
    folds = k_folds(items, k)
    assert len(folds) == k
    assert sorted(item.id for _, held in folds for item in held) == sorted(i.id for i in items)
    for training, held in folds:
        assert not set(training) & set(held)
        assert len(training) + len(held) == len(items)
        assert 0.4 < len(held) * k / len(items) < 1.8


def test_an_item_stays_in_its_fold_as_others_arrive():
    few, many = k_folds(_items(60), 4), k_folds(_items(40, start=60)[::-1] + _items(60), 4)
    for (_, held), (_, later) in zip(few, many, strict=True):
        assert set(held) <= set(later)


def test_items_of_one_key_share_a_fold():
    items = _items(120)
    for training, held in k_folds(items, 3, key=lambda item: item.id[:-1]):
        assert not {item.id[:-1] for item in training} & {item.id[:-1] for item in held}


def test_folds_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="folds must be at least 2, found 1"):
        k_folds(_items(9), 1)
    with pytest.raises(InputError, match="no image falls into fold .* 3 labelled images are too"):
        k_folds(_items(3), 5)


def test_mean_and_deviation_of_each_figure():
    table = mean_and_sd([{"fg_iou": 0.8, "ap50": 0.5}, {"fg_iou": 0.9, "ap50": 0.5}])
    assert table["fg_iou"] == pytest.approx({"mean": 0.85, "sd": 0.0707107}, abs=1e-6)
    assert table["ap50"] == {"mean": 0.5, "sd": 0.0}
    assert mean_and_sd([{"ap50": 0.5}]) == {"ap50": {"mean": 0.5}}
    assert mean_and_sd([]) == {}
