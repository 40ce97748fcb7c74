"""The grid on which the pelvis is painted.

Lengths are in mm from the middle of the body: x to the patient's left, y to the back, z to the
head. Grey values are those of textbooks: CT numbers and T2 of tissues of Bushberg et al., The
Essential Physics of Medical Imaging, 3rd ed., 2012.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lib.phantoms.ultrasound.formation import smooth_noise

Modality = Literal["MR", "CT"]

# each tissue's T2-weighted signal (fluid is 1000), and its Hounsfield units
TISSUES: dict[str, tuple[float, float]] = {
    "air": (4, -1000),
    "skin": (330, 10),
    "fat": (640, -98),
    "muscle": (150, 56),
    "cortex": (25, 820),
    "marrow": (430, 210),
    "urine": (1000, 6),
    "wall": (260, 42),
    "gas": (10, -850),
    "stool": (200, 25),
    "artery": (60, 62),
    "vein": (480, 50),
    "peripheral": (780, 38),
    "transition": (400, 42),
    "lesion": (210, 46),
    "nerve": (330, 36),
}


class Canvas:
    """A grid in mm on which tissue is painted."""

    def __init__(
        self,
        rng: np.random.Generator,
        size: tuple[int, int, int],
        spacing: tuple[float, float, float],
        modality: Modality,
    ) -> None:
        self.rng, self.spacing = rng, spacing
        self.column = 0 if modality == "MR" else 1
        self.z, self.y, self.x = np.ix_(
            *(
                (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step)
                for n, step in zip(size, spacing, strict=True)
            )
        )
        self.size = size
        self.image = np.full(size, TISSUES["air"][self.column], np.float32)
        self._wobble = self.noise(9.0)

    def noise(self, grain: float) -> np.ndarray:
        """Return smooth noise of standard deviation 1 and a grain in mm."""
        return smooth_noise(self.rng, self.size, tuple(grain / step for step in self.spacing))

    def ball(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        wobble: float = 0.0,
        power: float = 2.0,
    ) -> np.ndarray:
        """Return about the distance from an ellipsoid in mm, negative inside; z, y, x."""
        parts = (
            np.abs((axis - c) / r) ** power
            for axis, c, r in zip((self.z, self.y, self.x), centre, radii, strict=True)
        )
        distance = (sum(parts) ** (1 / power) - 1) * min(radii)
        return np.asarray(distance, np.float32) + np.float32(wobble) * self._wobble

    def rod(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        lean: tuple[float, float] = (0.0, 0.0),
        wobble: float = 0.0,
    ) -> np.ndarray:
        """Return about the distance from a column along z, that leans by mm per mm; y, x."""
        y = (self.y - centre[0] - lean[0] * self.z) / radii[0]
        x = (self.x - centre[1] - lean[1] * self.z) / radii[1]
        distance = (np.hypot(y, x) - 1) * min(radii)
        return np.asarray(distance, np.float32) + np.float32(wobble) * self._wobble

    def paint(
        self, distance: np.ndarray, tissue: str, texture: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Paint a tissue where `distance` is negative; its edge is as wide as a voxel.

        Args:
            texture: share by which its grey differs in MR.
        """
        share = np.clip(0.5 - distance / np.float32(max(self.spacing[1:])), 0, 1)
        value = float(TISSUES[tissue][self.column])
        painted = value * (1 + texture) if self.column == 0 else value
        self.image += share * (painted - self.image)
        return distance < 0
