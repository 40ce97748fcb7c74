"""Copies of images are found also when they are cropped, marked or brightened."""

from __future__ import annotations

import numpy as np
from duplicates_samples import image, marked

from lib.datasets.duplicates import Pair, groups_of, signature, similar_pairs


def test_copies_are_alike_and_other_images_are_not():
    images = [image(seed) for seed in range(6)]
    signatures = [signature(image) for image in images]
    assert similar_pairs(signatures) == []
    moved = [signature(np.roll(images[0], 6, axis=1)), signature(marked(images[0]))]
    pairs = similar_pairs([signatures[0], *moved])
    assert {(pair.a, pair.b) for pair in pairs} >= {(0, 1), (0, 2)}
    (same,) = similar_pairs([signatures[1], signature(images[1] // 2)])
    assert same.correlation > 0.9


def test_an_image_without_structure_is_like_nothing():
    flat = signature(np.full((20, 30), 9, np.uint8))
    assert not flat.any()
    assert similar_pairs([flat, flat]) == []
    assert similar_pairs([flat]) == []


def test_images_linked_through_others_are_one_group():
    pairs = [Pair(4, 3, 0.9), Pair(1, 3, 0.5), Pair(0, 2, 0.4)]
    assert groups_of(6, pairs) == [0, 1, 0, 1, 1, 5]
