"""Draw the README's picture: phantoms with the outlines of the nuclei that the shipped model finds.

Run as `python docs/picture.py` from the repository's root.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from skimage.segmentation import mark_boundaries  # noqa: E402

from lib.image import Geometry, Image  # noqa: E402
from lib.phantoms.nuclei import nuclei_phantom  # noqa: E402
from lib.segmentation.predictor import Predictor  # noqa: E402
from lib.tasks.registry import get_task  # noqa: E402
from lib.weights.checkpoint import load_checkpoint  # noqa: E402
from monailabel_app.config import SHIPPED_MODELS  # noqa: E402


def main() -> None:
    """Write docs/nuclei.png."""
    weights = load_checkpoint(SHIPPED_MODELS / "pretrained_nuclei.pt")
    predictor = Predictor.from_checkpoint(get_task("nuclei"), weights)
    panels = []
    for seed, stain in ((5, "fluorescence"), (2, "histology"), (9, "fluorescence")):
        pixels, _ = nuclei_phantom(seed, stain, 240, 320, 40)  # type: ignore[arg-type]
        where = Geometry.flat(*pixels.shape[:2])
        image = Image(pixels, where, Path(f"{stain}.png"), colour=pixels.ndim == 3)
        instances = predictor(image).instances
        assert instances is not None
        shown = pixels / max(1, np.percentile(pixels, 99.8))
        shown = np.clip(shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2), 0, 1)
        panels.append(mark_boundaries(shown, instances, color=(1.0, 0.85, 0.1), mode="inner"))
    sheet = np.concatenate(panels, axis=1)
    PillowImage.fromarray((sheet * 255).astype(np.uint8)).save(ROOT / "docs" / "nuclei.png")


if __name__ == "__main__":
    main()
