"""Pictures of microscopy as DICOM, in grey and in colour, as a microscope sends them."""

from __future__ import annotations

from typing import Any

from pydicom.uid import VLMicroscopicImageStorage

from lib.phantoms.dicom_objects import image_instance
from lib.phantoms.dicom_study import DemoStudy
from lib.phantoms.nuclei import Stain, nuclei_phantom

_WORDS: dict[Stain, str] = {
    "fluorescence": "Nuclei, fluorescence",
    "histology": "Nuclei, histology",
}


def picture_instance(
    seed: int,
    stain: Stain = "fluorescence",
    size: tuple[int, int] = (256, 256),
    sop_class: str = VLMicroscopicImageStorage,
    modality: str = "GM",
) -> tuple[Any, Any]:
    """Return a picture of nuclei as an instance of a study of its own, and its label.

    Fluorescence is grey, histology RGB.

    Args:
        size: rows and columns.

    Returns:
        The instance, and the label `(rows, columns)`, uint16, nuclei numbered from 1.
    """
    pixels, label = nuclei_phantom(seed, stain, *size)
    data = image_instance(
        sop_class,
        modality,
        (stain, seed, 1, 0),
        pixels[None],
        ImageType=["ORIGINAL", "PRIMARY"],
        SeriesDescription=_WORDS[stain],
        AcquisitionContextSequence=[],
        VolumetricProperties="VOLUME",
    )
    return data, label


def pictures_study(kind: str, seed: int) -> DemoStudy:
    """Return a study of two pictures, each a series: fluorescence and histology."""
    made = {stain: picture_instance(seed, stain) for stain in _WORDS}
    truth = {str(data.SeriesInstanceUID): label for data, label in made.values()}
    pixels = {str(data.SeriesInstanceUID): data.pixel_array for data, _ in made.values()}
    datasets = tuple(data for data, _ in made.values())
    return DemoStudy(kind=kind, datasets=datasets, truth=truth, pixels=pixels)
