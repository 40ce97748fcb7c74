"""The canvas on which the tissue of the ultrasound phantoms is painted.

Echogenicity is in dB relative to muscle. Attenuation is in dB per mm for the way there and back, at
7.5 MHz; that of soft tissue is the usual 0.5 dB/(cm MHz) one way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib.phantoms.ultrasound.formation import Tissue, smooth_noise

SOFT = 0.75  # dB per mm, there and back: 2 x 0.05 dB/(mm MHz) x 7.5 MHz
FLUID = 0.05
BONE = 25.0


class Canvas:
    """Tissue that is being painted.

    Attributes:
        rng: draws all that is random.
        size: of the grid, in array order.
        unit: voxels per unit of length along each axis.
    """

    def __init__(
        self, rng: np.random.Generator, size: tuple[int, ...], unit: Sequence[float]
    ) -> None:
        self.rng, self.size, self.unit = rng, size, unit
        self.echo = np.zeros(size, np.float32)
        self.loss = np.full(size, SOFT, np.float32)
        self.mirror = np.zeros(size, np.float32)
        self.label = np.zeros(size, np.uint8)

    def noise(self, *grain: float, slope: float = 0.0) -> np.ndarray:
        """Return smooth noise of standard deviation 1; its grain sizes are shares of the depth."""
        return smooth_noise(
            self.rng, self.size, tuple(g * u for g, u in zip(grain, self.unit, strict=True)), slope
        )

    def blend(
        self, share: np.ndarray | float, echo: np.ndarray | float, loss: float | None = None
    ) -> None:
        """Blend tissue over what is there; `share`, 0..1, is the weight of the new tissue."""
        self.echo += share * (echo - self.echo)
        self.mirror *= 1 - share
        if loss is not None:
            self.loss += share * (np.float32(loss) - self.loss)

    def done(self) -> Tissue:
        """Return the painted tissue."""
        return Tissue(self.echo, self.loss, self.mirror, self.label)


def lines(noise: np.ndarray, width: float) -> np.ndarray:
    """Return meandering lines, 0..1, where `noise` crosses 0: septa, fibres, fasciae."""
    return np.exp(-((noise / np.float32(width)) ** 2))


def inside(distance: np.ndarray, softness: float) -> np.ndarray:
    """Return 1 inside (distance below 0), 0 outside, with a border `softness` wide."""
    return 1 / (1 + np.exp(np.clip(distance / np.float32(softness), -30, 30)))
