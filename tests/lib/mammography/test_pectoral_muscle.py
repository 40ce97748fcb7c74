"""The muscle is found whatever its shape, is never dense tissue, and is not made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mammogram_samples import exam, write_mg

from lib.mammography.breast import prepare_breast
from lib.mammography.dense_tissue import dense_mask
from lib.mammography.mammogram import Mammogram, read_mammogram
from lib.phantoms.mammograms.formation import Anatomy, form_view, power_noise

SHAPE, SPACING = (448, 336), 0.5  # mm
EDGES = {  # reach of the muscle over depth below the top, both 0..1
    "straight": lambda y: 1 - y,
    "convex": lambda y: 1 - y**1.4,
    "concave": lambda y: (1 - y) ** 1.5,
    "bent": lambda y: 1 - y + 0.12 * np.sin(2 * np.pi * y),
}


def _with_muscle(tmp_path, edge, contrast=0.3, height=0.6, reach=0.42, seed=0, fraction=0.25):
    """Return an oblique phantom with a muscle of a given edge, its mask and that of the gland."""
    rng = np.random.default_rng(seed)
    anatomy = replace(Anatomy.draw(rng), muscle=0.0, depth=95)
    formed = form_view(rng, anatomy, fraction, True, SHAPE, SPACING)
    y = np.clip(np.arange(SHAPE[0]) / (height * SHAPE[0]), 0, 1)
    width = reach * anatomy.depth / SPACING * np.clip(EDGES[edge](y), 0, None) * (y < 1)
    muscle = (SHAPE[1] - np.arange(SHAPE[1]) <= width[:, None]) & formed.breast
    fat = float(np.median(formed.grey[formed.breast & ~formed.dense]))
    texture = 0.03 * power_noise(rng, SHAPE, 1.2)
    grey = np.where(muscle, fat + contrast + texture, formed.grey).clip(0, 1).astype(np.float32)
    view = read_mammogram(write_mg(tmp_path / "a.dcm", 2)).view
    mammogram = Mammogram(
        pixels=grey,
        view=view,
        modifiers=(),
        spacing=None,
        orientation=None,
        path=tmp_path / "phantom",
    )
    return mammogram, muscle, formed.dense & ~muscle


def _dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize(
    ("edge", "contrast"), [*((edge, 0.3) for edge in EDGES), ("straight", 0.2), ("concave", 0.2)]
)
def test_a_muscle_of_any_edge_is_found_and_is_not_dense(tmp_path, edge, contrast):
    for seed in range(3):
        mammogram, muscle, _ = _with_muscle(tmp_path, edge, contrast, seed=seed)
        prepared = prepare_breast(mammogram, 320)
        tissue = dense_mask(prepared)
        assert _dice(prepared.undo(tissue.muscle), muscle) > 0.85
        assert (prepared.undo(tissue.mask) & muscle).sum() < 0.05 * muscle.sum()


@pytest.mark.parametrize(("height", "reach"), [(0.25, 0.25), (0.8, 0.5)])
def test_short_and_long_muscles_are_found(tmp_path, height, reach):
    mammogram, muscle, _ = _with_muscle(tmp_path, "straight", height=height, reach=reach)
    prepared = prepare_breast(mammogram, 320)
    assert _dice(prepared.undo(dense_mask(prepared).muscle), muscle) > 0.8


def test_a_view_without_a_muscle_has_none(tmp_path):
    for seed in range(4):
        mammogram, _, dense = _with_muscle(tmp_path, "straight", reach=0.0, seed=seed)
        tissue = dense_mask(prepare_breast(mammogram, 320))
        assert not tissue.muscle.any()
        assert tissue.mask.any() and dense.any()


def test_a_cranio_caudal_view_has_no_muscle(tmp_path):
    assert exam().views[0].view.projection == "CC"
    prepared = prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm", 0)), 256)
    assert not dense_mask(prepared).muscle.any()
