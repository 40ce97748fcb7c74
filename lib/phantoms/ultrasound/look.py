"""How one ultrasound machine's volumes differ from another's: blur, contrast, drop-outs, fan."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lib.phantoms.ultrasound.canvas import inside
from lib.phantoms.ultrasound.formation import Scanner, Tissue, form_image
from lib.phantoms.ultrasound.sector import Fan, Sector

_LOST = 60.0  # dB there and back that poor contact costs


@dataclass(frozen=True, kw_only=True)
class Look:
    """A kind of volumes.

    Attributes:
        blur: size of the point-spread function over that of the usual phantoms, above 0.
        contrast: of echoes between tissues over the usual one, 0 and more.
        drop_outs: how many parts of the probe have no contact: nothing is seen below them.
        sector: a fan, black outside; None is a linear array, whose picture is a rectangle.
    """

    blur: float = 1.0
    contrast: float = 1.0
    drop_outs: int = 0
    sector: Sector | None = None


USUAL = Look()


def draw_poor_look(rng: np.random.Generator) -> Look:
    """Return a poor kind of volumes: blurred, of low contrast, half of them a fan, with drop-outs.

    The fans suit volumes of about 4 cm.
    """
    sector = None
    if rng.random() < 0.5:
        radius, half_angle = rng.uniform(8, 16), rng.uniform(30, 45)
        sector = Sector(radius=radius, half_angle=half_angle, swept=35 * float(rng.random() < 0.5))
    blur, contrast = rng.uniform(1.0, 2.0), rng.uniform(0.45, 1.0)
    return Look(blur=blur, contrast=contrast, drop_outs=int(rng.integers(0, 3)), sector=sector)


def form_look(
    rng: np.random.Generator,
    tissue: Tissue,
    spacing: tuple[float, ...],
    scanner: Scanner,
    look: Look = USUAL,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image of `tissue`, uint8, and its label, 0 outside the fan.

    Args:
        spacing: of the voxels in array order, mm.
    """
    met = tissue
    if look.sector:
        fan = Fan(look.sector, tissue.echo.shape, spacing)
        echo, loss, mirror = map(fan.to_beams, (tissue.echo, tissue.loss, tissue.mirror))
        met, spacing = Tissue(echo, loss, mirror, tissue.label), fan.spacing
    if look.contrast != 1:
        met = replace(met, echo=met.echo * np.float32(look.contrast))
    if look.drop_outs:
        met = replace(met, loss=_without_contact(rng, met.loss, look.drop_outs, spacing[-2]))
    image = form_image(rng, met, spacing, scanner.coarser(look.blur) if look.blur != 1 else scanner)
    if look.sector is None:
        return image, tissue.label
    return fan.to_picture(image).astype(np.uint8), tissue.label * fan.visible


def _without_contact(
    rng: np.random.Generator, loss: np.ndarray, count: int, step: float
) -> np.ndarray:
    """Return the attenuation with `count` places at the probe that let nothing through.

    Args:
        step: between samples along the beams, mm.
    """
    lost = loss.copy()
    deep = max(1, loss.shape[-2] // 40)
    sides = [n for axis, n in enumerate(loss.shape) if axis != loss.ndim - 2]
    axes = np.ix_(*(np.linspace(-1, 1, n, dtype=np.float32) for n in sides))
    for _ in range(count):
        squares = [((axis - rng.uniform(-0.8, 0.8)) / rng.uniform(0.15, 0.4)) ** 2 for axis in axes]
        share = inside(np.sqrt(sum(squares)) - 1, 0.1)
        lost[..., :deep, :] += np.expand_dims(share * np.float32(_LOST / (deep * step)), -2)
    return lost
