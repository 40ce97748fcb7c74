"""First weights must beat an answer that looks at no image; collapsed ones never go live."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_samples import fit_options, with_recipe

from lib.classification.scoring import one_class, trivial_class
from lib.data.case import Figures
from lib.kinds import kind_of
from lib.segmentation.training import trivial_mask
from lib.tasks.registry import get_task
from lib.training import publish as publishing
from lib.training.batches import PreparedCases
from lib.training.publish import train_and_submit
from lib.weights.store import ModelStore
from lib.weights.versions import FIRST_MARGIN, Trivial


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models", tmp_path)


def _submit(task, items, store, out):
    return train_and_submit(
        with_recipe(task, steps=2, val_interval=2), items, fit_options(out), store
    )


@pytest.mark.parametrize(
    ("threshold", "mask"), [(1.1, "an empty mask"), (0.0, "everything as foreground")]
)
def test_weights_that_answer_one_mask_are_kept_aside(task, items, store, tmp_path, threshold, mask):
    collapsed = replace(task, output=replace(task.output, threshold=threshold))
    result, decision = _submit(collapsed, items, store, tmp_path / "run")
    assert not decision.published
    assert store.served_path(task.name) is None
    assert "answers the same on every validation case" in decision.reason
    assert "scores" in decision.reason and "kept aside" in decision.reason
    version = store.versions(task.name)[0]
    assert version.trivial["score"] >= result.metrics[task.key_metric] - 1e-9
    if version.trivial["answer"] == mask:
        assert version.trivial["score"] == pytest.approx(result.metrics[task.key_metric])


def test_collapsed_weights_do_not_replace_live_ones_whatever_they_score(
    task, items, store, tmp_path, monkeypatch
):
    live = tmp_path / "live.pt"
    live.write_bytes(b"live")
    store.submit(task.name, live, {task.key_metric: 0.5}, task.key_metric, None)
    decision = store.submit(
        task.name, live, {task.key_metric: 0.9}, task.key_metric, 0.5, collapsed=True
    )
    assert not decision.published
    assert [version.served for version in store.versions(task.name)].count(True) >= 1


@pytest.mark.parametrize(("above", "published"), [(0.01, False), (0.03, True)])
def test_first_weights_need_the_margin(store, tmp_path, above, published):
    file = tmp_path / "one.pt"
    file.write_bytes(b"one")
    trivial = Trivial("an empty mask", 0.2)
    score = 0.2 + above * 0.8
    decision = store.submit("t", file, {"dice": score}, "dice", None, None, trivial)
    assert 0.01 < FIRST_MARGIN < 0.03
    assert decision.published == published
    if not published:
        assert decision.reason.startswith("dice 0.2080, an empty mask scores 0.2000: kept aside")
    assert store.versions("t")[0].as_dict()["trivial"] == {"answer": "an empty mask", "score": 0.2}


def test_scores_that_are_no_number_are_kept_aside(store, tmp_path):
    file = tmp_path / "one.pt"
    file.write_bytes(b"one")
    trivial = Trivial("an empty mask", 0.2)
    assert not store.submit("t", file, {"d": float("nan")}, "d", None, None, trivial).published


def test_the_trivial_score_is_that_of_a_constant_answer(task, items):
    cases = PreparedCases(items, task)
    found = trivial_mask(task, cases)
    network_scores: list[Figures] = []
    for value in (0.0, 1.0):

        class Constant:
            def __init__(self, value):
                self.task, self.value, self.device = task, value, torch.device("cpu")

            def answers(self, images, flips):
                maps = (len(images), len(task.target.maps), *images.shape[2:])
                return torch.full(maps, self.value)

        network_scores.append(kind_of(task).scoring.score(Constant(value), cases))
    best = max(scores[task.key_metric] for scores in network_scores)
    assert found is not None and found.score == pytest.approx(best)


@pytest.mark.parametrize(
    ("metric", "score"),
    [("exam_accuracy", 0.75), ("exam_likelihood", 0.25**0.25 * 0.75**0.75), ("exam_kappa", 0)],
)
def test_the_commonest_class_scores_its_share(monkeypatch, metric, score):
    task = replace(get_task("density_dense"), key_metric=metric)

    class View:
        def __init__(self, exam, number):
            self.exam, self.number = exam, number

    class Views:
        items = [View(f"e{n}", int(n == 0)) for n in range(4)]

    monkeypatch.setattr("lib.classification.scoring.ViewItem", View)
    monkeypatch.setattr("lib.classification.scoring.class_of", lambda item, task: item.number)
    found = trivial_class(task, Views())
    assert found == Trivial("always the commonest class", pytest.approx(score))
    Views.items = Views.items[1:]
    assert trivial_class(task, Views()) is None


def test_one_class_on_all_exams_has_collapsed_and_is_kept_aside(
    task, items, store, tmp_path, monkeypatch
):
    density = get_task("density_dense")
    assert one_class(density, 1, {"classes_answered": 1.0, "classes_true": 2.0})
    monkeypatch.setattr(
        publishing,
        "kind_of",
        lambda row: replace(
            kind_of(row),
            scoring=replace(
                kind_of(row).scoring,
                collapsed=lambda *_: one_class(
                    density, 1, {"classes_answered": 1.0, "classes_true": 2.0}
                ),
            ),
        ),
    )
    _, decision = _submit(task, items, store, tmp_path / "run")
    assert not decision.published and store.served_path(task.name) is None
