"""How informative a label of one image, or of one exam, would be for a model.

Where several answers on one image disagree, the model has not learned it. Two ways to get several
answers need no training of their own: mirrored (exams: turned) copies of the input (Wang et al.
2019, "Aleatoric uncertainty estimation with test-time augmentation", Neurocomputing 338, section
3.2), and features dropped at random, as samples of the weights' posterior (Gal and Ghahramani 2016,
"Dropout as a Bayesian approximation", ICML, section 3; dropped at the coarsest maps, where Kendall
et al. 2017, "Bayesian SegNet", BMVC, section 4.1, find it to work best).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from lib.classification.answer import combine
from lib.classification.calibration import class_probabilities
from lib.classification.predictor import ExamPredictor
from lib.data.transforms import prepare_image
from lib.image import Image
from lib.mammography.breast import network_input
from lib.mammography.exams import Exam
from lib.networks.classifiers import MultiViewClassifier
from lib.networks.encoder_decoder import EncoderDecoder
from lib.networks.monai_network import MonaiNetwork
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import PRESENCE

EDITION = 2  # of the figures; it grows when they can no longer be compared with older ones
PASSES = 8  # with dropped features
DROPPED = 0.5  # share of the feature maps that a pass drops
LEAST = 0.1  # probability from which a pixel may belong to a structure
FLOOR = 1e-3  # share of the image that is added to these pixels, so that specks count for little
OUTLINE = 2  # pixels on either side that are near an outline
FINE = 3  # levels of the network, from the finest on, whose maps are the features of an image
TURN = 0.5  # of the largest turn in training, for the copies of an exam


@dataclass(frozen=True)
class Informativeness:
    """What was measured on one image, or on one exam.

    Attributes:
        disagreement: 0..1. For images, the soft Jaccard distance of the mirrored copies: 1 - sum of
            the lowest / sum of the highest probability of each pixel, over the pixels where any
            copy has at least `LEAST`; 0 where there is no such pixel. For exams, the Jensen-Shannon
            divergence of the turned copies, as a share of its maximum.
        entropy: entropy of the mean over the passes with dropped features, 0..1; 0 without such
            passes. For images, bits per pixel where any pass has at least `LEAST`; for exams, the
            entropy of the classes as a share of its maximum.
        margin: 0..1. For exams, 1 - (p1 - p2) of the two likeliest classes. For images, the same
            for foreground and background, as the mean over the pixels near the outlines; 0 without
            an outline.
        foreground: share of the image in which the model finds a structure, 0..1; for a labelled
            image rather that of its label. 1 for exams.
        features: float32, for distances between cases. For images, mean and standard deviation of
            each feature map of the `FINE` finest levels: they describe the look of an image (Huang
            and Belongie 2017, "Arbitrary style transfer in real-time with adaptive instance
            normalization", ICCV, section 5), while the coarsest maps hardly differ between images
            if the network was trained on few labels. For exams, the mean of the coarsest maps.
    """

    disagreement: float
    entropy: float
    margin: float
    foreground: float
    features: np.ndarray

    @property
    def empty(self) -> bool:
        """Whether there is no structure at all."""
        return self.foreground == 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "features": [float(f"{value:.6g}") for value in self.features]}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Informativeness:
        """Return what `as_dict` described."""
        return cls(**{**plain, "features": np.array(plain["features"], dtype=np.float32)})


def measure_prepared(
    predictor: Predictor,
    prepared: np.ndarray,
    seed: int = 0,
    passes: int = PASSES,
    copies: bool = True,
) -> Informativeness:
    """Measure an image prepared by `lib.data.transforms.prepare_image`, `(channels, *spatial)`."""
    network = predictor.network
    fine, coarse = _watched(network)
    style = _Style(len(fine))
    with predictor.watching(fine, style):
        whole = _structure_probability(predictor, prepared)
    answers = [whole]
    # where training mirrored nothing, one copy tells all the same which images are unsure
    mirrorings = predictor.mirrorings(prepared.ndim)[1:] or [(prepared.ndim - 1,)]
    for axes in mirrorings if copies else ():
        mirrored = np.ascontiguousarray(np.flip(prepared, axes))
        answers.append(
            np.flip(_structure_probability(predictor, mirrored), tuple(axis - 1 for axis in axes))
        )
    entropy = 0.0
    if passes:
        drop = _Dropping(seed)
        with predictor.watching(coarse, drop):
            dropped = [_structure_probability(predictor, prepared) for _ in range(passes)]
        entropy = pixel_entropy(dropped)
    mean = np.mean(answers, axis=0)
    return Informativeness(
        soft_distance(answers),
        entropy,
        outline_margin(mean),
        float((mean >= predictor.task.output.threshold).mean()),
        style.features(),
    )


def _watched(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the modules whose maps are features, and those whose maps are dropped."""
    if isinstance(network, MonaiNetwork):
        return network.fine, network.coarse
    assert isinstance(network, EncoderDecoder)
    return list(network.encoder[:FINE]), [network.encoder[-1], *network.decoder[:1]]


def soft_distance(copies: Sequence[np.ndarray]) -> float:
    """Return the `disagreement` of probabilities `(*spatial)`; see `Informativeness`."""
    least, most = np.minimum.reduce(copies), np.maximum.reduce(copies)
    inside = most >= LEAST
    return float((most - least)[inside].sum() / (most[inside].sum() + FLOOR * most.size))


def pixel_entropy(passes: Sequence[np.ndarray]) -> float:
    """Return the `entropy` of probabilities `(*spatial)`; see `Informativeness`."""
    mean = np.mean(passes, axis=0)
    inside = np.maximum.reduce(passes) >= LEAST
    p = np.clip(mean[inside], 1e-7, 1 - 1e-7).astype(np.float64)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return float(bits.sum() / (inside.sum() + FLOOR * mean.size))


def outline_margin(probabilities: np.ndarray) -> float:
    """Return the `margin` of probabilities `(*spatial)`; see `Informativeness`."""
    inside = probabilities >= 0.5
    if not inside.any() or inside.all():
        return 0.0
    near = ndimage.binary_dilation(inside, iterations=OUTLINE)
    near &= ~ndimage.binary_erosion(inside, iterations=OUTLINE, border_value=1)
    return float(1 - np.abs(2 * probabilities[near] - 1).mean())


def divergence(answers: np.ndarray) -> float:
    """Return the Jensen-Shannon divergence of `(copies, classes)` as a share of its maximum, 0..1.

    It is the entropy of the mean less the mean entropy (Lin 1991, "Divergence measures based on the
    Shannon entropy", IEEE Trans. Information Theory 37, section 4).
    """
    greatest = np.log(min(answers.shape))
    spread = _nats(answers.mean(0)) - np.mean([_nats(answer) for answer in answers])
    return float(np.clip(spread / greatest, 0, 1))


def _nats(probabilities: np.ndarray) -> float:
    p = np.clip(probabilities, 1e-12, 1)
    return float(-(p * np.log(p)).sum())


class _Dropping:
    """Drops feature maps at random, and scales the others so that their mean stays."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, output: Tensor) -> Tensor:
        shape = (*output.shape[:2], *(1,) * (output.ndim - 2))
        kept = torch.rand(shape, generator=self._random) >= DROPPED
        return output * (kept / (1 - DROPPED)).to(output)


class _Style:
    """Collects mean and standard deviation of feature maps of levels that are called in turn."""

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._statistics: list[Tensor] = []

    def __call__(self, output: Tensor) -> None:
        flat = output.float().flatten(2)
        self._statistics.append(torch.cat([flat.mean(2), flat.std(2, correction=0)], 1))

    def features(self) -> np.ndarray:
        """Return float32 `(2 * channels of all levels)`, the mean over all calls."""
        levels = [
            torch.cat(self._statistics[level :: self._levels]) for level in range(self._levels)
        ]
        return torch.cat([each.mean(0) for each in levels]).cpu().numpy()


def _structure_probability(predictor: Predictor, prepared: np.ndarray) -> np.ndarray:
    """Return the probability of a structure at each pixel, `(*spatial)`."""
    answered = predictor.task.target.answered
    maps = predictor.probabilities(prepared, flips=False)
    return maps[0] * maps[answered.index(PRESENCE)] if PRESENCE in answered else maps[0]


def measure_image(
    predictor: Predictor, case: Image, seed: int = 0, passes: int = PASSES, copies: bool = True
) -> Informativeness:
    """Measure one image; see `lib.kinds.measure`."""
    prepared = prepare_image(case, predictor.task.input)
    return measure_prepared(predictor, prepared, seed, passes, copies)


def measure_exam(
    predictor: ExamPredictor, case: Exam, seed: int = 0, passes: int = PASSES, copies: bool = True
) -> Informativeness:
    """Measure one exam; see `lib.kinds.measure`."""
    network, task = predictor.network, predictor.task
    assert isinstance(network, MultiViewClassifier)
    answer = predictor(case, tissue=False)
    answered = list(answer.views.values())
    views = [one.view for one in answered]
    inputs = np.stack([network_input(one.prepared, task.input) for one in answered])

    def answer_on(images: np.ndarray) -> np.ndarray:
        each = class_probabilities(predictor.logits(images, views), predictor.temperature)
        return combine(task.exam_rules, views, each).exam

    turn = TURN * task.augment.rotate
    turned = [
        ndimage.rotate(inputs, angle, axes=(3, 2), reshape=False, order=1)
        for angle in ((-turn, turn) if turn and copies else ())
    ]
    answers = np.stack([answer.probabilities, *(answer_on(images) for images in turned)])
    entropy = 0.0
    if passes:
        drop = _Dropping(seed)
        features_of = [one.get_submodule("features") for one in network.networks]
        with predictor.watching(features_of, drop):
            mean = np.mean([answer_on(inputs) for _ in range(passes)], axis=0)
        entropy = _nats(mean) / float(np.log(len(mean)))
    second, first = np.sort(answer.probabilities)[-2:]
    features = torch.stack([one.maps.float().flatten(1).mean(1) for one in answered]).mean(0)
    return Informativeness(
        divergence(answers) if len(answers) > 1 else 0.0,
        entropy,
        float(1 - (first - second)),
        1.0,
        features.numpy().astype(np.float32),
    )
