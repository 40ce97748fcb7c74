"""Dense tissue of a prepared breast by image processing: a mask, and the percent density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects

from lib.mammography.breast import PreparedBreast
from lib.mammography.pectoral_muscle import find_muscle

BANDS = 12  # number of bands by distance from the skin, equally many pixels in each
SKIN = 0.035  # thickness of the skin line, as a share of the breast's height
MUSCLE_RIM = 0.015  # width of the muscle's blurred edge, as a share of the breast's height
EQUALISED = 0.35  # least rim of a breast whose fat has one grey up to the skin
FAT = 5  # percentile of the grey of such a breast that is fat
FADING_FAT = 20  # percentile of the grey of a band that is fat, if the breast fades to the skin
LEAST_CONTRAST = 0.2  # of dense tissue to fat, as a share of the grey range in the breast
FILM_CONTRAST = 0.05  # the same on film, in the film's own grey, 0..1, where the gland lies
UNEXPECTED = 0.2  # contrast that is needed in addition, in that grey, far from where it lies
GLAND = (0.55, 0.5)  # its middle: from the top in heights, from the chest wall in widths
OTSU_SHARE = 0.5  # of Otsu's threshold, that contrast on film must reach
GLAND_SD = (0.3, 0.5)
OUTLINE_SD = 0.015  # of the Gaussian that makes spots one outline, as a share of the height
OUTLINE_SHARE = 0.25  # share of dense pixels around one that lies inside the outline


@dataclass(frozen=True)
class DenseTissue:
    """Fibroglandular tissue of one view.

    Attributes:
        mask: boolean `(rows, columns)` of the prepared breast.
        muscle: boolean, of the same shape: the pectoral muscle, which does not count as breast.
        percent_density: area of `mask` in percent of the area of the breast without muscle.
    """

    mask: np.ndarray
    muscle: np.ndarray
    percent_density: float


def dense_mask(prepared: PreparedBreast) -> DenseTissue:
    """Return the dense tissue of a view by its contrast to the fat at the same depth.

    Area density by a grey threshold follows Byng et al. (The quantitative analysis of mammographic
    densities, Phys. Med. Biol. 39:1629, 1994). The threshold is Otsu's (IEEE Trans. Syst. Man
    Cybern. 9:62, 1979), applied to the contrast to fat. In most digital images fat has one grey. On
    film the breast fades towards the skin, so the grey of fat is estimated in bands by distance
    from the skin, after the idea of peripheral enhancement (Byng et al., Phys. Med. Biol. 42:1201,
    1997), and more contrast is needed the further a pixel lies from where the gland is expected. A
    least contrast prevents a breast of pure fat from being split in two. The skin line and the
    pectoral muscle, with its blurred edge, are left out. On film dense spots close to each other
    become one outline with what lies between them, as a reader draws it.

    The result is an estimate; docs/density.md has how well it agrees with outlines drawn by hand.
    On film very dense breasts are underestimated, as little of their fat is visible.
    """
    muscle_mask = pectoral_mask(prepared)
    breast = prepared.breast & ~muscle_mask
    rows = int(prepared.breast.any(1).sum())
    depth = _depth(prepared.breast)
    core = breast & (depth > SKIN * rows)
    if muscle_mask.any():
        core &= ndimage.distance_transform_edt(~muscle_mask) > MUSCLE_RIM * rows
    if core.sum() < 64:
        return DenseTissue(np.zeros_like(breast), muscle_mask, 0.0)
    smooth = ndimage.gaussian_filter(prepared.pixels, rows / 256)
    grey = smooth[core]
    if prepared.rim >= EQUALISED:
        contrast = grey - np.percentile(grey, FAT)
        threshold = max(float(threshold_otsu(contrast)), LEAST_CONTRAST)
    else:
        contrast = grey - _fading_fat(grey, depth[core])
        span = prepared.window[1] - prepared.window[0]
        threshold = max(float(threshold_otsu(contrast)) * OTSU_SHARE, FILM_CONTRAST / span)
        contrast -= UNEXPECTED / span * (1 - _gland(prepared.breast)[core])
    mask = np.zeros_like(breast)
    mask[core] = contrast > threshold
    if prepared.rim < EQUALISED:
        mask = _outlined(mask, breast, OUTLINE_SD * rows)
    specks = max(round(0.0005 * breast.sum()), 1)
    mask = remove_small_objects(mask, max_size=specks)
    return DenseTissue(mask, muscle_mask, float(100 * mask.sum() / breast.sum()))


def _outlined(mask: np.ndarray, breast: np.ndarray, sd: float) -> np.ndarray:
    """Return where at least `OUTLINE_SHARE` of the breast around a pixel is in the mask."""
    dense, whole = (ndimage.gaussian_filter(part.astype(np.float32), sd) for part in (mask, breast))
    return breast & (dense >= OUTLINE_SHARE * whole) & (dense > 0)


def _gland(breast: np.ndarray) -> np.ndarray:
    """Return how far the gland is expected at each pixel, 0..1: most behind the nipple.

    Towards the arm and at the fold below, the breast is thick, or folded, and bright without it.
    """
    rows = np.flatnonzero(breast.any(1))
    y = (np.arange(breast.shape[0]) - rows[0]) / len(rows)
    x = (breast.shape[1] - np.arange(breast.shape[1]) - 0.5) / breast.sum(1).max()
    down, across = (y[:, None] - GLAND[0]) / GLAND_SD[0], (x - GLAND[1]) / GLAND_SD[1]
    return np.asarray(np.exp(-(down**2 + across**2) / 2))


def _fading_fat(grey: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return the grey of fat at each pixel, interpolated between bands of `depth`.

    Args:
        grey: `(pixels)`.
        depth: `(pixels)`, distance from the skin.
    """
    borders = np.quantile(depth, np.linspace(0, 1, BANDS + 1))
    band = np.clip(np.searchsorted(borders, depth, side="right") - 1, 0, BANDS - 1)
    filled = np.unique(band)
    centres = (borders[filled] + borders[filled + 1]) / 2
    levels = [float(np.percentile(grey[band == index], FADING_FAT)) for index in filled]
    return np.interp(depth, centres, levels)


def _depth(breast: np.ndarray) -> np.ndarray:
    """Return the distance from the skin in pixels; chest wall and image edges are not skin."""
    rows = np.flatnonzero(breast.any(1))
    top, bottom, columns = rows[0], rows[-1] + 1, breast.shape[1]
    tissue = np.maximum.accumulate(breast[top:bottom], axis=1)  # continue a cut-off chest wall
    reach = (bottom - top) // 4
    padded = np.pad(tissue, ((reach, reach), (0, columns // 2)), mode="edge")
    depth = np.zeros(breast.shape, np.float32)
    depth[top:bottom] = ndimage.distance_transform_edt(padded)[
        reach : reach + bottom - top, :columns
    ]
    return depth


def pectoral_mask(prepared: PreparedBreast) -> np.ndarray:
    """Return the mask of the pectoral muscle in `prepared.pixels`, empty if there is none."""
    if prepared.mammogram.view.projection in ("CC", "XCCL", "XCCM", "FB"):
        return np.zeros(prepared.breast.shape, bool)
    return find_muscle(prepared.pixels, prepared.breast)[0]
