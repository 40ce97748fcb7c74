"""Training on exams: what the checkpoint keeps, passes, schedules, and that labels do not leak."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_samples import fit_options, with_recipe

from lib.classification import scoring
from lib.classification.cases import list_views
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError
from lib.kinds import score_cases
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases, StepBatches
from lib.training.loop import fit
from lib.training.parallel import fit_in_processes
from lib.weights.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def views(exam_studies, exam_task):
    return list_views(exam_studies, exam_task, labelled=True)


def test_the_checkpoint_keeps_temperature_views_and_input(exam_task, exam_weights, tmp_path):
    checkpoint = load_checkpoint(exam_weights)
    assert checkpoint.answer["views"] == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    assert checkpoint.answer["temperature"] == checkpoint.metrics["temperature"]
    row = replace(exam_task, input=replace(exam_task.input, size=200))
    found = ExamPredictor.from_checkpoint(row, checkpoint, "cpu", "fp32")
    assert found.task.input.size == 48, "weights are served as they were trained"
    assert found.temperature == checkpoint.answer["temperature"]
    again = load_checkpoint(save_checkpoint(tmp_path / "a.pt", checkpoint))
    assert again.answer == checkpoint.answer


def test_weights_of_another_classifier_are_refused(exam_weights):
    with pytest.raises(InputError, match="the networks differ in channels, .*views; use weights"):
        ExamPredictor.from_checkpoint(TASKS["density_a_vs_d"], load_checkpoint(exam_weights))


def test_passes_become_steps_and_every_pass_is_validated(views, exam_task, tmp_path):
    result = fit(exam_task, views, fit_options(tmp_path))
    batches = len(result.training_ids) / 4 / 4  # of each view, all full
    per_pass = 4 * -(-int(4 * batches) // 4)
    assert result.steps == 2 * per_pass
    assert [entry["step"] for entry in result.history] == [per_pass, 2 * per_pass]
    assert {"view_accuracy", "exam_accuracy", "exam_kappa", "exam_auc", "val_loss"} <= set(
        result.metrics
    )


def test_the_figures_of_kept_weights_are_those_of_the_predictor(views, exam_task, exam_weights):
    checkpoint = load_checkpoint(exam_weights)
    predictor = ExamPredictor.from_checkpoint(exam_task, checkpoint, "cpu", "fp32")
    from lib.data.studies import split_items

    held = split_items(views, exam_task.training.val_split)[1]
    figures = score_cases(predictor, PreparedCases(held, exam_task))
    assert figures == pytest.approx(checkpoint.metrics, rel=1e-4)


def test_views_are_scored_together_as_one_by_one(views, exam_task, exam_weights, monkeypatch):
    predictor = ExamPredictor.from_checkpoint(
        exam_task, load_checkpoint(exam_weights), "cpu", "fp32"
    )
    cases, seen = PreparedCases(views[:24], exam_task), []
    with_maps = type(predictor.network).with_maps

    def watched(network, images, chosen):
        seen.append((len(images), len(set(chosen.tolist()))))
        return with_maps(network, images, chosen)

    monkeypatch.setattr(type(predictor.network), "with_maps", watched)
    alone = score_cases(predictor, cases)
    assert seen == [(1, 1)] * 24
    seen.clear()
    monkeypatch.setitem(scoring.AT_ONCE, "cpu", 4)
    assert score_cases(predictor, cases) == pytest.approx(alone, abs=1e-4)
    assert seen == [(4, 1), (2, 1)] * 4, "views of one network at a time"


def test_an_interrupted_run_ends_like_one_that_was_not(views, exam_task, tmp_path, monkeypatch):
    recipe = with_recipe(exam_task, schedule="plateau", plateau_patience=0, averaging=0.5)
    whole = fit(recipe, views, fit_options(tmp_path / "whole"))
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == whole.steps - 1:
            raise RuntimeError("power cut")
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(recipe, views, fit_options(tmp_path / "cut"))
    assert fit(recipe, views, fit_options(tmp_path / "cut")).history == whole.history


def test_the_last_weights_are_kept_where_that_is_asked_for(views, exam_task, tmp_path, monkeypatch):
    scores = iter([0.9, 0.5, 0.7, 0.6])
    monkeypatch.setattr(
        "lib.training.validation.score_cases",
        lambda *_: {
            **dict.fromkeys(("classes_answered", "classes_true", "temperature"), 1.0),
            "exam_likelihood": next(scores),
        },
    )
    result = fit(with_recipe(exam_task, epochs=3), views, fit_options(tmp_path, keep="last"))
    assert result.metrics["exam_likelihood"] == 0.6
    assert load_checkpoint(result.weights).provenance["step"] == result.steps


def test_a_plateau_of_the_validation_loss_lowers_the_rate(views, exam_task, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lib.training.validation.score_cases",
        lambda *_: {
            **dict.fromkeys(("classes_answered", "classes_true", "temperature"), 1.0),
            "exam_likelihood": 0.5,
            "val_loss": 1.0,
        },
    )
    recipe = with_recipe(
        exam_task,
        epochs=4,
        schedule="plateau",
        plateau_patience=1,
        optimizer="plain_sgd",
        learning_rate=1e-3,
    )
    fit(recipe, views, fit_options(tmp_path))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(1e-4)


def test_the_collapse_to_one_class_is_said(views, exam_task, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        recipe = with_recipe(exam_task, epochs=1, learning_rate=1e-9)
        network = replace(exam_task.network, views=())
        fit(replace(recipe, network=network), views, fit_options(tmp_path))
    assert any("answers one class on all validation exams" in text for text in caplog.messages)


def _grey_squares(views, monkeypatch) -> dict[str, str]:
    """Let the views of an exam be squares as bright as its class; return the classes by exam."""
    from lib.kinds import KINDS

    density = {item.exam: item.density for item in views}

    def load(item, task):
        index = "ABCD".index(density[item.exam])
        image = np.full((2, 16, 16), 0.1 + 0.25 * index, np.float16)
        return image, np.array("ABCD".index(item.density)), np.array(0)

    kind = KINDS["classification"]
    monkeypatch.setitem(KINDS, kind.name, replace(kind, cases=replace(kind.cases, load=load)))
    return density


@pytest.fixture
def plain(exam_task):
    """A recipe without augmentation, one network for all views."""
    return replace(
        with_recipe(exam_task, epochs=30, learning_rate=1e-2, label_smoothing=0.0),
        augment=replace(exam_task.augment, rotate=0.0, zoom=(1.0, 1.0), gamma=1.0, noise=0.0),
        network=replace(exam_task.network, norm="none", views=()),
    )


def test_a_class_that_is_plain_to_see_is_learned(views, plain, tmp_path, monkeypatch):
    _grey_squares(views, monkeypatch)
    result = fit(plain, views, fit_options(tmp_path))
    assert result.metrics["exam_accuracy"] >= 0.9
    assert result.metrics["exam_kappa"] >= 0.9


def test_shuffled_labels_are_not_learned_on_held_out_exams(views, plain, tmp_path, monkeypatch):
    density = _grey_squares(views, monkeypatch)
    moved = np.random.default_rng(5).permutation(list(density.values()))
    label = dict(zip(density, moved.tolist(), strict=True))
    shuffled = [replace(item, density=label[item.exam]) for item in views]
    result = fit(plain, shuffled, fit_options(tmp_path, keep="last"))
    assert result.metrics["exam_accuracy"] <= 0.5


def test_two_processes_train_like_one(views, exam_task, tmp_path):
    """Each step trains one of four networks; the others must wait for nothing."""
    plain = replace(
        with_recipe(exam_task, epochs=1, optimizer="plain_sgd", weight_decay=0.0),
        network=replace(exam_task.network, norm="none"),
        labels=dict(exam_task.labels),
    )
    one = fit(plain, views, fit_options(tmp_path / "one"))
    two = fit_in_processes(plain, views, fit_options(tmp_path / "two"), processes=2)
    weights, twin = (load_checkpoint(result.weights).weights for result in (one, two))
    for name, value in weights.items():
        torch.testing.assert_close(twin[name], value, rtol=1e-3, atol=1e-5)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-2, abs=1e-3)
