"""The anatomy of the pelvis, and of its prostate with a tumour.

In T2-weighted images the peripheral zone of the prostate is bright, the transition zone mixed, and
a cancer dark. Lengths are in mm, see `lib.phantoms.pelvis.canvas`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib.phantoms.pelvis.canvas import Canvas

GLAND, LESION = 1, 2  # values of the label


@dataclass(frozen=True)
class Pelvis:
    """One patient at one time.

    Attributes:
        width, depth: half axes of the body.
        fat: thickness of the fat under the skin.
        gland: half axes of the prostate along z, y and x.
        lesion: radius of the tumour in it; 0 for none.
        side: of the tumour: -1 or 1.
        bladder: half axes of the bladder along z, y and x.
    """

    width: float
    depth: float
    fat: float
    gland: tuple[float, float, float]
    lesion: float
    side: int
    bladder: tuple[float, float, float]

    @staticmethod
    def draw(seed: int, months: int = 0) -> Pelvis:
        """Return the patient of a seed, `months` after his first examination.

        The tumour grows by 0.25 mm of radius a month, the gland by 0.1.
        """
        rng = np.random.default_rng((seed, 81))
        grown = 0.1 * months
        return Pelvis(
            width=rng.uniform(165, 182),
            depth=rng.uniform(104, 116),
            fat=rng.uniform(16, 28),
            gland=(
                rng.uniform(19, 24) + grown,
                rng.uniform(16, 20) + grown,
                rng.uniform(22, 28) + grown,
            ),
            lesion=rng.uniform(4.5, 6.5) + 0.25 * months,
            side=int(rng.choice((-1, 1))),
            # it is not equally full each time
            bladder=_bladder(np.random.default_rng((seed, 82, months))),
        )


def _bladder(rng: np.random.Generator) -> tuple[float, float, float]:
    return rng.uniform(20, 28), rng.uniform(22, 30), rng.uniform(30, 42)


def paint_pelvis(canvas: Canvas, body: Pelvis) -> np.ndarray:
    """Paint the pelvis, from outside to inside; return the label."""
    fine = canvas.noise(1.6)
    coarse = canvas.noise(7.0)
    outside = canvas.rod((0, 0), (body.depth, body.width), wobble=0.8)
    skin, fat = 2.0, body.fat
    canvas.paint(outside, "skin")
    canvas.paint(outside + skin, "fat", 0.05 * coarse + 0.03 * fine)
    septa = np.abs(canvas.noise(14.0)) * 12 + 20 * (outside > -skin)
    canvas.paint(septa - 0.25, "wall")
    within = outside + skin + fat
    for side in (-1, 1):
        _muscles(canvas, within, side, 0.16 * fine + 0.08 * coarse)
        _hip(canvas, side, 0.12 * coarse + 0.06 * fine)
    _midline(canvas, body, coarse)
    return _gland(canvas, body, fine, coarse)


def _muscles(canvas: Canvas, within: np.ndarray, side: int, texture: np.ndarray) -> None:
    """Paint the muscles of one side, each cut off by the fat under the skin."""
    for centre, radii, lean in (
        ((62, 62), (26, 60), (0.1, 0.15)),  # gluteus maximus
        ((18, 122), (42, 22), (0.0, -0.2)),  # gluteus medius, tensor
        ((-48, 96), (30, 24), (0.1, 0.1)),  # iliopsoas, sartorius
        ((-74, 34), (8, 34), (0.0, 0.0)),  # rectus
        ((-4, 49), (34, 9), (0.0, 0.25)),  # obturator internus
        ((34, 24), (7, 20), (0.1, 0.1)),  # levator
    ):
        distance = canvas.rod(
            (centre[0], side * centre[1]), radii, (lean[0], side * lean[1]), wobble=1.5
        )
        canvas.paint(np.maximum(distance, within + 2), "muscle", texture)
    canvas.paint(canvas.rod((-66, side * 63), (5, 5), (0.1, 0.0)), "artery")
    canvas.paint(canvas.rod((-61, side * 52), (6, 7), (0.1, 0.0)), "vein")
    canvas.paint(canvas.rod((38, side * 72), (5, 9), wobble=0.6), "nerve")


def _hip(canvas: Canvas, side: int, texture: np.ndarray) -> None:
    """Paint the femoral head in its socket, and the pubic bone."""
    socket = canvas.ball((6, -2, side * 80), (44, 40, 34), wobble=1.2)
    head = canvas.ball((2, -4, side * 92), (24, 24, 24))
    neck = canvas.rod((6, side * 118), (15, 26), (0.0, side * -0.3))
    femur = np.minimum(head, np.maximum(neck, canvas.z - 8))
    socket = np.maximum(socket, side * canvas.x - 96)
    socket = np.maximum(socket, -(head - 5))
    pubis = canvas.ball((-14, -52, side * 34), (16, 11, 30), wobble=0.8)
    pubis = np.maximum(pubis, 3 - side * canvas.x)
    for bone, rind in ((socket, 3.0), (femur, 2.2), (pubis, 2.4)):
        canvas.paint(bone, "cortex")
        canvas.paint(bone + rind, "marrow", texture)
    canvas.paint(np.abs(head - 2.5) - 1.5 + 50 * (side * canvas.x > 96), "vein")  # cartilage, fluid


def _midline(canvas: Canvas, body: Pelvis, coarse: np.ndarray) -> None:
    """Paint rectum, sacrum and bladder."""
    coccyx = canvas.ball((26, 78, 0), (40, 13, 22), wobble=1.0)
    canvas.paint(coccyx, "cortex")
    canvas.paint(coccyx + 2.2, "marrow", 0.1 * coarse)
    rectum = canvas.rod((34, 2), (15, 17), (0.12, 0.0), wobble=1.4)
    canvas.paint(rectum, "wall")
    canvas.paint(rectum + 4, "stool", 0.3 * coarse)
    canvas.paint(np.maximum(rectum + 5, canvas.y - 32 - 0.12 * canvas.z), "gas")
    height = body.gland[0] + body.bladder[0] - 4
    bladder = canvas.ball((height, -20, 0), body.bladder, wobble=0.6, power=2.3)
    canvas.paint(bladder - 3, "wall")
    canvas.paint(bladder, "urine")


def _gland(canvas: Canvas, body: Pelvis, fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Paint the prostate and its tumour; return the label."""
    high, deep, wide = body.gland
    gland = canvas.ball((0, 1, 0), body.gland, wobble=0.7, power=2.2)
    canvas.paint(gland - 1.2, "wall")
    whole = canvas.paint(gland, "peripheral", 0.07 * coarse + 0.08 * fine)
    zone = canvas.ball((3, -deep * 0.22, 0), (high * 0.8, deep * 0.72, wide * 0.72), wobble=0.9)
    nodules = canvas.noise(3.0)
    canvas.paint(zone - 0.8, "wall")
    canvas.paint(zone, "transition", 0.32 * nodules + 0.1 * fine)
    urethra = canvas.rod((-deep * 0.15, 0), (2.6, 2.6), (-0.1, 0.0))
    canvas.paint(np.maximum(urethra, np.abs(canvas.z) - high), "urine")
    label = np.where(whole, GLAND, 0).astype(np.uint8)
    if body.lesion:
        place = (-2, deep * 0.62, body.side * wide * 0.52)
        radii = (body.lesion * 1.2, body.lesion * 0.8, body.lesion * 1.1)
        lesion = np.maximum(canvas.ball(place, radii, wobble=0.5), gland + 0.5)
        label[canvas.paint(lesion, "lesion", 0.06 * fine)] = LESION
    return label
