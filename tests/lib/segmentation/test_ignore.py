"""What nobody labelled takes no part in losses, in training, and in figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from training_samples import fit_options, with_recipe

from lib.data.ignore import IGNORE, UNKNOWN
from lib.data.studies import Item, list_items
from lib.data.targets import make_target
from lib.errors import InputError
from lib.io.labels import read_label
from lib.kinds import score_cases
from lib.segmentation.evaluation import evaluate, lines
from lib.segmentation.losses import LOSSES, get_loss
from lib.segmentation.metrics import dice, image_scores, pixel_counts
from lib.segmentation.predictor import Prediction, Predictor
from lib.tasks.image_spec import OutputSpec
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.training.batches import PreparedCases
from lib.training.loop import fit
from lib.weights.backends import Backend
from lib.weights.checkpoint import load_checkpoint

MAPS = ("foreground", "border", "distance", "label_1", "presence", "border_weight")
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits `(3, 5, 8, 12)` and the target of a batch whose right third is unknown."""
    torch.manual_seed(0)
    target = torch.rand(3, 6, 8, 12).round()
    target[:, 5] = 1 + 9 * torch.rand(3, 8, 12)
    target[:, :5, :, 8:] = UNKNOWN
    return torch.randn(3, 5, 8, 12), target


@EVERY_LOSS
def test_the_loss_is_that_of_the_labelled_part_alone(name):
    logits, target = _batch()
    loss = get_loss(name, MAPS)
    torch.testing.assert_close(loss(logits, target), loss(logits[..., :8], target[..., :8]))


@EVERY_LOSS
def test_no_gradient_comes_from_what_is_unknown(name):
    logits, target = _batch()
    logits.requires_grad_()
    get_loss(name, MAPS)(logits, target).backward()
    assert (logits.grad[..., 8:] == 0).all()
    part = logits.detach()[..., :8].requires_grad_()
    get_loss(name, MAPS)(part, target[..., :8]).backward()
    torch.testing.assert_close(logits.grad[..., :8], part.grad)


@EVERY_LOSS
@pytest.mark.parametrize("sure", [-1e6, 1e6])
def test_an_answer_to_what_is_unknown_costs_nothing_however_sure(name, sure):
    logits, target = _batch()
    before = get_loss(name, MAPS)(logits, target)
    logits[..., 8:] = sure
    assert get_loss(name, MAPS)(logits, target) == before


@EVERY_LOSS
def test_where_all_is_unknown_the_loss_is_nothing_and_finite(name):
    logits, target = _batch()
    logits.requires_grad_()
    target[:, :5] = UNKNOWN
    loss = get_loss(name, MAPS)(logits, target)
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_a_single_map_may_be_unknown_and_the_others_count():
    logits, target = _batch()
    target[target == UNKNOWN] = 0
    without = get_loss("bce", MAPS)(logits[:, :4], target[:, :4])
    target[:, 4] = UNKNOWN
    torch.testing.assert_close(get_loss("bce", MAPS)(logits, target), without)


def test_figures_of_pixels_leave_out_what_is_not_labelled(rng):
    answer, truth = rng.random((2, 9, 9)) > 0.5
    labelled = np.arange(9) < 5
    part = np.broadcast_to(labelled, (9, 9))
    assert pixel_counts(answer, truth, part) == pixel_counts(answer[:, :5], truth[:, :5])
    assert dice(answer, truth, part) == dice(answer[:, :5], truth[:, :5])


def test_images_whose_presence_is_unknown_leave_the_roc_curve_only():
    counts = {"tp": [4, 0, 0], "fp": [0, 0, 2], "fn": [0, 0, 0]}
    sure, whole = np.array([0.5, 0.1, 0.9]), np.array([False, True, False])
    found = image_scores(counts, sure, whole=whole)
    assert found["presence_auc"] == 1.0
    assert image_scores(counts, sure)["presence_auc"] == 0.5
    assert found["dice_kaggle"] == pytest.approx(2 / 3)


def _write(folder: Path, items: list[Item], ignored: np.ndarray, hidden: int = 0) -> list[Item]:
    """Write the items with labels that are `IGNORE`, or else `hidden`, where `ignored`."""
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    for item in items:
        (folder / item.image.name).write_bytes(item.image.read_bytes())
        label = np.where(ignored, hidden or IGNORE, read_label(item.label)).astype(np.uint16)
        PillowImage.fromarray(label).save(labels / item.label.name)
    return list_items(folder, labelled=True)


LEFT = np.arange(64)[None, :].repeat(64, 0) < 32


def test_a_network_learns_from_partly_labelled_images_what_it_learns_from_whole_ones(
    task, items, tmp_path
):
    recipe = with_recipe(task, steps=60, val_interval=60)
    partly = fit(recipe, _write(tmp_path / "a", items, ~LEFT), fit_options(tmp_path / "out"))
    wrong = fit(recipe, _write(tmp_path / "b", items, ~LEFT, 1), fit_options(tmp_path / "wrong"))
    held = [item for item in items if item.id in partly.validation_ids]
    figures = [
        evaluate(_predictor(Predictor, task, run.weights), held).pooled["mean_iou"]
        for run in (partly, wrong)
    ]
    assert figures[0] > 0.8, "half of each label taught the whole"
    assert figures[1] < figures[0] - 0.2, "what was marked would have taught the wrong thing"


class Spoilt(Predictor):
    """A predictor whose answers are noise where `spoilt`."""

    spoilt = np.zeros((64, 64), bool)

    def answers(self, images, flips=None):
        answer = super().answers(images, flips)
        noise = np.random.default_rng(0).random(answer.shape, dtype=np.float32)
        return torch.where(torch.from_numpy(self.spoilt), torch.from_numpy(noise), answer)


def _predictor(kind: type[Predictor], task: TaskSpec, weights: Path) -> Predictor:
    return kind.from_checkpoint(task, load_checkpoint(weights), "cpu", "fp32")


def test_figures_do_not_depend_on_what_is_answered_where_nobody_labelled(items, weights, tmp_path):
    task = replace(TASKS["nuclei_vhllrhe"], output=OutputSpec(instances=True))
    whole, spoilt = (_predictor(kind, task, weights) for kind in (Predictor, Spoilt))
    wide = np.indices((64, 64))[1]
    spoilt.spoilt = wide >= 40
    partly = _write(tmp_path / "a", items, wide >= 32)  # objects of the answer may reach over
    pixels = ("mean_iou", "fg_dice", "accuracy", "precision", "recall")
    report, other = evaluate(whole, partly), evaluate(spoilt, partly)
    assert {n: report.pooled[n] for n in pixels} == {n: other.pooled[n] for n in pixels}
    assert evaluate(spoilt, items).pooled["mean_iou"] < report.pooled["mean_iou"] - 0.05
    cases = PreparedCases(partly, task)
    figures = score_cases(whole, cases)
    assert figures == score_cases(spoilt, cases)
    assert figures["mean_iou"] == pytest.approx(report.pooled["mean_iou"], abs=1e-3)


class Fixed:
    """Answers every image with given objects."""

    device, dtype, flips, task = "cpu", "torch.float32", False, TASKS["nuclei_vhllrhe"]
    backend = Backend()

    def __init__(self, objects):
        self.objects = objects

    def __call__(self, image):
        mask = (self.objects > 0).astype(np.uint8)
        return Prediction(probabilities=mask[None] * 1.0, mask=mask, instances=self.objects)


def test_objects_mostly_where_nobody_labelled_are_neither_right_nor_wrong(items, tmp_path):
    answer = np.zeros((64, 64), np.int32)
    answer[2:8, 2:8] = 1  # right
    answer[20:30, 29:40] = 2  # mostly within what is ignored
    answer[40:50, 50:60] = 3  # wholly
    answer[50:60, 24:36] = 4  # mostly outside, and right there
    truth = np.where(np.isin(answer, (1, 4)), answer, 0).astype(np.uint16)
    label = np.where(LEFT, truth, IGNORE).astype(np.uint16)
    PillowImage.fromarray(label).save(tmp_path / "label.png")
    item = Item("a", items[0].image, tmp_path / "label.png")
    report = evaluate(Fixed(answer), [item])
    assert report.pooled["ap50"] == report.pooled["ap"] == 1
    assert report.images[0]["labelled"] == 0.5
    assert any("1 images are labelled in part (50% of" in line for line in lines(report))
    PillowImage.fromarray(np.where(LEFT, truth, 0).astype(np.uint16)).save(tmp_path / "label.png")
    assert evaluate(Fixed(answer), [item]).pooled["ap50"] < 0.7


def test_a_label_that_says_nothing_is_refused_by_name(items, task, tmp_path):
    labelled = _write(tmp_path / "a", items[:2], np.ones((64, 64), bool))
    with pytest.raises(InputError, match=r"nucleus_0\.png: everything is marked 'ignore'"):
        evaluate(Fixed(np.zeros((64, 64), np.int32)), labelled)
    with pytest.raises(InputError, match=r"nucleus_0\.png: everything is marked 'ignore'"):
        PreparedCases(labelled, task).read_all()


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.kind != "classification"])
def test_every_row_trains_on_partly_labelled_images(name):
    """One gradient by the row's own loss and maps is finite, and zero where nobody labelled."""
    task = TASKS[name]
    shape = (24, 24) if task.network.spatial_dims == 2 else (8, 16, 16)
    label = np.zeros(shape, np.int32)
    label[..., 4:9, 3:8] = max(task.labels.values())
    label[..., 12:] = IGNORE
    target = torch.from_numpy(make_target(label, task.target).astype(np.float32))[None]
    torch.manual_seed(0)
    logits = torch.randn(1, len(task.target.answered), *shape, requires_grad=True)
    get_loss(task.training.loss, task.target.maps)(logits, target).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[..., 12:] == 0).all()
    assert (logits.grad[..., :8] != 0).any()
