"""Which images, or exams, to label next: strategies of active learning over what was measured.

* ``random`` and ``first`` are the baselines; they look at no measurement.
* ``uncertainty``, ``dropout_entropy``, ``margin`` and ``entropy`` take the greatest of a figure of
  `Informativeness` (Settles 2009, "Active learning literature survey", sections 3.1 and 3.2).
* ``diversity`` covers the images: again and again the one that, labelled, brings all others
  nearest to a labelled one: the greatest gain(i) = sum over images j of max(0, n(j) - d(i, j)),
  where d is the distance of features and n(j) that of j to its nearest labelled or chosen image
  (the greedy k-medoids of Kaufman and Rousseeuw 1990, "Finding groups in data", chapter 2, phase
  BUILD; as submodular coverage Wei et al. 2015, "Submodularity in data subset selection and active
  learning", ICML). Where labels are few, what is typical of many teaches more than what is far from
  all, which k-centre takes (Hacohen et al. 2022, "Active learning on a budget", ICML, section 2).
  Features are standardised over all images, so that no channel rules by its scale.
* ``combined`` covers what is uncertain: the same with each j weighed by its disagreement u(j),
  gain(i) = sum of u(j) max(0, n(j) - d(i, j)). It takes images that stand for many doubtful ones,
  as Yang et al. 2017 ("Suggestive annotation", MICCAI, section 2.3) seek by a list of the most
  uncertain of which the most representative are taken; without such a list an image that is like
  no other is not taken for its own doubt alone.

Empty images. Where a structure is often absent, images without it look alike and teach little, but
a measure may prefer them. So all strategies but ``random`` and ``first`` limit the images in which
the model finds nothing to the share of empty ones among the labelled images, rounded up; they take
more only if nothing else is left. If no labelled image is empty there is no limit: the model then
most likely fails on an image in which it finds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import InputError, choose
from lib.uncertainty.informativeness import Informativeness

REPRESENTED = 2000  # images that stand for all, where there are more

Next = Callable[[np.ndarray], int]  # which images may be chosen, bool (images) -> index of one
Start = Callable[[Sequence[Informativeness], Sequence[Informativeness], int], Next]


@dataclass(frozen=True)
class Strategy:
    """One way to choose.

    Attributes:
        description: one line for users.
        start: takes the images to choose from, the labelled ones and the count; returns a function
            that picks the next image among those that may be chosen, after those it has picked.
        measures: whether it looks at what `measure` returns.
        copies: whether it looks at `disagreement`, which costs the mirrored or turned copies.
        dropout: whether it looks at `entropy`, which costs the passes with dropped features.
        limits_empty: whether empty images are limited.
    """

    description: str
    start: Start
    measures: bool = True
    copies: bool = True
    dropout: bool = False
    limits_empty: bool = True


def choose_next(
    strategy: str,
    pool: Mapping[str, Informativeness],
    labelled: Mapping[str, Informativeness],
    count: int,
    rng: np.random.Generator,
) -> list[str]:
    """Return ids of `pool` to label next, the best first; all of them if there are no more.

    The same arguments and random state give the same ids. Ties are broken at random; ``first``
    keeps the order of `pool`.

    Args:
        strategy: a name of `STRATEGIES`.
        pool: what was measured on the images without a label.
        labelled: the same for the labelled images, with the same weights; `foreground` should be
            that of the label.
        count: how many, at least 0.

    Raises:
        NotFoundError: no such strategy; the message names the nearest one.
        InputError: features of different lengths, as those of different networks have.
    """
    chosen_strategy = choose("strategy", strategy, STRATEGIES)
    ids = list(pool) if strategy == "first" else rng.permutation(sorted(pool)).tolist()
    images = [pool[id] for id in ids]
    others = [labelled[id] for id in sorted(labelled)]
    if len(lengths := {len(each.features) for each in (*images, *others)}) > 1:
        raise InputError(
            f"features of lengths {sorted(lengths)}, expected one: they were measured with "
            f"different networks; measure all images with the same weights"
        )
    count = min(count, len(ids))
    empty = np.array([each.empty for each in images], dtype=bool)
    room = _room(others, count) if chosen_strategy.limits_empty else count
    pick = chosen_strategy.start(images, others, count)
    free, chosen = np.ones(len(ids), dtype=bool), []
    for _ in range(count):
        allowed = free & ~empty if room <= 0 else free
        index = pick(allowed if allowed.any() else free)
        free[index] = False
        room -= int(empty[index])
        chosen.append(ids[index])
    return chosen


def _room(labelled: Sequence[Informativeness], count: int) -> int:
    """Return how many empty images may be among `count`."""
    empty = sum(each.empty for each in labelled)
    return math.ceil(count * empty / len(labelled)) if empty else count


def _in_order(
    images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
) -> Next:
    return lambda allowed: int(np.flatnonzero(allowed)[0])


def _greatest(score: Callable[[Informativeness], float]) -> Start:
    """Return the strategy that takes the images of greatest score."""

    def start(
        images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
    ) -> Next:
        scores = np.array([score(each) for each in images])
        return lambda allowed: int(np.where(allowed, scores, -np.inf).argmax())

    return start


def _cover(weight: Callable[[Informativeness], float]) -> Start:
    """Return the strategy that brings all images, each by its weight, nearest to a labelled one."""

    def start(
        images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
    ) -> Next:
        if not images:
            return lambda allowed: 0
        features = np.stack([each.features for each in (*images, *labelled)]).astype(np.float64)
        spread = features.std(0)
        features = (features - features.mean(0)) / np.where(spread > 0, spread, 1)
        candidates, labelled_features = features[: len(images)], features[len(images) :]
        covered = candidates[:REPRESENTED]  # the images come in random order
        weights = np.array([weight(each) for each in images[:REPRESENTED]])
        apart = _distances(candidates, covered)
        nearest = np.full(len(covered), apart.max())
        if labelled:
            nearest = _distances(labelled_features, covered).min(0)

        def pick(allowed: np.ndarray) -> int:
            gains = np.maximum(nearest - apart, 0) @ weights
            index = int(np.where(allowed, gains, -np.inf).argmax())
            np.minimum(nearest, apart[index], out=nearest)
            return index

        return pick

    return start


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the distance of each row of `one` to each of `other`, by one matrix product."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * (one @ other.T)
    return np.sqrt(np.maximum(squares, 0))


STRATEGIES: dict[str, Strategy] = {
    "random": Strategy("any image", _in_order, measures=False, limits_empty=False),
    "first": Strategy("the images as they come", _in_order, measures=False, limits_empty=False),
    "uncertainty": Strategy(
        "copies of the image, mirrored or turned, are answered differently",
        _greatest(lambda each: each.disagreement),
    ),
    "dropout_entropy": Strategy(
        "the answer is unsure if features are dropped",
        _greatest(lambda each: each.entropy),
        copies=False,
        dropout=True,
    ),
    "diversity": Strategy(
        "like many images that no labelled one is like", _cover(lambda each: 1.0), copies=False
    ),
    "combined": Strategy(
        "like many uncertain images that no labelled one is like",
        _cover(lambda each: each.disagreement),
    ),
    "margin": Strategy(
        "the two likeliest classes are near each other",
        _greatest(lambda each: each.margin),
        copies=False,
    ),
    "entropy": Strategy(
        "the classes are unsure if features are dropped",
        _greatest(lambda each: each.entropy),
        copies=False,
        dropout=True,
    ),
}
MAP_STRATEGIES = ("random", "first", "uncertainty", "dropout_entropy", "diversity", "combined")
CLASS_STRATEGIES = ("random", "first", "uncertainty", "diversity", "combined", "margin", "entropy")
