"""An image far from those of training is told from one that is near; damage warns of nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.decomposition import PCA

from lib.weights import familiarity as module
from lib.weights.familiarity import (
    KEY,
    QUANTILE,
    Familiarity,
    doubts,
    limit_of,
    warned_left_out,
    warnings_of,
)

FEATURES = 60


def _drawn(count: int, seed: int) -> np.ndarray:
    """Return features that vary along few directions, with some noise and unequal scales."""
    mixed = np.random.default_rng(0).normal(size=(6, FEATURES))
    rng = np.random.default_rng(seed)
    noisy = rng.normal(size=(count, 6)) @ mixed + 0.3 * rng.normal(size=(count, FEATURES))
    return 5 + noisy * np.linspace(0.1, 10, FEATURES)


def _fitted(training: int = 200, validation: int = 60) -> Familiarity:
    found = Familiarity.fit(_drawn(training, 1), _drawn(validation, 2))
    assert found is not None
    return found


def test_few_further_images_are_beyond_the_limit_and_others_are():
    found = _fitted()
    strange = [found.strangeness(one) for one in _drawn(500, 3)]
    assert np.mean(np.greater(strange, 1)) <= 0.03
    shuffled = _drawn(50, 4)[:, ::-1]
    assert min(found.strangeness(one) for one in shuffled) > 1


@pytest.mark.parametrize(("training", "validation"), [(8, 2), (12, 3), (20, 4), (40, 8)])
def test_with_few_images_the_limit_is_wide_rather_than_wrong(training, validation):
    warned = []
    for seed in range(40):
        found = Familiarity.fit(_drawn(training, 100 + seed), _drawn(validation, 200 + seed))
        assert found is not None
        warned += [found.strangeness(one) > 1 for one in _drawn(20, 300 + seed)]
    assert np.mean(warned) <= 0.03


def test_the_distance_is_that_of_the_probabilistic_component_analysis():
    training = _drawn(200, 1)
    found = _fitted()
    scaled = (training - found.mean) / found.scale
    model = PCA(len(found.spread), svd_solver="full").fit(scaled)
    point = (_drawn(1, 5)[0] - found.mean) / found.scale
    squared = point @ model.get_precision() @ point
    assert found.distance(_drawn(1, 5)[0]) == pytest.approx(math.sqrt(squared / FEATURES), 1e-6)


def test_the_limit_is_never_below_the_quantile_and_shrinks_with_more_images():
    distances = np.exp(0.1 * np.random.default_rng(0).normal(size=400))
    assert limit_of(distances) >= np.quantile(distances, QUANTILE)
    few = [0.9, 1.0, 1.1, 1.2]
    assert limit_of(few) > limit_of(few * 3) > limit_of(few * 20) > 1.2
    heavy = [*distances[:99], 50.0]
    assert limit_of(heavy) == 50
    assert warned_left_out(heavy) == 1 and warned_left_out(few * 20) == 0


def test_too_few_images_tell_nothing():
    assert Familiarity.fit(_drawn(4, 1), _drawn(10, 2)) is None
    assert Familiarity.fit(_drawn(40, 1), _drawn(1, 2)) is None


def test_features_that_never_vary_are_no_fault_and_no_numbers_are():
    training, validation = _drawn(40, 1), _drawn(10, 2)
    training[:, :5] = validation[:, :5] = 3.0
    found = Familiarity.fit(training, validation)
    assert found is not None
    assert found.strangeness(validation[0]) <= 1
    broken = validation[0].copy()
    broken[7] = np.nan
    assert found.strangeness(broken) > 1e6


def test_a_checkpoint_keeps_it_in_a_few_digits():
    found = _fitted()
    again = Familiarity.of({KEY: found.as_plain()})
    assert again is not None and (again.training, again.validation) == (200, 60)
    for one in (*_drawn(20, 3), *_drawn(5, 4)[:, ::-1]):
        assert again.strangeness(one) == pytest.approx(found.strangeness(one), rel=2e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"axes": [[1.0, 2.0]]},
        {"spread": [-1.0] * 32},
        {"limit": float("nan")},
        {"mean": "far"},
        {"scale": None},
        {"rest": 10**400},
        {"training": []},
    ],
)
def test_a_damaged_record_warns_of_nothing_and_is_said(change, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(module.logger, "warning", said.append)
    assert Familiarity.of({KEY: {**_fitted().as_plain(), **change}}) is None
    assert len(said) == 1
    assert Familiarity.of({KEY: "nothing"}) is None and len(said) == 2
    assert Familiarity.of({}) is None and len(said) == 2


def test_the_sentence_says_how_far_and_what_to_do():
    assert warnings_of(None) == warnings_of(1.0) == []
    (said,) = warnings_of(2.34)
    assert "2.3 times as far" in said and "check the answer" in said
    assert "more than 100 times" in warnings_of(1e5)[0]
    assert "the same everywhere" in warnings_of(math.inf)[0]
    assert doubts(None) == {"warnings": []}
    assert doubts(0.5) == {"warnings": [], "strangeness": 0.5}
    assert doubts(math.inf)["strangeness"] == 1e6
