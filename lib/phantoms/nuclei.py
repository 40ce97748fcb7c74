"""Synthetic microscopy from a seed, for the demo and the tests: every pixel's label is known."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from lib.data.studies import FINAL_LABELS
from lib.errors import choose
from lib.io.pictures import save_picture

Stain = Literal["fluorescence", "histology"]

# optical densities (red, green, blue) of haematoxylin and eosin: Ruifrok and Johnston 2001, tab. 1
HAEMATOXYLIN = np.array((0.65, 0.70, 0.29))
EOSIN = np.array((0.07, 0.99, 0.11))


def nuclei_phantom(
    seed: int, stain: Stain = "fluorescence", rows: int = 256, columns: int = 256, nuclei: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """Draw nuclei as a microscope shows them.

    Nuclei are irregular ellipses with chromatin texture; some touch. In fluorescence they are
    bright on a dark, unevenly lit background, blurred, with photon and read-out noise. In histology
    they are stained by haematoxylin in tissue stained by eosin, by Beer-Lambert absorption.

    Args:
        nuclei: how many are tried; one that would cover another by more than a touch is dropped.

    Returns:
        The image, uint8 `(rows, columns)` or `(rows, columns, 3)`, and its label, uint16
        `(rows, columns)`, nuclei numbered from 1.
    """
    draw = choose("stain", stain, {"fluorescence": _fluorescence, "histology": _histology})
    rng = np.random.default_rng((seed, rows, columns, nuclei))
    label = _scatter(rng, rows, columns, nuclei)
    return draw(rng, label), label


def write_nuclei_studies(folder: Path, count: int, labelled: int, seed: int = 0) -> list[Path]:
    """Write phantoms as PNG into a studies folder, and return the image files.

    The first `labelled` have labels. Two in three are fluorescence. Files that exist already are
    left as they are.
    """
    labels = folder / FINAL_LABELS
    labels.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        stain: Stain = "histology" if index % 3 == 2 else "fluorescence"
        path = folder / f"{stain}_{index:03d}.png"
        paths.append(path)
        if path.exists():
            continue
        image, label = nuclei_phantom(seed * 100_003 + index, stain)
        if index < labelled:
            save_picture(labels / path.name, label)
        save_picture(path, image)
    return paths


def _scatter(rng: np.random.Generator, rows: int, columns: int, nuclei: int) -> np.ndarray:
    """Return a label image of nuclei; a later one may touch an earlier one but not cover it."""
    label = np.zeros((rows, columns), dtype=np.uint16)
    y, x = np.mgrid[:rows, :columns]
    mean_radius = rng.uniform(7, 12)
    number = 0
    for _ in range(nuclei):
        radius = mean_radius * rng.lognormal(0, 0.2)
        centre = rng.uniform(-2, rows + 2), rng.uniform(-2, columns + 2)
        aspect, angle = rng.uniform(0.65, 1.0), rng.uniform(0, np.pi)
        dy, dx = y - centre[0], x - centre[1]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / aspect
        turn = np.arctan2(across, along)
        wobble = 1 + rng.uniform(0, 0.08) * np.cos(rng.integers(2, 4) * turn + rng.uniform(0, 6))
        shape = np.hypot(along, across) < radius * wobble
        if shape.sum() < 30 or (label[shape] > 0).mean() > 0.08:
            continue
        number += 1
        label[shape & (label == 0)] = number
    return label


def _texture(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Return smooth noise of mean 0 and standard deviation 1 with grains of `size` pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), size)
    return (noise - noise.mean()) / noise.std()


def _fluorescence(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    shape = label.shape
    brightness = np.concatenate(([0.0], rng.uniform(0.35, 1.0, int(label.max()))))
    chromatin = 1 + 0.12 * _texture(rng, shape, 1.5)
    signal = ndimage.gaussian_filter(brightness[label] * chromatin, rng.uniform(0.8, 1.4))
    haze = 0.04 + 0.03 * ndimage.gaussian_filter(brightness[label], 25)
    light = 1 + 0.15 * _texture(rng, shape, 80)
    photons = rng.poisson(np.clip((signal + haze) * light, 0, None) * rng.uniform(120, 400))
    image = photons / max(1.0, np.percentile(photons, 99.9)) + rng.normal(0, 0.01, shape)
    return (np.clip(image * rng.uniform(0.3, 0.95), 0, 1) * 255).astype(np.uint8)


def _histology(rng: np.random.Generator, label: np.ndarray) -> np.ndarray:
    shape = label.shape
    strength = np.concatenate(([0.0], rng.uniform(0.8, 1.4, int(label.max()))))
    nuclear = strength[label] * (1 + 0.2 * _texture(rng, shape, 1.2))
    fibres = np.clip(0.35 + 0.15 * _texture(rng, shape, 4) + 0.12 * _texture(rng, shape, 14), 0, 1)
    nuclear = ndimage.gaussian_filter(nuclear, 0.9)
    absorbed = nuclear[..., None] * HAEMATOXYLIN + (fibres * (label == 0))[..., None] * EOSIN * 0.8
    light = np.exp(-np.clip(absorbed, 0, None)) * 245 + rng.normal(0, 2.5, (*shape, 3))
    return np.clip(light, 0, 255).astype(np.uint8)
