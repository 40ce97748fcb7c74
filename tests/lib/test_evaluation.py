"""Evaluation gives what it promises, from figures a hand can check."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lib.errors import InputError
from lib.evaluation import evaluate
from lib.images import read_image
from lib.inference import Prediction
from lib.masks import read_label
from lib.targets import as_instances
from lib.tasks import TASKS

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

    device, dtype, flips = "cpu", "torch.float32", False

    def __init__(self, items, rule):
        self.task = TASKS["nuclei_vhllrhe"]
        self.labels = {item.image: read_label(item.label) for item in items}
        self.rule = rule

    def __call__(self, image):
        instances = self.rule(self.labels[image.path]).astype(np.int32)
        mask = (instances > 0).astype(np.uint8)
        return Prediction(mask[np.newaxis].astype(np.float32), mask, instances, {"infer": 0.25})


def test_the_right_answer_scores_one(items):
    report = evaluate(Fixed(items, lambda label: label), items)
    assert report.pooled == dict.fromkeys(FIGURES, 1.0)
    assert report.mean == dict.fromkeys(FIGURES, 1.0)
    assert set(report.intervals.values()) == {(1.0, 1.0)}


def test_an_empty_answer_scores_half_the_background(items):
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
