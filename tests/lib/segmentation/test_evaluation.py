"""Evaluation gives what it promises, from figures a hand can check."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.data.studies import Item
from lib.data.targets import as_instances
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.segmentation.evaluation import evaluate
from lib.segmentation.predictor import Prediction
from lib.statistics import RESAMPLES
from lib.tasks.registry import TASKS
from lib.weights.backends import Backend

FIGURES = {
    "mean_iou",
    "fg_iou",
    "bg_iou",
    "fg_dice",
    "accuracy",
    "precision",
    "recall",
    "ap50",
    "ap",
}


class Fixed:
    """Answers every image by a rule on its label."""

    device, dtype, flips, backend = "cpu", "torch.float32", False, Backend()

    def __init__(self, items, rule):
        self.task = TASKS["nuclei_vhllrhe"]
        self.labels = {item.image: read_label(item.label) for item in items}
        self.rule = rule

    def __call__(self, image):
        instances = self.rule(self.labels[image.path]).astype(np.int32)
        mask = (instances > 0).astype(np.uint8)
        probabilities = mask[np.newaxis].astype(np.float32)
        return Prediction(
            probabilities=probabilities, mask=mask, instances=instances, seconds={"infer": 0.25}
        )


def test_the_right_answer_scores_one(items):
    report = evaluate(Fixed(items, lambda label: label), items)
    assert report.pooled == dict.fromkeys(FIGURES, 1.0)
    assert report.mean == dict.fromkeys(FIGURES, 1.0)
    assert set(report.intervals.values()) == {(1.0, 1.0)}


def test_an_empty_answer_scores_partly_the_background(items):
    report = evaluate(Fixed(items, np.zeros_like), items)
    share = np.mean([read_label(item.label) == 0 for item in items])
    assert report.pooled["fg_iou"] == 0
    assert report.pooled["bg_iou"] == pytest.approx(share)
    assert report.pooled["mean_iou"] == pytest.approx(share / 2)
    assert report.pooled["ap50"] == 0


def test_pooled_figures_come_from_pixels_together_and_means_from_images(items):
    report = evaluate(Fixed(items, lambda label: label * (label <= 2)), items)
    labels = [read_label(item.label) for item in items]
    kept, all_ = (
        sum(int(m.sum()) for m in masks)
        for masks in (
            [(label > 0) & (label <= 2) for label in labels],
            [label > 0 for label in labels],
        )
    )
    assert report.pooled["recall"] == pytest.approx(kept / all_)
    assert report.pooled["precision"] == 1
    assert report.mean["recall"] == pytest.approx(np.mean([row["recall"] for row in report.images]))
    assert report.pooled["recall"] != report.mean["recall"]
    for name in FIGURES - {"precision"}:
        low, high = report.intervals[name]
        assert low <= report.pooled[name] <= high
        assert low < high


def test_a_row_per_image_and_the_story_are_in_the_report(items):
    seen = []
    predictor = Fixed(items, lambda label: label)
    report = evaluate(predictor, items, 7, seen.append, {"command": "evaluate x"})
    content = json.loads(json.dumps(report.as_dict()))
    assert seen == items
    assert [row["id"] for row in content["images"]] == [item.id for item in items]
    assert all(FIGURES <= set(row) for row in content["images"])
    assert content["images"][0]["seconds"] == 0.25
    about = content["about"]
    assert (about["seed"], about["images"], about["command"]) == (7, len(items), "evaluate x")
    assert len(about["data"]) == 16
    assert "torch" in about["versions"]
    assert content["confidence"] == 0.95


def test_intervals_repeat_with_the_seed(items):
    predictor = Fixed(items, lambda label: label * (label % 2))
    one, again, other = (evaluate(predictor, items, seed).intervals for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_a_mask_label_is_compared_by_its_components(items, tmp_path):
    from PIL import Image as PillowImage

    mask = (read_label(items[0].label) > 0).astype(np.uint8) * 255
    PillowImage.fromarray(mask).save(tmp_path / "mask.png")
    item = replace(items[0], label=tmp_path / "mask.png")
    report = evaluate(Fixed([item], lambda label: as_instances(label)), [item])
    assert report.pooled["ap"] == 1


def test_nothing_to_evaluate_and_missing_labels_are_refused(items):
    predictor = Fixed(items, lambda label: label)
    with pytest.raises(InputError, match="nothing to evaluate: no labelled images"):
        evaluate(predictor, [])
    with pytest.raises(InputError, match=f"'{items[0].id}' has no label; evaluation needs one"):
        evaluate(predictor, [replace(items[0], label=None)])
    with pytest.raises(InputError, match="label has 64 rows"):
        wrong = replace(items[0], image=items[0].label.parent / "absent.png")
        assert read_image(items[0].image).shape == (64, 64)
        evaluate(predictor, [replace(wrong, image=_crop(items[0].image))])


def _crop(path):
    from PIL import Image as PillowImage

    target = path.parent.parent / "crop.png"
    PillowImage.open(path).crop((0, 0, 40, 40)).save(target)
    return target


SIZES = (100, 40, 0, 0, 0)  # pixels of the structure in five images of 20 x 20


@pytest.fixture
def rare(tmp_path) -> list[Item]:
    """Five images, two of them with a structure."""
    from PIL import Image as PillowImage

    items = []
    for index, size in enumerate(SIZES):
        label = (np.arange(400) < size).astype(np.uint8).reshape(20, 20)
        names = tmp_path / f"{index}.png", tmp_path / f"{index}_label.png"
        for path, array in zip(names, (100 + 100 * label, label), strict=True):
            PillowImage.fromarray(array).save(path)
        items.append(Item(f"image_{index}", *names))
    return items


class Sure(Fixed):
    """Answers by a rule on the label, with a given presence for each image."""

    def __init__(self, items, rule, presence=None, row="nuclei_vhllrhe"):
        super().__init__(items, rule)
        self.task = TASKS[row]
        self.presence = dict(zip(self.labels, presence or [None] * len(items), strict=True))

    def __call__(self, image):
        return replace(super().__call__(image), presence=self.presence[image.path])


def _partly(label):
    """Find all of the large structure and the upper half of the small one."""
    share = 1 if label.sum() == 100 else 0.5
    return label * (np.cumsum(label).reshape(label.shape) <= share * label.sum())


def test_structures_that_images_lack_are_scored_by_image(rare):
    predictor = Sure(rare, _partly, (0.9, 0.3, 0.3, 0.1, 0.2), "nerve_vhllrhe")
    report = evaluate(predictor, rare, seed=3)
    found = dict(report.presence)
    assert (found["images_with"], found["images_without"]) == (2, 3)
    assert found["dice_kaggle"] == pytest.approx((1 + 2 / 3 + 3) / 5)
    assert found["dice_positive"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["found"] == 1
    assert found["presence_auc"] == pytest.approx((3 + 2.5) / 6)
    assert [row["presence"] for row in report.images] == [0.9, 0.3, 0.3, 0.1, 0.2]
    empty = {"dice_kaggle": 0.6, "dice_positive": 0.0, "found": 0.0}
    assert found["always_empty"] == pytest.approx(empty)
    for name in ("dice_kaggle", "dice_positive", "found", "presence_auc"):
        low, high = found["intervals"][name]
        assert 0 <= low <= found[name] <= high <= 1
    assert found["intervals"]["dice_kaggle"][0] < found["dice_kaggle"]
    assert json.loads(json.dumps(report.as_dict()))["presence"]["images_without"] == 3


def test_intervalspresence_figures_are_those_of_images_drawn_again(rare):
    report = evaluate(Sure(rare, _partly, (0.9, 0.3, 0.3, 0.1, 0.2)), rare, seed=3)
    draws = np.random.default_rng(3).integers(5, size=(RESAMPLES, 5))
    dice = np.array([1, 2 / 3, 1, 1, 1])
    wanted = np.percentile(dice[draws].mean(1), (2.5, 97.5))
    assert report.presence["intervals"]["dice_kaggle"] == pytest.approx(tuple(wanted))


def test_without_an_answered_presence_the_greatest_probability_stands_for_it(rare):
    report = evaluate(Sure(rare, _partly), rare)
    assert [row["presence"] for row in report.images] == [1, 1, 0, 0, 0]
    assert report.presence["presence_auc"] == 1


def test_where_every_image_has_the_structure_presence_is_left_out_unless_it_was_answered(rare):
    assert evaluate(Sure(rare[:2], _partly), rare[:2]).presence == {}
    report = evaluate(Sure(rare[:2], _partly, (0.9, 0.8), "nerve_vhllrhe"), rare[:2])
    assert report.presence["images_without"] == 0
    assert report.presence["presence_auc"] == 0.5, "nothing to tell apart"


def test_the_bootstrappresence_figures_takes_seconds(timed, monkeypatch):
    from lib.segmentation.evaluation import presence_figures

    rng = np.random.default_rng(0)
    columns = rng.integers(0, 99, (600, 4)) * (rng.random((600, 1)) < 0.5)
    pixels = [dict(zip(("tp", "fp", "fn", "tn"), row.tolist(), strict=True)) for row in columns]
    rows = [{"presence": value} for value in rng.random(600)]
    with timed(6):
        assert presence_figures(rows, pixels, True, 0)["images_with"] > 200
