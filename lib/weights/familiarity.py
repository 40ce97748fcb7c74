"""How far an image is from those that a network was trained on.

The features of an image are the means of the encoder's maps. Those of the training images are taken
as normally distributed, with the covariance of a probabilistic principal component analysis
(Tipping and Bishop 1999), which a few images are enough for. The distance of Mahalanobis to them is
what Lee et al. (2018, "A simple unified framework for detecting out-of-distribution samples")
measure. How far is too far, the distances of the validation images tell.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from typing_extensions import Self

logger = logging.getLogger(__name__)

KEY = "familiarity"  # in `lib.weights.checkpoint.Checkpoint.answer`
QUANTILE = 0.99  # of images like those trained on, that are not warned of
LEAST_TRAINING, LEAST_VALIDATION = 5, 2
AXES = 32  # principal axes, at most
IMAGES_PER_AXIS = 4  # training images, at least
LEAST_SCALE = 0.1  # standard deviation of a feature, as a share of the median one
FARTHEST = 1e9  # distance
DIGITS = 5  # of the numbers that are stored


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """The features of the images that a network was trained on.

    Attributes:
        mean, scale: of each feature, `(features)`; features are centred and divided by them.
        axes: principal axes of these, `(axes, features)`, of length 1.
        spread: variances along the axes, `(axes)`.
        rest: variance along each direction that is none of the axes.
        limit: distance from which on an image is unfamiliar.
        training, validation: numbers of images that all this is from.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    rest: float
    limit: float
    training: int
    validation: int

    @classmethod
    def fit(cls, training: np.ndarray, validation: np.ndarray) -> Self | None:
        """Return what features of images tell; None where there are too few images.

        Args:
            training: `(images, features)`, of images that the weights were trained on.
            validation: the same of images held out, which set the limit.
        """
        training, validation = np.asarray(training, float), np.asarray(validation, float)
        if len(training) < LEAST_TRAINING or len(validation) < LEAST_VALIDATION:
            return None
        from sklearn.decomposition import PCA  # takes a second to import

        deviation = training.std(axis=0)
        floor = max(LEAST_SCALE * float(np.median(deviation)), 1e-6)
        mean, scale = training.mean(axis=0), np.maximum(deviation, floor)
        count = max(1, min(AXES, len(training) // IMAGES_PER_AXIS, training.shape[1] - 1))
        model = PCA(count, svd_solver="full").fit((training - mean) / scale)
        rest = max(float(model.noise_variance_), 1e-6)
        unlimited = cls(
            mean=mean,
            scale=scale,
            axes=model.components_,
            spread=np.maximum(model.explained_variance_, rest),
            rest=rest,
            limit=1.0,
            training=len(training),
            validation=len(validation),
        )
        limit = limit_of([unlimited.distance(features) for features in validation])
        return cls(**{**vars(unlimited), "limit": limit}) if math.isfinite(limit) else None

    def distance(self, features: np.ndarray) -> float:
        """Return how far features `(features)` are from those of training, in their deviations.

        It is `FARTHEST` for features that are no numbers.
        """
        if not np.isfinite(features).all():
            return FARTHEST
        centred = (features - self.mean) / self.scale
        along = self.axes @ centred
        across = max(float(centred @ centred - along @ along), 0.0)
        squared = float((along**2 / self.spread).sum()) + across / self.rest
        return math.sqrt(squared / len(self.mean))

    def strangeness(self, features: np.ndarray) -> float:
        """Return the distance as a share of the limit: above 1 an image is unfamiliar."""
        return self.distance(features) / self.limit

    def as_plain(self) -> dict[str, Any]:
        """Return it as plain data for a checkpoint."""

        def rounded(value: Any) -> Any:
            if isinstance(value, list):
                return [rounded(one) for one in value]
            return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

        plain = {name: np.asarray(value).tolist() for name, value in vars(self).items()}
        return {name: rounded(value) for name, value in plain.items()}

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self | None:
        """Return what a checkpoint's `answer` holds; None where it holds none, or a damaged one."""
        stored = answer.get(KEY)
        if stored is None:
            return None
        try:
            arrays = {n: np.array(stored[n], float) for n in ("mean", "scale", "axes", "spread")}
            numbers = {name: float(stored[name]) for name in ("rest", "limit")}
            counts = {name: int(stored[name]) for name in ("training", "validation")}
            found = cls(**arrays, **numbers, **counts)  # type: ignore[arg-type]
            if not found._is_sound():
                raise ValueError("numbers that do not fit each other")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            logger.warning(
                f"What images weights are for is damaged, no image is warned of: {error}"
            )
            return None
        return found

    def _is_sound(self) -> bool:
        count = len(self.spread) if self.spread.ndim == 1 else -1
        shapes = self.mean.shape == self.scale.shape and self.mean.ndim == 1
        positive = [*self.scale, *self.spread, self.rest, self.limit]
        return (
            shapes
            and self.axes.shape == (count, len(self.mean))
            and bool(np.isfinite([*self.mean, *self.axes.ravel(), *positive]).all())
            and min(positive) > 0
        )


def limit_of(distances: Sequence[float]) -> float:
    """Return the distance that one further image stays below with probability `QUANTILE`.

    It is the greater of that quantile of the distances, and the prediction bound of their
    logarithms as a normal distribution, which grows as they become fewer.
    """
    logs = np.log(np.maximum(distances, 1e-12))
    factor = special.stdtrit(len(logs) - 1, QUANTILE) * math.sqrt(1 + 1 / len(logs))
    bound = math.exp(min(float(logs.mean() + factor * logs.std(ddof=1)), 700.0))
    return max(bound, float(np.quantile(distances, QUANTILE, method="higher")))


def warned_left_out(distances: Sequence[float]) -> int:
    """Return how many images lie beyond the limit that the others alone would set."""
    others = [[*distances[:index], *distances[index + 1 :]] for index in range(len(distances))]
    return sum(one > limit_of(rest) for one, rest in zip(distances, others, strict=True))


def warnings_of(strangeness: float | None, what: str = "This image looks") -> list[str]:
    """Return what a user is to know of an image, in sentences; empty if it looks familiar.

    Args:
        strangeness: see `Familiarity.strangeness`; None where nothing is known, infinite for an
            image that is the same everywhere.
        what: begins the sentence.
    """
    if strangeness is None or strangeness <= 1:
        return []
    if strangeness == math.inf:
        return ["This image is the same everywhere: there is nothing in it to find"]
    far = f"{strangeness:.1f} times" if strangeness < 100 else "more than 100 times"
    return [
        f"{what} unlike those that the model was trained on ({far} as far from them as "
        f"{QUANTILE:.0%} of such images are): check the answer, or train on labels of such images"
    ]


def doubts(strangeness: float | None) -> dict[str, Any]:
    """Return what an answer tells of it: ``warnings`` and, where it is known, ``strangeness``."""
    return {"warnings": warnings_of(strangeness), **strangeness_told(strangeness)}


def strangeness_told(strangeness: float | None) -> dict[str, float]:
    """Return ``strangeness`` in three digits, where it is known."""
    return {} if strangeness is None else {"strangeness": round(min(strangeness, 1e6), 3)}
