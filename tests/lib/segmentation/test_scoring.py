"""Validation figures are those of answering and counting one case after the other."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.data.ignore import UNKNOWN
from lib.networks import build_network
from lib.segmentation import scoring
from lib.segmentation.metrics import PIXEL_COUNTS, image_scores, pixel_counts, pixel_scores
from lib.segmentation.predictor import Predictor
from lib.segmentation.scoring import answered_mask, score_masks
from lib.tasks.image_spec import OutputSpec, TargetSpec


def _one_by_one(predictor: Predictor, cases) -> dict[str, float]:
    """Return what `score_masks` does, by NumPy on the host, as it was done before."""
    table = []
    for image, target in (cases[index] for index in range(len(cases))):
        maps = predictor.probabilities(image.astype(np.float32), flips=False)
        answered = predictor.task.target.answered
        mask, sure = answered_mask(maps, answered, predictor.task.output)
        labelled = target[0] != UNKNOWN
        counts = pixel_counts(mask, target[0], labelled)
        table.append([*counts.values(), sure[labelled].max(), labelled.all()])
    *columns, presence, whole = np.array(table, float).T
    counts = dict(zip(PIXEL_COUNTS, columns, strict=True))
    pooled = pixel_scores({name: column.sum() for name, column in counts.items()})
    figures = {**pooled, **image_scores(counts, presence, whole=whole > 0)}
    return {name: float(value) for name, value in figures.items()}


class Cases(SimpleNamespace):
    def __len__(self):
        return len(self.cases)

    def __getitem__(self, index):
        return self.cases[index]


def _cases(task, shapes) -> Cases:
    rng, cases = np.random.default_rng(0), []
    for number, shape in enumerate(shapes):
        target = np.zeros((len(task.target.maps), *shape), np.int8)
        if number % 2:
            target[..., 4:12, 3:14] = 1
        if number % 3 == 1:
            target[..., : shape[-1] // 2] = UNKNOWN
        cases.append((rng.random((1, *shape)).astype(np.float16), target))
    return Cases(task=task, cases=cases)


@pytest.fixture
def predictor(task) -> Predictor:
    """Answers foreground and presence at random; half of the pixels are foreground."""
    torch.manual_seed(0)
    network = replace(
        task.network,
        channels=(4, 8),
        convolutions=(1, 1),
        norm="instance",
        out_channels=2,
        pooled_channels=1,
    )
    spec = TargetSpec(maps=("foreground", "presence"))
    row = replace(task, network=network, target=spec, output=OutputSpec())
    found = Predictor(row, build_network(network).eval(), "cpu", "fp32")
    return found


def _tune(predictor: Predictor, cases: Cases) -> None:
    """Let half of the pixels be foreground, in half of the cases."""
    maps = [predictor.probabilities(case[0].astype(np.float32)) for case in cases.cases]
    output = OutputSpec(
        threshold=float(np.median(np.concatenate([each[0].ravel() for each in maps]))),
        presence_threshold=float(np.median([each[1].max() for each in maps])) - 1e-4,
    )
    predictor.task = replace(predictor.task, output=output)


SIZES = {
    "images": ((24, 24), (24, 24), (20, 28), (24, 24), (20, 28), (32, 16), (24, 24)),
    "slices": ((3, 24, 24), (3, 24, 24), (5, 24, 24), (3, 24, 24), (9, 16, 20)),
}


@pytest.mark.parametrize("at_once", [1, 1200, 10**6])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=list(SIZES))
def test_cases_are_scored_together_as_one_by_one(predictor, sizes, at_once, monkeypatch):
    monkeypatch.setitem(scoring.AT_ONCE, "cpu", at_once)
    cases = _cases(predictor.task, sizes)
    _tune(predictor, cases)
    wanted = _one_by_one(predictor, cases)
    assert 0 < wanted["fg_dice"] < 0.9 and wanted["presence_auc"] > 0
    assert score_masks(predictor, cases) == pytest.approx(wanted, abs=1e-3)
    if at_once == 1 and sizes is SIZES["images"]:
        assert score_masks(predictor, cases) == wanted


def test_images_of_one_size_are_answered_together(predictor, monkeypatch):
    monkeypatch.setitem(scoring.AT_ONCE, "cpu", 1200)
    seen: list[tuple[int, ...]] = []
    predictor.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    score_masks(predictor, _cases(predictor.task, SIZES["images"]))
    assert sorted(shape[0] for shape in seen) == [1, 1, 2, 3]  # 1,200 pixels, and what is left


def test_figures_of_processes_that_share_the_cases_are_the_same(predictor, monkeypatch):
    cases, tables = _cases(predictor.task, SIZES["images"]), []
    _tune(predictor, cases)
    wanted = score_masks(predictor, cases)
    for rank in (0, 1):
        monkeypatch.setattr(scoring, "own_indices", lambda count, rank=rank: range(rank, count, 2))
        monkeypatch.setattr(scoring, "over_processes", lambda table: tables.append(table) or table)
        score_masks(predictor, cases)
    monkeypatch.setattr(scoring, "own_indices", lambda count: range(0))
    monkeypatch.setattr(scoring, "over_processes", lambda _: tables[0] + tables[1])
    assert score_masks(predictor, cases) == wanted
