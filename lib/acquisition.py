"""Which images, or exams, to label next: strategies of active learning over what was measured.

* ``random`` and ``first`` are what the others must beat; they look at nothing.
* ``uncertainty``, ``dropout_entropy``, ``margin`` and ``entropy`` take the greatest of a figure of
  `Informativeness` (Settles 2009, "Active learning literature survey", sections 3.1 and 3.2).
* ``diversity`` covers the features: k-centre greedy (Sener and Savarese 2018, "Active learning for
  convolutional neural networks: a core-set approach", ICLR, section 4.2, algorithm 1): again and
  again the image whose nearest labelled or chosen one is farthest. Features are standardised over
  all images, so that no channel rules by its scale.
* ``combined`` covers with the uncertain (after Yang et al. 2017, "Suggestive annotation", MICCAI,
  section 2.3, which takes the most uncertain first and of these the representative): of n to
  choose, the `SHORTLIST` x n images of greatest disagreement stand for election, and k-centre
  greedy elects n of them.

Empty images. Where a structure is often absent, images without it look alike and are cheap to
tell, but a measure may fall for them. Of those in which the model sees nothing, all strategies but
``random`` and ``first`` take at most the share that is empty among the labelled, rounded up; the
others only where nothing else is left. Where no labelled image is empty there is no such limit: an
image in which the model sees nothing is then most likely one that it fails on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import InputError, choose
from lib.informativeness import Informativeness, measure, measure_prepared

__all__ = [
    "STRATEGIES",
    "Informativeness",
    "Strategy",
    "choose_next",
    "measure",
    "measure_prepared",
    "strategies_for",
]

SHORTLIST = 4
OUTLINES = ("segmentation", "interactive")
ALL = (*OUTLINES, "classification")

Next = Callable[[np.ndarray], int]  # from who may be chosen, bool (images), to who is


@dataclass(frozen=True)
class Strategy:
    """One way to choose.

    Attributes:
        description: one line for users.
        start: from images to choose from, labelled ones and how many, returns what names the
            next one of those that may be chosen; it takes account of those it has named.
        kinds: of tasks that it is for.
        measures: whether it looks at what `measure` returns.
        copies: whether it looks at `disagreement`, which costs the mirrored or turned copies.
        dropout: whether it looks at `entropy`, which costs the passes with dropped features.
        limits_empty: whether empty images are limited.
    """

    description: str
    start: Callable[[Sequence[Informativeness], Sequence[Informativeness], int], Next]
    kinds: tuple[str, ...] = ALL
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
        pool: what was measured of the images without a label.
        labelled: the same of the labelled ones, by the same weights; `foreground` better of the
            label than of the model.
        count: how many, at least 0.

    Raises:
        NotFoundError: no such strategy; the message names the nearest one.
        InputError: features of different lengths, as those of different networks have.
    """
    chosen_way = choose("strategy", strategy, STRATEGIES)
    ids = list(pool) if strategy == "first" else _shuffled(sorted(pool), rng)
    images = [pool[id] for id in ids]
    known = [labelled[id] for id in sorted(labelled)]
    if len(lengths := {len(each.features) for each in (*images, *known)}) > 1:
        raise InputError(
            f"features of lengths {sorted(lengths)}, expected one: they were measured with "
            f"different networks; measure all images with the same weights"
        )
    count = min(count, len(ids))
    empty = np.array([each.empty for each in images], dtype=bool)
    room = _room(known, count) if chosen_way.limits_empty else count
    name_next = chosen_way.start(images, known, count)
    free, chosen = np.ones(len(ids), dtype=bool), []
    for _ in range(count):
        allowed = free & ~empty if room <= 0 else free
        place = name_next(allowed if allowed.any() else free)
        free[place] = False
        room -= int(empty[place])
        chosen.append(ids[place])
    return chosen


def strategies_for(kind: str) -> dict[str, Strategy]:
    """Return the strategies for a kind of task."""
    return {name: one for name, one in STRATEGIES.items() if kind in one.kinds}


def _shuffled(ids: list[str], rng: np.random.Generator) -> list[str]:
    return [ids[place] for place in rng.permutation(len(ids))]


def _room(labelled: Sequence[Informativeness], count: int) -> int:
    """Return how many empty images may be among `count`."""
    empty = sum(each.empty for each in labelled)
    return math.ceil(count * empty / len(labelled)) if empty else count


def _in_order(
    images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
) -> Next:
    return lambda allowed: int(np.flatnonzero(allowed)[0])


def _greatest(
    score: Callable[[Informativeness], float],
) -> Callable[[Sequence[Informativeness], Sequence[Informativeness], int], Next]:
    """Return the strategy that takes the images of greatest score."""

    def start(
        images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
    ) -> Next:
        scores = np.array([score(each) for each in images])
        return lambda allowed: int(np.where(allowed, scores, -np.inf).argmax())

    return start


def _k_centre(
    images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
) -> Next:
    """Cover: the image farthest from what is labelled or chosen; the most central one at first."""
    if not images:
        return lambda allowed: 0
    features = np.stack([each.features for each in (*images, *labelled)]).astype(np.float64)
    spread = features.std(0)
    features = (features - features.mean(0)) / np.where(spread > 0, spread, 1)
    own, known = features[: len(images)], features[len(images) :]
    if len(known):
        nearest = _distances(own, known).min(1)
    else:
        nearest = 1 / (1 + np.linalg.norm(own, axis=1))

    first = not len(known)

    def name_next(allowed: np.ndarray) -> int:
        nonlocal nearest, first
        place = int(np.where(allowed, nearest, -np.inf).argmax())
        distance = np.linalg.norm(own - own[place], axis=1)
        nearest = distance if first else np.minimum(nearest, distance)
        first = False
        return place

    return name_next


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the distance of each row of `one` to each of `other`, by one matrix product."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * (one @ other.T)
    return np.sqrt(np.maximum(squares, 0))


def _uncertain_cover(
    images: Sequence[Informativeness], labelled: Sequence[Informativeness], count: int
) -> Next:
    """Cover with the images of greatest disagreement."""
    scores = np.array([each.disagreement for each in images])
    cover = _k_centre(images, labelled, count)
    taken = 0

    def name_next(allowed: np.ndarray) -> int:
        nonlocal taken
        ranked = np.argsort(np.where(allowed, -scores, np.inf), kind="stable")
        shortlist = np.zeros(len(scores), dtype=bool)
        shortlist[ranked[: max(1, SHORTLIST * count - taken)]] = True
        taken += 1
        return cover(shortlist & allowed)

    return name_next


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
        OUTLINES,
        copies=False,
        dropout=True,
    ),
    "diversity": Strategy("least like what is labelled", _k_centre, copies=False),
    "combined": Strategy("uncertain, and unlike what is labelled", _uncertain_cover),
    "margin": Strategy(
        "the two likeliest classes are near each other",
        _greatest(lambda each: each.margin),
        ("classification",),
        copies=False,
    ),
    "entropy": Strategy(
        "the classes are unsure if features are dropped",
        _greatest(lambda each: each.entropy),
        ("classification",),
        copies=False,
        dropout=True,
    ),
}
