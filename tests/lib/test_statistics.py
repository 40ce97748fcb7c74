"""Areas under ROC curves of many resamples at once."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lib.statistics import bootstrap_weights, roc_auc


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order(levels):
    rng = np.random.default_rng(levels)
    scores, positive = rng.integers(0, levels, 60) / levels, rng.random(60) < 0.4
    pairs = [np.sign(a - b) for a in scores[positive] for b in scores[~positive]]
    assert roc_auc(positive, scores, np.ones(60)) == pytest.approx(np.mean(pairs) / 2 + 0.5)
    assert roc_auc(positive, -scores, np.ones(60)) == pytest.approx(0.5 - np.mean(pairs) / 2)


def test_the_area_of_each_resample_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 20, 60) / 20, rng.random(60) < 0.4
    weights = bootstrap_weights([str(case // 3) for case in range(60)], 20, seed=0)
    wanted = [roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(roc_auc(positive, scores, weights), wanted, rtol=1e-12)


def test_the_area_under_the_curve_of_one_kind_alone_is_undefined():
    for kind in (True, False):
        assert np.isnan(roc_auc(np.array([kind, kind]), np.array([0.1, 0.9]), np.ones(2)))
    ordered = np.array([False, True])
    assert roc_auc(ordered, np.array([0.1, 0.9]), np.ones(2)) == 1
    assert roc_auc(ordered, np.array([0.4, 0.4]), np.ones(2)) == 0.5
