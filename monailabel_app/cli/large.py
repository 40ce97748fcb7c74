"""`infer` of images that are larger than memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.io.rows import LargeImage
    from lib.segmentation.predictor import Predictor


def answer_with_bar(
    predictor: Predictor,
    image: LargeImage,
    target: Path,
    result: str,
    exports: Mapping[str, Path],
) -> dict[str, Any]:
    """Answer an image, and show how far it is; see `infer.large.answer_large`.

    Args:
        exports: paths by name, which `infer.large.check_large` accepts.
    """
    from tqdm import tqdm

    from infer.large import GEOJSON, answer_large
    from lib.exports.targets import target_of
    from lib.io.read import stem

    outlines = [target_of(GEOJSON, path, stem(image.path)) for path in exports.values()]
    with tqdm(total=100, unit="%", desc=image.path.name, disable=None) as bar:
        return answer_large(
            predictor,
            image,
            target,
            result,
            outlines,
            progress=lambda share: bar.update(round(100 * share) - bar.n),
        )
