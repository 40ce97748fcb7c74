"""The kind of an image: its modality and dimensions. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Dimensions = Literal["2d", "loop", "3d", "mammogram"]
DIMENSIONS: tuple[Dimensions, ...] = get_args(Dimensions)

# DICOM modalities (0008,0060)
ULTRASOUND = ("US", "IVUS")
MAMMOGRAPHY = ("MG",)
SCANS = ("CT", "MR", "PT")  # volumes of slices
# Pictures that no radiological device made: slides, other microscopes, photographs, and whatever
# was captured or converted
PICTURES = ("SM", "GM", "XC", "OT", "SC")
MODALITY_WORDS = {
    **dict.fromkeys(ULTRASOUND, "ultrasound"),
    **dict.fromkeys(MAMMOGRAPHY, "mammograms"),
    **dict.fromkeys(PICTURES, "pictures of microscopy"),
}
DIMENSION_WORDS = {
    "2d": "single images",
    "loop": "loops",
    "3d": "volumes",
    "mammogram": "mammograms",
}


@dataclass(frozen=True)
class ImageKind:
    """What is known of an image before its pixels are read.

    Attributes:
        modality: that of DICOM (0008,0060); empty where nothing tells it.
        dimensions: one of `DIMENSIONS`; empty where nothing tells it. A stack of pictures or a
            volume of no modality counts as "3d", though it may be a loop.
    """

    modality: str = ""
    dimensions: str = ""

    def is_like(self, other: ImageKind) -> bool:
        """Tell whether two images are of one modality and, as far as known, of like dimensions."""
        unknown = not (self.dimensions and other.dimensions)
        return self.modality == other.modality and (unknown or self.dimensions == other.dimensions)

    def __str__(self) -> str:
        """Return the kind in words, such as "loops of ultrasound (US)"."""
        shown = DIMENSION_WORDS.get(self.dimensions, "images")
        if not self.modality:
            return shown
        word = MODALITY_WORDS.get(self.modality)
        if word == shown:
            return f"{word} ({self.modality})"
        return f"{shown} of {f'{word} ({self.modality})' if word else self.modality}"
