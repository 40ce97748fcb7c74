"""Figures of classifiers: golden values, those of scikit-learn, bootstrap by patient."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from sklearn import metrics

from lib.classification.answer import combine, reasons_to_doubt
from lib.classification.calibration import RANGE, class_probabilities, fit_temperature
from lib.classification.metrics import FIGURES, class_figures, reliability, roc
from lib.mammography.views import STANDARD_VIEWS
from lib.statistics import bootstrap_weights
from lib.tasks.registry import TASKS

MEAN, DENSER = TASKS["density_a_vs_d"].exam, TASKS["density_birads"].exam


def _answers(classes: int = 4, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(classes, size=count)
    return truth, class_probabilities(
        rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[truth]
    )


def test_right_and_sure_answers_score_one():
    truth = np.array([0, 1, 2, 3])
    figures = class_figures(truth, np.eye(4)[truth])
    assert {name: float(value[0]) for name, value in figures.items()} == pytest.approx(
        {**dict.fromkeys(FIGURES, 1.0), "calibration_error": 0.0}
    )


def test_figures_of_a_small_table_have_their_values():
    truth = np.array([0, 0, 1, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.7, 0.3]])
    found = {name: float(value[0]) for name, value in class_figures(truth, probabilities).items()}
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["kappa"] == pytest.approx(1 - 2 / (2 * 3 / 5 + 3 * 2 / 5))
    assert found["auc"] == pytest.approx(5 / 6)
    assert found["likelihood"] == pytest.approx((0.9 * 0.4 * 0.8 * 0.7 * 0.3) ** 0.2)
    # bins: 0.6 (wrong), 0.7 and 0.7 (one of two right), 0.8 and 0.9 (right)
    assert found["calibration_error"] == pytest.approx((0.6 + 0.4 + 0.2 + 0.1) / 5)


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_are_those_of_scikit_learn(classes):
    truth, probabilities = _answers(classes)
    answered = probabilities.argmax(1)
    found = class_figures(truth, probabilities)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    wanted = {
        "accuracy": metrics.accuracy_score(truth, answered),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, answered),
        "kappa": metrics.cohen_kappa_score(truth, answered, weights="quadratic"),
        "auc": metrics.roc_auc_score(truth, scores, multi_class="ovr"),
        "likelihood": np.exp(-metrics.log_loss(truth, probabilities)),
    }
    assert {name: float(found[name][0]) for name in wanted} == pytest.approx(wanted)


def test_figures_of_each_resample_are_those_of_scikit_learn():
    truth, probabilities = _answers()
    weights = bootstrap_weights([str(case // 3) for case in range(len(truth))], 10, seed=0)
    found = class_figures(truth, probabilities, weights)
    for row, kept in enumerate(weights):
        cases = {"y_true": truth, "y_pred": probabilities.argmax(1), "sample_weight": kept}
        wanted = {
            "accuracy": metrics.accuracy_score(**cases),
            "balanced_accuracy": metrics.balanced_accuracy_score(**cases),
            "kappa": metrics.cohen_kappa_score(
                truth, probabilities.argmax(1), weights="quadratic", sample_weight=kept
            ),
            "auc": np.mean(
                [
                    metrics.roc_auc_score(truth == index, scores, sample_weight=kept)
                    for index, scores in enumerate(probabilities.T)
                ]
            ),
        }
        assert {name: found[name][row] for name in wanted} == pytest.approx(wanted, rel=1e-12)


def test_cases_of_one_class_alone_have_figures_too():
    found = class_figures(np.zeros(3, int), np.full((3, 2), 0.5))
    assert (float(found["auc"][0]), float(found["kappa"][0])) == (0.5, 0.0)
    assert all(np.isfinite(value).all() for value in found.values())


def test_a_case_of_weight_two_counts_as_two_cases():
    truth, probabilities = _answers()
    weights = np.ones((1, len(truth)))
    weights[0, :5] = 2
    twice = [*range(len(truth)), *range(5)]
    found = class_figures(truth, probabilities, weights)
    wanted = class_figures(truth[twice], probabilities[twice])
    for name in FIGURES:
        np.testing.assert_allclose(found[name], wanted[name], err_msg=name)


def test_the_bootstrap_draws_patients_with_all_their_cases():
    patients = ["a", "a", "b", "c", "c", "c"]
    weights = bootstrap_weights(patients, 50, 0)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[1:, [0, 2, 3]].sum(1) == 3).all()
    np.testing.assert_array_equal(weights, bootstrap_weights(patients, 50, 0))


def test_the_reliability_bins_hold_every_case():
    truth, probabilities = _answers()
    bins = reliability(truth, probabilities)
    assert sum(part["cases"] for part in bins) == len(truth)
    error = sum(abs(p["confidence"] - p["accuracy"]) * p["cases"] for p in bins) / len(truth)
    assert error == pytest.approx(
        float(class_figures(truth, probabilities)["calibration_error"][0])
    )


# --- calibration ---------------------------------------------------------------------------------


def test_the_temperature_of_logits_that_are_too_sure_is_found():
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 3)) * 2
    truth = np.array([rng.choice(3, p=row) for row in class_probabilities(honest)])
    assert fit_temperature(honest * 3, truth) == pytest.approx(3, rel=0.1)
    assert fit_temperature(honest, truth) == pytest.approx(1, rel=0.1)


def test_few_cases_that_are_all_right_do_not_make_it_sure():
    logits = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    assert fit_temperature(logits, np.array([0, 1, 0])) > 0.9
    assert fit_temperature(logits / 1000, np.array([0, 1, 0])) >= RANGE[0] - 1e-3
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1.0


def test_classes_far_from_the_truth_do_not_soften_what_is_honest():
    """Ordered classes: neighbours are mixed up, the others never."""
    rng = np.random.default_rng(0)
    truth = np.arange(80) % 4
    away = np.abs(np.arange(4) - truth[:, np.newaxis])
    honest = -3.0 * away**2 + rng.gumbel(size=away.shape)
    assert fit_temperature(honest, truth) == pytest.approx(1, rel=0.35)
    assert fit_temperature(honest * 4, truth) > 1.5 * fit_temperature(honest, truth)


# --- rules of the exam ---------------------------------------------------------------------------


def test_the_mean_rule_averages_all_views():
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.8, 0.2]])
    found = combine(MEAN, STANDARD_VIEWS, probabilities)
    np.testing.assert_allclose(found.exam, [0.6, 0.4])
    np.testing.assert_allclose(found.breasts["R"], [0.55, 0.45])
    np.testing.assert_allclose(found.breasts["L"], [0.65, 0.35])


def test_the_denser_breast_decides_with_its_own_probabilities():
    right, left = [0.1, 0.6, 0.3, 0.0], [0.0, 0.4, 0.5, 0.1]
    found = combine(DENSER, STANDARD_VIEWS, np.array([right, left, right, left]))
    np.testing.assert_allclose(found.exam, left)
    assert found.exam.sum() == pytest.approx(1)
    swapped = combine(DENSER, STANDARD_VIEWS, np.array([left, right, left, right]))
    np.testing.assert_allclose(swapped.exam, left)


def test_of_breasts_of_one_class_the_denser_one_counts():
    right, left = [0.0, 0.6, 0.4, 0.0], [0.3, 0.7, 0.0, 0.0]
    found = combine(DENSER, STANDARD_VIEWS[:2], np.array([right, left]))
    np.testing.assert_allclose(found.exam, right)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_views_make_an_answer(count):
    probabilities = np.full((count, 4), 0.25)
    for rules in (MEAN, DENSER):
        assert combine(rules, STANDARD_VIEWS[:count], probabilities).exam.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="0 views with 0 rows"):
        combine(MEAN, (), np.zeros((0, 4)))


def test_doubts_disagreement_and_low_confidence_need_a_reader():
    sure, other = np.array([0.95, 0.05]), np.array([0.05, 0.95])
    assert reasons_to_doubt(MEAN, sure, {"R-CC": sure, "L-CC": sure}, {}) == ()
    (reason,) = reasons_to_doubt(MEAN, sure, {"R-CC": sure, "L-CC": other}, {})
    assert reason == "the views disagree: R-CC A, L-CC D"
    (reason,) = reasons_to_doubt(MEAN, np.array([0.6, 0.4]), {"R-CC": sure}, {})
    assert reason == "probability 0.60 of A, below the threshold 0.7"
    (reason,) = reasons_to_doubt(MEAN, sure, {"R-CC": sure}, {"R-CC": "upside down?"})
    assert reason == "R-CC: upside down?"


def test_neighbouring_classes_of_four_are_no_disagreement():
    b, c, d = (np.eye(4)[place] for place in (1, 2, 3))
    assert reasons_to_doubt(DENSER, c, {"R-CC": b, "L-CC": c}, {}) == ()
    assert reasons_to_doubt(DENSER, d, {"R-CC": b, "L-CC": d}, {}) != ()


def test_the_roc_curve_has_the_area_that_is_reported():
    truth, probabilities = _answers(2)
    probabilities = probabilities.round(1)  # cases of one score are passed together
    curve = roc(truth == 1, probabilities[:, 1])
    wrong, right = curve["false_positive_rate"], curve["true_positive_rate"]
    assert (wrong[0], right[0], wrong[-1], right[-1]) == (0, 0, 1, 1)
    assert trapezoid(right, wrong) == pytest.approx(class_figures(truth, probabilities)["auc"][0])
    assert roc(np.array([True, False]), np.array([0.9, 0.2])) == {
        "false_positive_rate": [0, 0, 1],
        "true_positive_rate": [0, 1, 1],
    }
