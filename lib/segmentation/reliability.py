"""Whether probabilities of pixels are what they say: of those with 0.8, four in five foreground."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 10


class Reliability:
    """Counts foreground pixels by their predicted probability, image by image."""

    def __init__(self) -> None:
        self._pixels = np.zeros(BINS, np.int64)
        self._foreground = np.zeros(BINS, np.int64)
        self._predicted = np.zeros(BINS)
        self._squared = 0.0

    def add(self, probabilities: np.ndarray, truth: np.ndarray, labelled: np.ndarray) -> None:
        """Count the pixels of an image.

        Args:
            probabilities: of the foreground, 0..1, `(*spatial)`.
            truth: 0 is background, of the same shape.
            labelled: boolean, of that shape: the pixels that are counted.
        """
        likely = probabilities[labelled].astype(np.float64)
        inside = truth[labelled] > 0
        bins = np.minimum((likely * BINS).astype(int), BINS - 1)
        self._pixels += np.bincount(bins, minlength=BINS)
        self._foreground += np.bincount(bins[inside], minlength=BINS)
        self._predicted += np.bincount(bins, likely, minlength=BINS)
        self._squared += float(((likely - inside) ** 2).sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the bins that hold pixels, with two figures over all pixels.

        Returns:
            ``bins``, each with the mean ``predicted`` probability, the ``observed`` share of
            foreground and its number of ``pixels``; ``calibration_error``, the mean distance of the
            two, weighted by pixels (Guo et al. 2017, eq. 3); ``brier``, the mean squared error of
            the probabilities. Empty where nothing was counted.
        """
        total = int(self._pixels.sum())
        if not total:
            return {}
        used = self._pixels > 0
        pixels = self._pixels[used]
        predicted, observed = self._predicted[used] / pixels, self._foreground[used] / pixels
        error = float((pixels * np.abs(predicted - observed)).sum() / total)
        return {
            "bins": [
                {"predicted": round(one, 4), "observed": round(other, 4), "pixels": count}
                for one, other, count in zip(
                    predicted.tolist(), observed.tolist(), pixels.tolist(), strict=True
                )
            ],
            "calibration_error": round(error, 5),
            "brier": round(self._squared / total, 5),
        }
