"""How a compressed breast becomes a mammogram: outline, tissue, attenuation, noise and processing.

The chest wall is at the right edge of the grid; the head (in cranio-caudal views the outer side) is
at the top. Lengths are in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy import ndimage

# linear attenuation at 20 keV, 1/mm: Johns and Yaffe, X-ray characterisation of normal and
# neoplastic breast tissues, Phys. Med. Biol. 32:675-695, 1987
FAT, GLAND = 0.0456, 0.0802
SKIN = 1.5  # mm
GRID = 448  # largest number of rows of the grid on which anatomy is drawn


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What both breasts and all views of a patient share, and how the device processes.

    Attributes:
        depth: from chest wall to nipple, mm.
        spread: half the height of the breast over its depth.
        thickness: of the compressed breast, mm.
        muscle: reach of the pectoral muscle at the top of an oblique view, a share of the depth.
        firmness: glandular share of the path where the gland is thick, about 0.9.
        strands: amount of Cooper's ligaments in the fat, about 1.
        coarseness: exponent of the tissue's noise, about 1.5: amplitude falls with frequency.
        equalised: share of the periphery's loss of thickness that the device compensates, 0..1.
        gain: contrast of the device's processing.
        dose: photons in a pixel of the grid without breast.
    """

    depth: float
    spread: float
    thickness: float
    muscle: float
    firmness: float
    strands: float
    coarseness: float
    equalised: float
    gain: float
    dose: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Anatomy:
        """Return a random patient."""
        return Anatomy(
            depth=rng.uniform(65, 105),
            spread=rng.uniform(0.85, 1.15),
            thickness=rng.uniform(38, 68),
            muscle=rng.uniform(0.35, 0.6),
            firmness=rng.uniform(0.7, 1.1),
            strands=rng.uniform(0.5, 1.3),
            coarseness=rng.uniform(1.35, 1.65),
            equalised=rng.uniform(0.6, 0.9),
            gain=rng.uniform(0.8, 1.2),
            dose=rng.uniform(3e4, 9e4),
        )


@dataclass(frozen=True)
class FormedView:
    """A view as the device shows it, and what it is of; all in the shape of the grid.

    Attributes:
        grey: float32 `(rows, columns)`, 0 in air, up to 1, larger is denser.
        breast: bool, the breast with the muscle.
        muscle: bool, the pectoral muscle.
        dense: bool, the fibroglandular tissue.
    """

    grey: np.ndarray
    breast: np.ndarray
    muscle: np.ndarray
    dense: np.ndarray


def power_noise(rng: np.random.Generator, shape: tuple[int, int], exponent: float) -> np.ndarray:
    """Return noise whose amplitude falls with frequency to the power `exponent`; mean 0, sd 1.

    The power spectrum of mammograms has an exponent near 3, that of the amplitude is thus near 1.5
    (Burgess et al., Human observer detection experiments with mammograms and power-law noise, Med.
    Phys. 28:419, 2001).
    """
    frequency = np.hypot(
        scipy.fft.fftfreq(shape[0])[:, None] * shape[0], scipy.fft.rfftfreq(shape[1]) * shape[0]
    )
    spectrum = scipy.fft.rfft2(rng.standard_normal(shape)) / np.maximum(frequency, 1) ** exponent
    spectrum[0, 0] = 0
    noise = scipy.fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def form_view(
    rng: np.random.Generator,
    anatomy: Anatomy,
    fraction: float,
    oblique: bool,
    shape: tuple[int, int],
    spacing: float,
) -> FormedView:
    """Return a view of a breast.

    Args:
        fraction: dense area over the area of the breast without muscle, 0..1.
        oblique: whether the view is mediolateral oblique, else cranio-caudal.
        shape: rows and columns of the grid.
        spacing: of the grid, mm.
    """
    breast, nipple = _outline(rng, anatomy, oblique, shape, spacing)
    if oblique:
        muscle, muscular = _muscle(rng, anatomy, shape, spacing)
        muscle &= breast
    else:
        muscle, muscular = np.zeros(shape, bool), np.zeros(shape, np.float32)
    rows, columns = shape
    padded = np.pad(breast, ((rows // 2, rows // 2), (0, columns // 2)), mode="edge")
    inward = ndimage.distance_transform_edt(padded)[rows // 2 : -(rows // 2), :columns] * spacing
    dense, amount = _gland(rng, anatomy, breast & ~muscle, inward, nipple, fraction, spacing)
    edge = anatomy.thickness / 2
    thickness = anatomy.thickness * np.sqrt(1 - (1 - np.clip(inward / edge, 0, 1)) ** 2)
    strands = _strands(rng, shape, anatomy.strands)
    share = np.clip(amount + strands * (1 - amount), 0, 1)  # glandular share of the path
    share += muscular * (0.9 + 0.06 * power_noise(rng, shape, 1.2) - share)
    fat = FAT * thickness
    attenuation = fat + (GLAND - FAT) * share * thickness
    attenuation += GLAND * SKIN * (breast + 5 * np.exp(-((inward / SKIN - 0.7) ** 2)) * breast)
    photons = anatomy.dose * np.exp(-attenuation)
    attenuation += ndimage.gaussian_filter(rng.standard_normal(shape), 0.5) / np.sqrt(photons)
    shown = attenuation - anatomy.equalised * (fat - FAT * anatomy.thickness * breast)
    low, high = FAT * anatomy.thickness * 0.75, GLAND * anatomy.thickness * 0.95
    grey = 0.2 + 0.7 * anatomy.gain * (shown - low) / (high - low)
    grey = np.where(breast, 1 / (1 + np.exp(-4 * (grey - 0.5))), 0)  # a film's curve
    soft = ndimage.gaussian_filter(breast.astype(np.float32), 0.7)
    return FormedView((grey * soft).astype(np.float32), breast, muscle, dense)


def _outline(
    rng: np.random.Generator,
    anatomy: Anatomy,
    oblique: bool,
    shape: tuple[int, int],
    spacing: float,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the mask of the breast, and the nipple's distances from top and chest wall in mm."""
    rows, columns = shape
    height, width = rows * spacing, columns * spacing
    depth = min(anatomy.depth, 0.9 * width)
    reach = min(depth * anatomy.spread, 0.46 * height)
    power = rng.uniform(1.9, 2.4)
    y = (np.arange(rows) + 0.5) * spacing
    if oblique:
        row = height * rng.uniform(0.56, 0.64)
        reach = min(reach, 0.96 * (height - row))
        above = np.clip((row - y) / row, 0, 1)
        arm = rng.uniform(0.42, 0.6)  # width at the top, a share of the depth
        upper = arm + (1 - arm) * np.clip(1 - above**1.7, 0, 1) ** 0.9
        lower = np.clip(1 - np.clip((y - row) / reach, 0, 1) ** power, 0, 1) ** (1 / power)
        profile = np.where(y < row, upper, lower)
    else:
        row = height * rng.uniform(0.46, 0.54)
        profile = np.clip(1 - np.abs((y - row) / reach) ** power, 0, 1) ** (1 / power)
    wave = ndimage.gaussian_filter1d(rng.standard_normal(rows), rows / 14, mode="nearest")
    profile = profile * (1 + 0.02 * wave / max(float(wave.std()), 1e-6))
    profile += 0.045 * np.exp(-(((y - row) / 5) ** 2)) * (profile > 0)  # the nipple, 10 mm
    x = (columns - np.arange(columns) - 0.5) * spacing  # from the chest wall
    return x[None, :] < depth * profile[:, None], (row, depth)


def _muscle(
    rng: np.random.Generator, anatomy: Anatomy, shape: tuple[int, int], spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of the pectoral muscle, and its share of the path, 0..1.

    Its edge bulges a little, and it thins out towards edge and foot.
    """
    rows, columns = shape
    y = (np.arange(rows) + 0.5) * spacing / (rows * spacing * rng.uniform(0.5, 0.72))
    bulge = rng.uniform(0, 0.3)
    edge = anatomy.muscle * anatomy.depth * (1 - y) * (1 + bulge * y)
    x = (columns - np.arange(columns) - 0.5) * spacing
    within = edge[:, None] - x[None, :]
    reach = max(anatomy.muscle * anatomy.depth, spacing)
    thick = np.clip(within / (0.6 * reach), 0, 1) ** 0.35
    fades = np.clip(1.25 - 0.45 * y, 0.6, 1)[:, None]
    soft = ndimage.gaussian_filter((within > 0) * thick * fades, 0.8 / spacing)
    return within > 0, soft.astype(np.float32)


def _gland(
    rng: np.random.Generator,
    anatomy: Anatomy,
    tissue: np.ndarray,
    inward: np.ndarray,
    nipple: tuple[float, float],
    fraction: float,
    spacing: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of the dense area, and the glandular share of the path, 0..1."""
    rows, columns = tissue.shape
    shape = rows, columns
    y = ((np.arange(rows) + 0.5) * spacing - nipple[0])[:, None]
    x = ((columns - np.arange(columns) - 0.5) * spacing)[None, :]
    depth = nipple[1]
    # a cone from behind the nipple, towards the outer side; fat under the skin and at the wall
    middle = rng.uniform(0.5, 0.65) * depth
    spread = depth * anatomy.spread * rng.uniform(0.4, 0.55)
    cone = -(((x - middle) / (0.5 * depth)) ** 2) - ((y + 0.1 * depth) / spread) ** 2
    under_skin = -2.5 * np.exp(-inward / 6)
    noise = 0.8 * power_noise(rng, shape, anatomy.coarseness)
    fibres = _fibres(rng, shape, y / spacing, (x - depth) / spacing, 1.15)
    score = cone + under_skin + rng.uniform(0.7, 1.0) * noise + rng.uniform(0.2, 0.35) * fibres
    cut = float(np.quantile(score[tissue], 1 - fraction))
    dense = (score > cut) & tissue
    # the gland gets thin towards its border, and fades into the fat beyond
    rise = 1 / (1 + np.exp(-(score - cut) / 0.22))
    lobes = 0.55 + 0.17 * power_noise(rng, shape, 1.3) + 0.08 * fibres
    (own,) = rng.spawn(1)
    lobes += 0.5 * (_strands(own, shape, anatomy.strands) - 0.1)
    amount = np.where(tissue, np.clip(lobes, 0.15, 1) * anatomy.firmness * rise, 0)
    return dense, ndimage.gaussian_filter(amount, 0.5).astype(np.float32)


def _fibres(
    rng: np.random.Generator, shape: tuple[int, int], y: np.ndarray, x: np.ndarray, exponent: float
) -> np.ndarray:
    """Return noise that is stretched along the lines to the nipple, mean 0, sd 1.

    Args:
        y: rows from the nipple, `(rows, 1)`.
        x: columns from the nipple, `(1, columns)`.
    """
    noise = power_noise(rng, shape, exponent - 0.4)
    distance, angle = np.hypot(y, x), np.arctan2(y, -x)
    rows, columns = shape
    # in polar coordinates about the nipple: many cells along the angle, few along the radius
    polar = np.stack((angle / np.pi * 0.5 * rows * 2.2, distance * 0.45))
    stretched = ndimage.map_coordinates(noise, polar, order=1, mode="grid-wrap")
    return ((stretched - stretched.mean()) / stretched.std()).astype(np.float32)


def _strands(rng: np.random.Generator, shape: tuple[int, int], amount: float) -> np.ndarray:
    """Return thin bright lines, 0..0.4, where noise changes its sign: ligaments and vessels."""
    lines = np.zeros(shape, np.float32)
    for smoothing in (1.5, 2.0, 3.0):
        noise = ndimage.gaussian_filter(power_noise(rng, shape, 1.5), smoothing)
        steepness = np.hypot(*np.gradient(noise)) + 1e-6  # makes all lines equally wide
        strength = np.clip(power_noise(rng, shape, 1.7), 0, 2)
        lines += strength * np.exp(-((noise / steepness / 0.9) ** 2))
    fine = power_noise(rng, shape, 0.9)
    return np.clip(0.18 * amount * lines + 0.03 * fine + 0.06, 0, 0.4).astype(np.float32)
