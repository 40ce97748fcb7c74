"""From exams to answers: any views, what is left out, when a reader is needed, how it scores."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from torch import nn
from training_samples import fit_options

from lib.classification.calibration import class_probabilities
from lib.classification.cases import list_task_exams, list_views
from lib.classification.evaluation import report_on, score_exams
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError
from lib.mammography.exams import Exam
from lib.mammography.views import STANDARD_VIEWS
from lib.networks import build_network
from lib.training.loop import fit
from lib.weights.checkpoint import load_checkpoint

R_CC, L_CC, R_MLO, L_MLO = STANDARD_VIEWS


@pytest.fixture(scope="module")
def exams(exam_studies, exam_task) -> list[Exam]:
    return list_task_exams(exam_studies, exam_task, labelled=True)


@pytest.fixture(scope="module")
def predictor(exam_task, exam_weights) -> ExamPredictor:
    return ExamPredictor.from_checkpoint(exam_task, load_checkpoint(exam_weights), "cpu", "fp32")


class Fixed(nn.Module):
    """Answers each view by a table of logits."""

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.tensor(table))

    def with_maps(self, x, views):
        return self.table[views], x


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
    assert answer.label == "ABCD"[answer.class_index]
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
    assert (answer.label, answer.class_index) == ("C", 2)
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
    from lib.classification import predictor as classification

    prepare = classification.prepare_breast
    monkeypatch.setattr(
        classification,
        "prepare_breast",
        lambda *given: replace(prepare(*given), doubts=("it may be upside down",)),
    )
    answer = _fixed(exam_task, 2, 2, 2, 2)(exams[0], tissue=False)
    assert "R-CC: it may be upside down" in answer.uncertain


def test_a_temperature_softens_every_probability(exam_task, exams):
    sharp = _fixed(exam_task, 1, 1, 1, 1, sure=3.0)(exams[0], tissue=False)
    soft = _fixed(exam_task, 1, 1, 1, 1, sure=3.0, temperature=2.0)(exams[0], tissue=False)
    np.testing.assert_allclose(
        soft.probabilities, class_probabilities(np.array([[0, 3.0, 0, 0]]), 2.0)[0], rtol=1e-5
    )
    assert soft.probabilities.max() < sharp.probabilities.max()


def test_views_that_were_not_trained_are_never_answered(exam_task, exams):
    predictor = _fixed(exam_task, 1, 1, 1, 1, trained=("R-MLO", "L-MLO"))
    answer = predictor(exams[0], tissue=False)
    assert list(answer.views) == ["R-MLO", "L-MLO"]
    assert "was not trained on R-CC, only on R-MLO, L-MLO" in answer.left_out["R-CC"]
    with pytest.raises(InputError, match="no view can be answered"):
        predictor(replace(exams[0], views={R_CC: exams[0].views[R_CC]}))


def test_one_network_for_all_views_says_which_it_has_not_seen(exam_task, exams):
    task = replace(exam_task, network=replace(exam_task.network, views=()))
    network = build_network(task.network)
    predictor = ExamPredictor(task, network, "cpu", "fp32", trained=("R-MLO", "L-MLO"))
    answer = predictor(exams[0], tissue=False)
    assert (len(answer.views), answer.left_out) == (4, {})
    notes = {name: "; ".join(view.prepared.notes) for name, view in answer.views.items()}
    assert "trained on R-MLO, L-MLO, not on R-CC" in notes["R-CC"]
    assert "trained on" not in notes["R-MLO"]


@pytest.fixture(scope="module")
def shared(exam_task, exam_studies, tmp_path_factory):
    """One network for all views, trained briefly, and its predictor."""
    row = replace(exam_task, network=replace(exam_task.network, views=()))
    views = list_views(exam_studies, row, labelled=True)
    weights = fit(row, views, fit_options(tmp_path_factory.mktemp("shared"))).weights
    return ExamPredictor.from_checkpoint(row, load_checkpoint(weights), "cpu", "fp32")


def test_weights_of_one_network_know_the_views_they_were_trained_on(shared, exams):
    known = [
        view.strangeness for exam in exams for view in shared(exam, tissue=False).views.values()
    ]
    assert None not in known
    assert np.mean([one > 1 for one in known]) < 0.1
    plain = shared(exams[0], tissue=False).as_dict()
    assert plain["warnings"] == []
    assert all(0 < view["strangeness"] < 1 for view in plain["views"].values())


def test_a_view_of_another_kind_is_warned_of_by_its_name(shared, exams, tmp_path):
    picture = np.zeros((192, 160), np.uint8)
    picture[:, :90] = np.random.default_rng(0).integers(60, 255, (192, 90))
    PillowImage.fromarray(picture).save(tmp_path / "E_L-CC.png")
    exam = replace(exams[0], views={**exams[0].views, L_CC: tmp_path / "E_L-CC.png"})
    answer = shared(exam, tissue=False)
    (warning,) = answer.warnings
    assert warning.startswith("L-CC looks unlike those that the model was trained on")
    picture[:, :90] = picture[:, 90:0:-1]
    PillowImage.fromarray(picture).save(tmp_path / "E_R-CC.png")
    exam = replace(exam, views={**exam.views, R_CC: tmp_path / "E_R-CC.png"})
    (warning,) = shared(exam, tissue=False).warnings
    assert warning.startswith("R-CC, L-CC look unlike those")
    assert answer.as_dict()["views"]["L-CC"]["strangeness"] > 1


def test_networks_for_each_view_warn_of_nothing(predictor, exams):
    answer = predictor(exams[0], tissue=False)
    assert answer.warnings == []
    assert {view.strangeness for view in answer.views.values()} == {None}
    assert "strangeness" not in answer.as_dict()["views"]["R-CC"]


def test_a_network_in_training_is_put_back_into_it(exam_task, exams):
    network = build_network(exam_task.network).train()
    ExamPredictor(exam_task, network, "cpu", "fp32")(exams[0], tissue=False)
    assert network.training


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
