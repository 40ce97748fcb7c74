"""Images are told apart by a network that was never trained on mirrored ones, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.uncertainty.informativeness import measure_prepared


def test_where_training_mirrored_nothing_one_copy_is_asked_for_all_the_same():
    row = get_task("nuclei_vhllrhe")
    small = replace(row.encoder_decoder, channels=(4, 6, 8), convolutions=(1, 1, 1))
    row = replace(row, network=small, augment=replace(row.augment, flips=False))
    torch.manual_seed(0)
    predictor = Predictor(row, build_network(small), "cpu", "fp32")
    assert predictor.mirrorings(3) == [()]
    image = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    assert measure_prepared(predictor, image).disagreement > 0.001
    assert measure_prepared(predictor, image, copies=False).disagreement == 0
