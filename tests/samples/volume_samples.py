"""What the tests of volumes and of their masks share."""

from __future__ import annotations

import numpy as np

from lib.image import Geometry

SHAPE = (7, 20, 30)
OBLIQUE = Geometry(
    SHAPE[::-1],
    (0.3, 0.7, 2.5),
    (-4.1, 11.5, 99.3),
    (0.36, 0.48, -0.8, -0.8, 0.6, 0.0, 0.48, 0.64, 0.6),
)
# of a voxel: MetaImage keeps the numbers, NRRD products of two of them, NIfTI 32-bit floats
PRECISION = {".mha": 0.0, ".mhd": 0.0, ".nrrd": 1e-14, ".nii": 1e-5, ".nii.gz": 1e-5}
ITK_KINDS = tuple(PRECISION)
VOLUME_KINDS = (*ITK_KINDS, ".tif")


def same_grid(a: Geometry, b: Geometry, tolerance: float = 1e-3) -> bool:
    """Tell whether two grids have the same size and lie on each other.

    Args:
        tolerance: of spacing and origin as a share of a pixel of `a`, and of each cosine.
    """
    if a.size != b.size:
        return False
    pixel = np.array(a.spacing)
    return bool(
        (np.abs(pixel - b.spacing) <= tolerance * pixel).all()
        and (np.abs(np.subtract(a.origin, b.origin)) <= tolerance * pixel).all()
        and np.allclose(a.direction, b.direction, rtol=0, atol=tolerance)
    )
