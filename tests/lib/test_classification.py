"""From exams to answers: any views, what is left out, when a reader is needed; how it trains."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lib.checkpoints import load_checkpoint, save_checkpoint
from lib.class_evaluation import report_on, score_exams
from lib.classification import ExamPredictor
from lib.data import PreparedCases, StepBatches
from lib.errors import InputError
from lib.exam_cases import list_task_exams, list_views
from lib.exam_rules import softmax
from lib.exams import Exam
from lib.mammography_views import STANDARD_VIEWS
from lib.networks import build_network
from lib.parallel import fit_in_processes
from lib.scoring import score_cases
from lib.tasks import TASKS
from lib.training import FitOptions, fit

R_CC, L_CC, R_MLO, L_MLO = STANDARD_VIEWS


def _options(out: Path, **changes) -> FitOptions:
    plain = {"device": "cpu", "precision": "fp32", "progress": False, "tensorboard": False}
    return FitOptions(out, **{**plain, **changes})


def _recipe(task, **changes):
    return replace(task, training=replace(task.training, **changes))


@pytest.fixture(scope="module")
def exams(exam_studies, exam_task) -> list[Exam]:
    return list_task_exams(exam_studies, exam_task, labelled=True)


@pytest.fixture(scope="module")
def views(exam_studies, exam_task):
    return list_views(exam_studies, exam_task, labelled=True)


@pytest.fixture(scope="module")
def predictor(exam_task, exam_weights) -> ExamPredictor:
    return ExamPredictor.from_checkpoint(exam_task, load_checkpoint(exam_weights), "cpu", "fp32")


class Fixed(nn.Module):
    """Answers each view by a table of logits."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table))

    def forward(self, x, views):
        return self.table[views]


def _fixed(task, *classes: int, sure: float = 9.0, **more) -> ExamPredictor:
    count = len(task.exam.classes)
    table = [[sure * (place == wanted) for place in range(count)] for wanted in classes]
    return ExamPredictor(task, Fixed(table), "cpu", "fp32", **more)


# --- answers -------------------------------------------------------------------------------------


def test_an_answer_has_probabilities_of_views_breasts_and_exam(predictor, exams):
    answer = predictor(exams[0])
    assert list(answer.views) == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    assert set(answer.breasts) == {"R", "L"}
    for found in (answer.probabilities, *answer.breasts.values()):
        assert found.shape == (4,)
        assert found.sum() == pytest.approx(1)
    for view in answer.views.values():
        assert view.probabilities.sum() == pytest.approx(1)
        assert view.tissue is not None and 0 <= view.tissue.percent_density <= 100
        assert view.tissue.mask.shape == view.prepared.pixels.shape == (48, 48)
    assert answer.label == "ABCD"[answer.place]
    assert (answer.left_out, answer.threshold) == ({}, 0.5)
    row = json.loads(json.dumps(answer.as_dict()))
    assert row["views_used"] == list(answer.views)
    assert {"class", "probabilities", "uncertain", "reasons", "breasts"} <= set(row)


@pytest.mark.parametrize("dropped", STANDARD_VIEWS, ids=lambda view: view.name)
def test_without_any_one_view_it_still_answers_and_says_so(predictor, exams, dropped):
    whole = exams[1]
    rest = {view: path for view, path in whole.views.items() if view != dropped}
    answer = predictor(replace(whole, views=rest), tissue=False)
    assert dropped.name not in answer.views and len(answer.views) == 3
    assert answer.left_out == {dropped.name: "missing"}
    all_of_it = predictor(whole, tissue=False)
    for name, view in answer.views.items():
        np.testing.assert_allclose(
            view.probabilities, all_of_it.views[name].probabilities, atol=1e-5
        )


def test_one_view_alone_is_answered(predictor, exams):
    one = replace(exams[0], views={L_MLO: exams[0].views[L_MLO]})
    answer = predictor(one)
    np.testing.assert_array_equal(answer.probabilities, answer.views["L-MLO"].probabilities)
    assert set(answer.breasts) == {"L"}
    assert set(answer.left_out) == {"R-CC", "L-CC", "R-MLO"}


def test_an_unreadable_view_is_left_out_with_its_reason(predictor, exams, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no dicom")
    answer = predictor(replace(exams[0], views={**exams[0].views, R_CC: broken}), tissue=False)
    assert "R-CC" not in answer.views
    assert "broken.dcm" in answer.left_out["R-CC"]
    with pytest.raises(InputError, match=r"no view can be answered \(.*broken\.dcm"):
        predictor(replace(exams[0], views={R_CC: broken}))


def test_the_rule_of_the_row_makes_the_exams_class(exam_task, exams):
    answer = _fixed(exam_task, 1, 2, 1, 2)(exams[0], tissue=False)  # right B, left C
    assert (answer.label, answer.place) == ("C", 2)
    np.testing.assert_array_equal(answer.probabilities, answer.breasts["L"])
    mean = replace(exam_task, exam=replace(exam_task.exam, rule="mean"))
    answer = _fixed(mean, 1, 1, 1, 3)(exams[0], tissue=False)
    assert answer.label == "B"


def test_sure_and_equal_views_need_no_reader(exam_task, exams):
    assert _fixed(exam_task, 2, 2, 2, 2)(exams[0], tissue=False).uncertain == ()


def test_views_that_disagree_need_a_reader(exam_task, exams):
    answer = _fixed(exam_task, 0, 0, 0, 3)(exams[0], tissue=False)
    assert any("the views disagree: R-CC A" in reason for reason in answer.uncertain)
    assert answer.as_dict()["uncertain"] is True


def test_low_confidence_needs_a_reader_and_the_threshold_is_told(exam_task, exams):
    answer = _fixed(exam_task, 2, 2, 2, 2, sure=0.5)(exams[0], tissue=False)
    (reason,) = answer.uncertain
    assert "below the threshold 0.5" in reason
    assert answer.as_dict()["threshold"] == 0.5


def test_a_view_with_doubts_needs_a_reader(exam_task, exams, monkeypatch):
    from lib import classification

    prepare = classification.prepare_view
    monkeypatch.setattr(
        classification,
        "prepare_view",
        lambda *given: replace(prepare(*given), doubts=("it may be upside down",)),
    )
    answer = _fixed(exam_task, 2, 2, 2, 2)(exams[0], tissue=False)
    assert "R-CC: it may be upside down" in answer.uncertain


def test_a_temperature_softens_every_probability(exam_task, exams):
    sharp = _fixed(exam_task, 1, 1, 1, 1, sure=3.0)(exams[0], tissue=False)
    soft = _fixed(exam_task, 1, 1, 1, 1, sure=3.0, temperature=2.0)(exams[0], tissue=False)
    np.testing.assert_allclose(
        soft.probabilities, softmax(np.array([[0, 3.0, 0, 0]]), 2.0)[0], rtol=1e-5
    )
    assert soft.probabilities.max() < sharp.probabilities.max()


def test_views_that_were_not_trained_are_never_answered(exam_task, exams):
    predictor = _fixed(exam_task, 1, 1, 1, 1, trained=("R-MLO", "L-MLO"))
    answer = predictor(exams[0], tissue=False)
    assert list(answer.views) == ["R-MLO", "L-MLO"]
    assert "was not trained on R-CC, only on R-MLO, L-MLO" in answer.left_out["R-CC"]
    with pytest.raises(InputError, match="no view can be answered"):
        predictor(replace(exams[0], views={R_CC: exams[0].views[R_CC]}))


def test_a_network_in_training_is_put_back_into_it(exam_task, exams):
    network = build_network(exam_task.network).train()
    ExamPredictor(exam_task, network, "cpu", "fp32")(exams[0], tissue=False)
    assert network.training


# --- training ------------------------------------------------------------------------------------


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
    with pytest.raises(InputError, match="the networks differ in .*architecture.*; use weights"):
        ExamPredictor.from_checkpoint(TASKS["density_a_vs_d"], load_checkpoint(exam_weights))


def test_passes_become_steps_and_every_pass_is_validated(views, exam_task, tmp_path):
    result = fit(exam_task, views, _options(tmp_path))
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
    from lib.datasets.studies import split_items

    held = split_items(views, exam_task.training.val_split)[1]
    figures = score_cases(predictor, PreparedCases(held, exam_task))
    assert figures == pytest.approx(checkpoint.metrics, rel=1e-4)


def test_an_interrupted_run_ends_like_one_that_was_not(views, exam_task, tmp_path, monkeypatch):
    recipe = _recipe(exam_task, schedule="plateau", plateau_patience=0, averaging=0.5)
    whole = fit(recipe, views, _options(tmp_path / "whole"))
    prepare = StepBatches.__getitem__

    def fail(self, step):
        if step == whole.steps - 1:
            raise RuntimeError("power cut")
        return prepare(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(StepBatches, "__getitem__", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(recipe, views, _options(tmp_path / "cut"))
    assert fit(recipe, views, _options(tmp_path / "cut")).history == whole.history


def test_the_last_weights_are_kept_where_that_is_asked_for(views, exam_task, tmp_path, monkeypatch):
    scores = iter([0.9, 0.5, 0.7, 0.6])
    monkeypatch.setattr(
        "lib.training.score_cases",
        lambda *_: {
            **dict.fromkeys(("classes_answered", "classes_true", "temperature"), 1.0),
            "exam_likelihood": next(scores),
        },
    )
    result = fit(_recipe(exam_task, epochs=3), views, _options(tmp_path, keep="last"))
    assert result.metrics["exam_likelihood"] == 0.6
    assert load_checkpoint(result.weights).provenance["step"] == result.steps


def test_a_plateau_of_the_validation_loss_lowers_the_rate(views, exam_task, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "lib.training.score_cases",
        lambda *_: {
            **dict.fromkeys(("classes_answered", "classes_true", "temperature"), 1.0),
            "exam_likelihood": 0.5,
            "val_loss": 1.0,
        },
    )
    recipe = _recipe(
        exam_task,
        epochs=4,
        schedule="plateau",
        plateau_patience=1,
        optimizer="plain_sgd",
        learning_rate=1e-3,
    )
    fit(recipe, views, _options(tmp_path))
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["scheduler"]["scale"] == pytest.approx(0.1)


def test_the_collapse_to_one_class_is_said(views, exam_task, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        recipe = _recipe(exam_task, epochs=1, learning_rate=1e-9)
        network = replace(exam_task.network, views=())
        fit(replace(recipe, network=network), views, _options(tmp_path))
    assert any("answers one class on all validation exams" in text for text in caplog.messages)


def _grey_squares(views, monkeypatch) -> dict[str, str]:
    """Let the views of an exam be squares as bright as its class; return the classes by exam."""
    from lib import cases

    density = {item.exam: item.density for item in views}

    def load(item, task):
        place = "ABCD".index(density[item.exam])
        image = np.full((2, 16, 16), 0.1 + 0.25 * place, np.float16)
        return image, np.array("ABCD".index(item.density)), np.array(0)

    kind = replace(cases.CASE_KINDS["classification"], load=load)
    monkeypatch.setitem(cases.CASE_KINDS, "classification", kind)
    return density


@pytest.fixture
def plain(exam_task):
    """A recipe without augmentation, one network for all views."""
    return replace(
        _recipe(exam_task, epochs=30, learning_rate=1e-2, label_smoothing=0.0),
        augment=replace(exam_task.augment, rotate=0.0, zoom=(1.0, 1.0), gamma=1.0, noise=0.0),
        network=replace(exam_task.network, norm="none", views=()),
    )


def test_a_class_that_is_plain_to_see_is_learned(views, plain, tmp_path, monkeypatch):
    _grey_squares(views, monkeypatch)
    result = fit(plain, views, _options(tmp_path))
    assert result.metrics["exam_accuracy"] >= 0.9
    assert result.metrics["exam_kappa"] >= 0.9


def test_shuffled_labels_are_not_learned_on_held_out_exams(views, plain, tmp_path, monkeypatch):
    density = _grey_squares(views, monkeypatch)
    moved = np.random.default_rng(5).permutation(list(density.values()))
    label = dict(zip(density, moved.tolist(), strict=True))
    shuffled = [replace(item, density=label[item.exam]) for item in views]
    result = fit(plain, shuffled, _options(tmp_path, keep="last"))
    assert result.metrics["exam_accuracy"] <= 0.5


def test_two_processes_train_like_one(views, exam_task, tmp_path):
    """Each step trains one of four networks; the others must wait for nothing."""
    plain = replace(
        _recipe(exam_task, epochs=1, optimizer="plain_sgd", weight_decay=0.0),
        network=replace(exam_task.network, norm="none"),
        labels=dict(exam_task.labels),
    )
    one = fit(plain, views, _options(tmp_path / "one"))
    two = fit_in_processes(plain, views, _options(tmp_path / "two"), processes=2)
    weights, twin = (load_checkpoint(result.weights).weights for result in (one, two))
    for name, value in weights.items():
        torch.testing.assert_close(twin[name], value, rtol=1e-3, atol=1e-5)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-2, abs=1e-3)


# --- evaluation ----------------------------------------------------------------------------------


def test_a_report_has_figures_of_every_level_with_intervals_by_patient(exam_task, exams):
    scored, failed = score_exams(_fixed(exam_task, 1, 1, 1, 1), exams)
    report = report_on(scored, exam_task.exam, failed=failed)
    share = np.mean([exam.density == "B" for exam in exams])
    assert {level: part["cases"] for level, part in report.levels.items()} == {
        "view": 48,
        "breast": 24,
        "exam": 12,
    }
    for part in (*report.levels.values(), *report.by_view.values()):
        assert part["figures"]["accuracy"] == pytest.approx(share)
        low, high = part["intervals"]["accuracy"]
        assert low <= share <= high and high > low
    matrix = np.array(report.levels["exam"]["confusion"])
    assert matrix.sum() == 12 and matrix[:, 1].sum() == 12
    assert list(report.by_view) == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    assert report.sure == {"exams": 12, "share": 1.0, "accuracy": pytest.approx(share)}
    assert report.about["patients"] == 12
    assert json.loads(json.dumps(report.as_dict()))["levels"]["exam"]["cases"] == 12


def test_an_exam_that_cannot_be_answered_is_named_in_the_report(exam_task, exams, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"")
    bad = replace(exams[0], views={R_CC: broken})
    scored, failed = score_exams(_fixed(exam_task, 1, 1, 1, 1), [bad, *exams[1:3]])
    assert len(scored) == 2 and "broken.dcm" in failed[bad.id]
    with pytest.raises(InputError, match="no labelled exam could be answered .*broken"):
        report_on([], exam_task.exam, failed=failed)
