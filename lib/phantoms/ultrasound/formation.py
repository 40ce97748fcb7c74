"""How a B-mode image forms: scatterers, point-spread function, attenuation, gain, compression.

The model is the usual one of linear acoustics. The echo signal is the scatterers convolved with the
pulse-echo point-spread function: an oscillation times a Gaussian that is narrower along the beam
than across it (Bamber and Dickinson, Phys Med Biol 25:463, 1980; Meunier and Bertrand, IEEE Trans
Biomed Eng 42:293, 1995). Beams run straight down the rows, as from a linear array.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from scipy import ndimage

SPEED_OF_SOUND = 1.54  # mm per microsecond, soft tissue
LOOKS = (-1.3, 0.0, 1.3)


@dataclass(frozen=True)
class Tissue:
    """What the beam meets in each voxel: float32 `([slices,] rows, columns)`; rows are depth.

    Attributes:
        echo: mean strength of the scatterers, dB relative to muscle.
        loss: attenuation there and back, dB per mm.
        mirror: amplitude of interfaces that reflect as a whole; 1 is that of muscle's scatterers.
        label: uint8, 0 background, 1 and up the structures.
    """

    echo: np.ndarray
    loss: np.ndarray
    mirror: np.ndarray
    label: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Settings of the machine.

    Attributes:
        frequency: of the pulse, MHz.
        axial: length of the pulse, a standard deviation in mm.
        lateral: width of the beam at its focus, a standard deviation in mm; twice that across
            slices.
        focus: depth of the focus as a share of the image, 0..1.
        density: share of the voxels that hold a scatterer, 0..1.
        compensated: attenuation for which the time gain makes up, dB per mm.
        gain_errors: of the time-gain sliders from top to bottom, dB.
        noise: of the electronics before the gain, dB relative to muscle's echo at the skin.
        dynamic_range: from white to black, dB.
        white: share of the pixels that are saturated, 0..1.
        curve: exponent of the grey map after the logarithm; above 1 the image is darker.
        looks: tilts of the compounded beams, in standard deviations of their spectrum; a single
            one gives fully developed speckle, more of them smooth it.
    """

    frequency: float = 7.5
    axial: float = 0.16
    lateral: float = 0.3
    focus: float = 0.5
    density: float = 0.5
    compensated: float = 0.7
    gain_errors: tuple[float, ...] = (0.0, 0.0)
    noise: float = -62.0
    dynamic_range: float = 55.0
    white: float = 0.004
    curve: float = 2.0
    looks: tuple[float, ...] = LOOKS

    def coarser(self, factor: float) -> Scanner:
        """Return the scanner with a point-spread function `factor` times as large."""
        return replace(
            self,
            axial=self.axial * factor,
            lateral=self.lateral * factor,
            frequency=self.frequency / factor,
        )


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Return a machine set up in a hurry: gain, focus and range differ from scan to scan."""
    return Scanner(
        axial=rng.uniform(0.13, 0.19),
        lateral=rng.uniform(0.22, 0.38),
        focus=rng.uniform(0.3, 0.7),
        density=rng.uniform(0.25, 0.9),
        compensated=rng.uniform(0.6, 0.76),
        gain_errors=tuple(rng.normal(0, 2.0, 6)),
        noise=rng.uniform(-66, -54),
        dynamic_range=rng.uniform(50, 60),
        white=rng.uniform(0.0005, 0.005),
        curve=rng.uniform(1.5, 2.6),
    )


def scatterers(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    """Return scatterers of variance 1, float32; a random share `density` of the voxels has one."""
    strength = rng.standard_normal(shape, dtype=np.float32)
    strength *= rng.random(shape, dtype=np.float32) < density
    return strength / np.float32(np.sqrt(density))


def form_image(
    rng: np.random.Generator,
    tissue: Tissue,
    spacing: tuple[float, ...],
    scanner: Scanner,
    strength: np.ndarray | None = None,
) -> np.ndarray:
    """Return the B-mode image of `tissue`, uint8 in its shape.

    Args:
        spacing: of the voxels in array order, mm.
        strength: the scatterers, as `scatterers` returns them; None draws them.
    """
    shape = tissue.echo.shape
    if strength is None:
        strength = scatterers(rng, shape, scanner.density)
    depth_axis = len(shape) - 2
    depth = spacing[depth_axis]
    lost = np.cumsum(tissue.loss, axis=depth_axis, dtype=np.float32) * np.float32(depth)
    sizes = [scanner.lateral / step for step in spacing]
    sizes[depth_axis] = 0
    # a beam is wider than one column
    lost = ndimage.gaussian_filter(lost, sizes, mode="nearest", truncate=3)
    gain = _gain(scanner, shape[depth_axis], depth).astype(np.float32)[:, np.newaxis]
    noise = 10 ** ((gain + np.float32(scanner.noise)) / 20)
    field = (strength * _amplitude(tissue.echo) + tissue.mirror) * _amplitude(gain - lost)
    field += noise * rng.standard_normal(shape, dtype=np.float32)
    intensity = echo_intensity(field, spacing, scanner)
    reference = np.quantile(intensity.ravel()[::7], 1 - scanner.white)
    level = 1 + np.log10(intensity / reference + 1e-9) * np.float32(10 / scanner.dynamic_range)
    return (np.clip(level, 0, 1) ** np.float32(scanner.curve) * 255).astype(np.uint8)


def _amplitude(decibel: np.ndarray) -> np.ndarray:
    """Return 10 ** (decibel / 20), in single precision."""
    return np.exp(decibel * np.float32(np.log(10) / 20))


def _gain(scanner: Scanner, rows: int, step: float) -> np.ndarray:
    """Return the time-gain compensation of each row, dB: a slope, and the errors of the sliders."""
    depth = np.arange(rows)
    sliders = np.linspace(0, rows - 1, len(scanner.gain_errors))
    errors = np.interp(depth, sliders, scanner.gain_errors)
    smooth = ndimage.gaussian_filter1d(errors, rows / 12, mode="nearest")
    return scanner.compensated * step * depth + smooth


def echo_intensity(field: np.ndarray, spacing: tuple[float, ...], scanner: Scanner) -> np.ndarray:
    """Return the squared envelope of the echo, summed over the looks of spatial compounding.

    The beam is narrow at the focus and widens away from it. Of many scatterers and one look the
    envelope has a Rayleigh distribution: its mean is 1.91 of its standard deviation (Burckhardt,
    Speckle in ultrasound B-mode scans, IEEE Trans. Sonics Ultrason. 25:1, 1978).

    Args:
        field: amplitudes of the reflectors, float32 `([slices,] rows, columns)`.
        spacing: in array order, mm.
    """
    shape = field.shape
    sigma = [max(scanner.lateral / step, 0.8) for step in spacing]
    sigma[-2] = max(scanner.axial / spacing[-2], 1.0)
    if len(shape) == 3:
        sigma[0] = max(2 * scanner.lateral / spacing[0], 0.6)
    # the echo's period is half the wavelength; the grid carries no less than three voxels
    period = max(SPEED_OF_SOUND / scanner.frequency / 2 / spacing[-2], 3.0)
    padded = [
        scipy.fft.next_fast_len(n + int(4 * s), True) for n, s in zip(shape, sigma, strict=True)
    ]
    spectrum = scipy.fft.fftn(field, padded)
    frequencies = [np.fft.fftfreq(n).astype(np.float32) for n in padded]
    spectrum *= _gaussian(frequencies[-2] - 1 / period, sigma[-2])[:, np.newaxis]
    if len(shape) == 3:
        spectrum *= _gaussian(frequencies[0], sigma[0])[:, np.newaxis, np.newaxis]
    crop = tuple(slice(n) for n in shape)
    away = np.abs(np.linspace(0, 1, shape[-2], dtype=np.float32) - np.float32(scanner.focus))
    blur = np.clip(away * 1.3, 0, 1)[:, np.newaxis]
    total = np.zeros(shape, np.float32)
    for look in scanner.looks:
        echo = np.zeros(shape, np.complex64)
        for width, share in ((sigma[-1], 1 - blur), (2.2 * sigma[-1], blur)):
            tilted = frequencies[-1] - np.float32(look / (2 * np.pi * width))
            beam = _gaussian(tilted, width) * np.float32(np.sqrt(width))  # energy is kept
            echo += share * scipy.fft.ifftn(spectrum * beam)[crop]
        total += echo.real**2 + echo.imag**2
    return total


def _gaussian(frequency: np.ndarray, sigma: float) -> np.ndarray:
    """Return the spectrum of a Gaussian of standard deviation `sigma` voxels."""
    return np.exp(-2 * (np.pi * sigma * frequency) ** 2).astype(np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], grain: tuple[float, ...], slope: float = 0.0
) -> np.ndarray:
    """Return Gaussian noise of mean 0 and standard deviation 1, float32, smooth over `grain`.

    Args:
        grain: standard deviation of the smoothing along each axis, voxels.
        slope: how far the grains lean: rows down for each column to the right.
    """
    spectrum = scipy.fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    last = np.fft.rfftfreq(shape[-1]).astype(np.float32)
    down = np.fft.fftfreq(shape[-2]).astype(np.float32)[:, np.newaxis]
    spectrum *= _gaussian(down, grain[-2])
    spectrum *= _gaussian(last + slope * down, grain[-1])
    for axis in range(len(shape) - 2):
        other = np.fft.fftfreq(shape[axis]).astype(np.float32)
        spectrum *= _gaussian(other, grain[axis]).reshape(-1, *[1] * (len(shape) - 1 - axis))
    spectrum.flat[0] = 0
    noise = scipy.fft.irfftn(spectrum, shape)
    return noise / noise.std()
