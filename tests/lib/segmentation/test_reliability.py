"""Probabilities are held against what is there, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from lib.segmentation.reliability import BINS, Reliability


def _of(likely: np.ndarray, truth: np.ndarray, labelled: np.ndarray | None = None) -> dict:
    found = Reliability()
    found.add(likely, truth, np.ones(truth.shape, bool) if labelled is None else labelled)
    return found.as_dict()


def test_honest_probabilities_have_no_error_and_bold_ones_have():
    rng = np.random.default_rng(0)
    likely = rng.random((400, 400))
    truth = (rng.random(likely.shape) < likely).astype(np.uint8)
    honest = _of(likely, truth)
    assert honest["calibration_error"] < 0.01
    assert len(honest["bins"]) == BINS
    for one in honest["bins"]:
        assert one["observed"] == pytest.approx(one["predicted"], abs=0.02)
    bold = _of((likely > 0.5).astype(float), truth)
    assert bold["calibration_error"] == pytest.approx(0.25, abs=0.01)
    assert bold["brier"] > honest["brier"]


def test_the_figures_are_those_of_a_small_example():
    likely = np.array([[0.05, 0.15, 0.95, 1.0]])
    truth = np.array([[0, 7, 7, 0]])
    found = _of(likely, truth)
    assert [one["pixels"] for one in found["bins"]] == [1, 1, 2]
    assert found["bins"][2] == {"predicted": 0.975, "observed": 0.5, "pixels": 2}
    assert found["calibration_error"] == pytest.approx((0.05 + 0.85 + 2 * 0.475) / 4)
    assert found["brier"] == pytest.approx((0.05**2 + 0.85**2 + 0.05**2 + 1) / 4, abs=1e-5)


def test_what_is_not_labelled_is_left_out_and_images_add_up():
    likely, truth = np.array([[0.9, 0.1]]), np.array([[1, 1]])
    part = _of(likely, truth, np.array([[True, False]]))
    assert sum(one["pixels"] for one in part["bins"]) == 1
    both = Reliability()
    for _ in range(2):
        both.add(likely, truth, np.ones((1, 2), bool))
    assert sum(one["pixels"] for one in both.as_dict()["bins"]) == 4
    assert Reliability().as_dict() == {}
