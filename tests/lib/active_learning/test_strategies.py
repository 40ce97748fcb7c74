"""What to label next: ambiguous before clear, far before near, the same each time, few empties."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.active_learning import strategies as acquisition
from lib.active_learning.strategies import STRATEGIES, choose_next
from lib.classification.cases import list_task_exams
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive.predictor import ClickPredictor
from lib.kinds import KINDS, measure
from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import TASKS, get_task
from lib.uncertainty.informativeness import (
    FINE,
    Informativeness,
    divergence,
    outline_margin,
    pixel_entropy,
    soft_distance,
)
from lib.weights.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).resolve().parents[3]


def _known(features=(0.0, 0.0), disagreement=0.0, foreground=0.2, entropy=0.0, margin=0.0):
    vector = np.array(features, dtype=np.float32)
    return Informativeness(disagreement, entropy, margin, foreground, vector)


def _choose(strategy, pool, labelled=None, count=3, seed=0):
    return choose_next(strategy, pool, labelled or {}, count, np.random.default_rng(seed))


# --- measuring -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """Return the shipped model: what it makes of phantoms that it never saw must be sensible."""
    task = TASKS["nuclei_vhllrhe"]
    weights = REPOSITORY / "monailabel_app" / "model" / "pretrained_nuclei_vhllrhe.pt"
    return Predictor.from_checkpoint(task, load_checkpoint(weights), "cpu", "fp32")


def _image(pixels: np.ndarray) -> Image:
    return Image(pixels, Geometry.flat(*pixels.shape), Path("a.png"))


def _clear() -> Image:
    return _image(nuclei_phantom(3, rows=64, columns=64, nuclei=6)[0])


def _ambiguous() -> Image:
    """Return the same nuclei, faint in noise."""
    pixels = nuclei_phantom(3, rows=64, columns=64, nuclei=6)[0]
    noise = np.random.default_rng(0).normal(0, 20, pixels.shape)
    return _image(np.clip(60 + 0.25 * pixels + noise, 0, 255).astype(np.uint8))


def test_an_ambiguous_image_scores_higher_than_a_clear_one(predictor):
    clear, ambiguous = (measure(predictor, image) for image in (_clear(), _ambiguous()))
    assert ambiguous.disagreement > 2 * clear.disagreement
    assert ambiguous.entropy > 1.5 * clear.entropy
    assert ambiguous.margin > 1.5 * clear.margin
    for found in (clear, ambiguous):
        figures = (found.disagreement, found.entropy, found.margin, found.foreground)
        assert all(0 <= value <= 1 for value in figures)
        assert found.features.dtype == np.float32
        finest = predictor.task.encoder_decoder.channels[:FINE]
        assert len(found.features) == 2 * sum(finest), "mean and spread of each map"


def test_measuring_is_repeatable_and_survives_json(predictor):
    found = measure(predictor, _clear(), seed=3, passes=2)
    again = measure(predictor, _clear(), seed=3, passes=2)
    assert found.as_dict() == again.as_dict()
    assert measure(predictor, _clear(), seed=4, passes=2).entropy != found.entropy
    stored = Informativeness.from_dict(json.loads(json.dumps(found.as_dict())))
    np.testing.assert_allclose(stored.features, found.features, rtol=1e-5)
    assert stored.entropy == found.entropy


def test_without_passes_only_the_entropy_is_missing(predictor):
    short, whole = (measure(predictor, _clear(), passes=count) for count in (0, 2))
    assert short.entropy == 0 < whole.entropy
    assert short.disagreement == whole.disagreement


def test_measuring_leaves_the_answers_of_other_threads_alone(predictor):
    image, answers = _clear(), []
    before = predictor(image).probabilities
    asked, done = threading.Event(), threading.Event()

    def ask():
        while not done.is_set():
            answers.append(predictor(image).probabilities)
            asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert asked.wait(60)
        measure(predictor, image, passes=20)
    finally:
        done.set()
        thread.join()
    assert answers
    for answer in (*answers, predictor(image).probabilities):
        np.testing.assert_allclose(answer, before, atol=1e-6)
    assert not any(module._forward_hooks for module in predictor.network.modules())


def test_the_slices_of_a_volume_are_measured_together(predictor):
    pixels = np.stack([_clear().pixels] * 5)
    volume = Image(pixels, Geometry.flat(*pixels.shape), Path("a.nrrd"))
    found, slice = measure(predictor, volume, passes=1), measure(predictor, _clear(), passes=1)
    assert found.features.shape == slice.features.shape
    assert found.foreground == pytest.approx(slice.foreground, abs=0.05)
    np.testing.assert_allclose(found.features, slice.features, rtol=0.1, atol=0.01)


def test_features_tell_the_look_of_an_image_more_than_what_is_where(predictor):
    same_look = _image(nuclei_phantom(5, rows=64, columns=64, nuclei=6)[0])
    found, similar, other = (
        measure(predictor, image, passes=0, copies=False).features
        for image in (_clear(), same_look, _ambiguous())
    )
    assert np.linalg.norm(other - found) > 2 * np.linalg.norm(similar - found)


def test_copies_that_see_nothing_agree():
    nothing = np.full((20, 20), 0.04)
    assert soft_distance([nothing, nothing / 4]) == 0
    assert pixel_entropy([nothing, nothing / 4]) == 0
    assert outline_margin(nothing) == 0


def test_one_copy_that_sees_what_the_other_does_not_is_disagreement():
    square = np.zeros((100, 100))
    square[30:70, 30:70] = 0.9
    assert soft_distance([square, square]) == 0
    assert soft_distance([square, 0 * square]) > 0.95
    speck = np.zeros((100, 100))
    speck[50, 50] = 0.9
    assert soft_distance([speck, 0 * speck]) < 0.1, "one pixel is no structure"


def test_pixels_that_may_be_anything_have_an_entropy_near_one_bit():
    assert pixel_entropy([np.full((50, 50), 0.5)] * 2) == pytest.approx(1, abs=0.01)
    assert pixel_entropy([np.ones((50, 50))] * 2) == pytest.approx(0, abs=0.01)


def test_copies_sure_of_different_classes_diverge_most():
    assert divergence(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(1)
    assert divergence(np.array([[0.5, 0.5], [0.5, 0.5]])) == pytest.approx(0, abs=1e-9)


def test_an_exam_is_one_sample(exam_studies, exam_task, exam_weights):
    predictor = ExamPredictor.from_checkpoint(
        exam_task, load_checkpoint(exam_weights), "cpu", "fp32"
    )
    exam = list_task_exams(exam_studies, exam_task)[0]
    found, again = (measure(predictor, exam, passes=2) for _ in range(2))
    assert found.as_dict() == again.as_dict()
    first, second = np.sort(predictor(exam, tissue=False).probabilities)[::-1][:2]
    assert found.margin == pytest.approx(1 - (first - second))
    assert 0 < found.entropy <= 1
    assert 0 < found.disagreement <= 1
    assert not found.empty
    assert not any(module._forward_hooks for module in predictor.network.modules())


def test_a_predictor_in_use_keeps_its_random_numbers(predictor):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    measure(predictor, _clear(), passes=1)
    torch.testing.assert_close(torch.random.get_rng_state(), state)


# --- choosing ------------------------------------------------------------------------------------


def test_the_most_uncertain_come_first():
    pool = {f"i{n}": _known(disagreement=n / 10, entropy=1 - n / 10, margin=n) for n in range(6)}
    assert _choose("uncertainty", pool) == ["i5", "i4", "i3"]
    assert _choose("dropout_entropy", pool) == ["i0", "i1", "i2"]
    assert _choose("entropy", pool) == ["i0", "i1", "i2"]
    assert _choose("margin", pool) == ["i5", "i4", "i3"]
    assert _choose("first", dict(reversed(pool.items()))) == ["i5", "i4", "i3"]


def _clusters():
    rng = np.random.default_rng(0)
    pool = {f"near{n}": _known(rng.normal(0, 0.1, 2)) for n in range(8)}
    pool |= {f"mid{n}": _known(rng.normal(0, 0.1, 2) + (5, 0)) for n in range(3)}
    pool |= {f"far{n}": _known(rng.normal(0, 0.1, 2) + (0, 20)) for n in range(3)}
    return pool


def test_coverage_takes_what_stands_for_many_first_and_what_is_like_no_other_last():
    pool = {**_clusters(), "outlier": _known((9, 12))}
    chosen = _choose("diversity", pool, count=5)
    assert [name[:3] for name in chosen[:3]] == ["nea", "far", "mid"]
    assert "outlier" not in chosen[:3]


def test_what_a_labelled_image_is_like_is_covered_already():
    labelled = {"known": _known()}  # among the eight near ones
    assert [name[:3] for name in _choose("diversity", _clusters(), labelled)[:2]] == ["far", "mid"]
    labelled["other"] = _known((0, 20))
    assert _choose("diversity", _clusters(), labelled)[0].startswith("mid")


def test_a_few_far_images_do_not_weigh_up_many_that_are_less_far():
    pool = {f"many{n}": _known((5 + n / 100, 0)) for n in range(20)}
    pool |= {"far": _known((0, 12)), **{f"near{n}": _known((n / 100, 0)) for n in range(20)}}
    assert _choose("diversity", pool, {"known": _known()})[0].startswith("many")


def test_the_combination_takes_what_stands_for_many_doubtful_images():
    sure = {f"sure{n}": _known((0, 6 + n / 100), disagreement=0.02) for n in range(12)}
    doubtful = {f"doubt{n}": _known((6, n / 100), disagreement=0.3) for n in range(4)}
    pool = {**sure, **doubtful, "odd": _known((-4, -4), disagreement=0.9)}
    labelled = {"known": _known()}
    assert _choose("uncertainty", pool, labelled)[0] == "odd"
    assert _choose("diversity", pool, labelled)[0].startswith("sure")
    assert [name[:3] for name in _choose("combined", pool, labelled)] == ["dou", "odd", "sur"]


def test_where_nothing_is_doubtful_or_all_is_alike_the_choice_is_any():
    certain = {name: _known(each.features) for name, each in _clusters().items()}
    alike = {f"i{n}": _known((1, 2), disagreement=0.5) for n in range(6)}
    for strategy, pool in (("combined", certain), ("diversity", alike), ("combined", alike)):
        first = {_choose(strategy, pool, {"known": _known()}, seed=seed)[0] for seed in range(8)}
        assert len(first) > 1


def test_of_very_many_images_some_stand_for_all(monkeypatch):
    monkeypatch.setattr(acquisition, "REPRESENTED", 7)
    chosen = _choose("diversity", _clusters(), {"known": _known()}, count=14)
    assert len(set(chosen)) == 14 and not chosen[0].startswith("near")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_equal_random_states_choose_alike(strategy):
    pool = {name: _known(each.features, 0.5) for name, each in _clusters().items()}
    backwards = dict(reversed(pool.items()))
    chosen = _choose(strategy, pool, count=5, seed=1)
    assert len(set(chosen)) == 5
    assert chosen == _choose(strategy, pool, count=5, seed=1)
    if strategy != "first":
        assert chosen == _choose(strategy, backwards, count=5, seed=1)
    assert sorted(_choose(strategy, pool, count=99)) == sorted(pool)
    assert _choose(strategy, {}) == _choose(strategy, pool, count=0) == []


def test_random_choices_differ_from_seed_to_seed():
    pool = _clusters()
    assert len({tuple(_choose("random", pool, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("strategy", ["uncertainty", "diversity", "combined"])
def test_no_more_images_that_look_empty_are_chosen_than_their_share_of_the_labelled(strategy):
    empty = {f"empty{n}": _known((30 + 5 * n, 0), 0.9, foreground=0) for n in range(10)}
    pool = {**_clusters(), **empty}
    labelled = {f"known{n}": _known(foreground=0.3 if n else 0) for n in range(4)}
    chosen = _choose(strategy, pool, labelled, count=8)
    assert sum(name.startswith("empty") for name in chosen) == 2
    rest = _choose(strategy, pool, labelled, count=20)
    assert len(rest) == 20, "where nothing else is left, empty ones are taken"


def test_where_no_label_is_empty_an_image_without_an_answer_may_be_chosen():
    empty = {f"empty{n}": _known((30, 5 * n), foreground=0) for n in range(3)}
    chosen = _choose("diversity", {**_clusters(), **empty}, {"known": _known()})
    assert any(name.startswith("empty") for name in chosen)


def test_each_kind_of_task_has_its_strategies():
    fitting = {name: set(kind.strategies) for name, kind in KINDS.items()}
    assert {"random", "uncertainty", "diversity", "combined"} <= fitting["segmentation"]
    assert fitting["interactive"] == fitting["segmentation"]
    assert {"margin", "entropy"} <= fitting["classification"]
    assert "margin" not in fitting["segmentation"]
    assert set.union(*fitting.values()) == set(STRATEGIES)


def test_a_network_that_follows_clicks_is_measured_as_the_one_without():
    row = get_task("nuclei_click")
    small = replace(row.encoder_decoder, channels=(4, 6, 8), convolutions=(1, 1, 1))
    clicking = replace(row, network=small)
    plain = replace(
        clicking, kind="segmentation", clicks=None, network=replace(small, guidance_channels=0)
    )
    torch.manual_seed(0)
    network = build_network(plain.network)
    twin = build_network(clicking.network)
    twin.load_state_dict(network.state_dict(), strict=False)  # what clicks add begins at zero
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)
    image = Image(pixels, Geometry.flat(48, 48), Path("a.png"))
    one = measure(Predictor(plain, network, "cpu", "fp32"), image)
    other = measure(ClickPredictor(clicking, twin, "cpu", "fp32"), image)
    assert other.disagreement == pytest.approx(one.disagreement, abs=1e-5)
    assert other.entropy == pytest.approx(one.entropy, abs=1e-5)
    np.testing.assert_allclose(other.features, one.features, atol=1e-5)


def test_an_unknown_strategy_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="unknown strategy 'divers': did you mean 'diversity'"):
        _choose("divers", _clusters())


def test_features_of_different_networks_are_refused():
    pool = {"a": _known(), "b": _known((1, 2, 3))}
    with pytest.raises(InputError, match=r"lengths \[2, 3\].*measure all images with the same"):
        _choose("diversity", pool)
