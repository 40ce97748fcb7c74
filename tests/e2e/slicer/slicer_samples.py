"""Phantoms in each file type, and weights whose answers on them are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tifffile
import torch
from PIL import Image as PillowImage
from server_support import MODEL, discs, threshold_weights, write_dicom
from test_density import _weights_that_answer_c as weights_that_answer_c

from lib.phantoms.dicom_studies import ultrasound_volume_study
from lib.weights.checkpoint import load_checkpoint, save_checkpoint

CLICKED, VOLUME, VOLUME_CLICKED = "busi_click", "ultrasound3d_vnet", "ultrasound3d_click"
STRUCTURES, DENSITY = "ultrasound3d_structures", "density_birads"
MODELS = (MODEL, CLICKED, VOLUME, VOLUME_CLICKED, STRUCTURES, DENSITY)

ROWS, COLUMNS, SLICES = 72, 96, 6
GLAND, CYST = 150, 250  # greys of the structures
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
LEFT_HANDED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
PERMUTED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Write = Callable[[Path, np.ndarray], object]


def write_weights(folder: Path) -> None:
    """Write weights that call bright pixels the structure; the brightest are cysts."""
    for task in (MODEL, CLICKED, VOLUME, VOLUME_CLICKED, STRUCTURES):
        threshold_weights(folder / f"{task}.pt", task=task)
    checkpoint = load_checkpoint(folder / f"{STRUCTURES}.pt")
    weights = {name: torch.clone(value) for name, value in checkpoint.weights.items()}
    weights["output.weight"][2, 0], weights["output.bias"][2] = 16.0, -0.8 * 16
    save_checkpoint(folder / f"{STRUCTURES}.pt", replace(checkpoint, weights=weights))
    weights_that_answer_c(folder / f"{DENSITY}.pt")


def cells() -> np.ndarray:
    """Draw bright discs, uint8 `(rows, columns)`; no mirror image is like another."""
    pixels = discs(ROWS, COLUMNS)
    pixels[:24, :24] = pixels[24:48, 48:72] = pixels[48:, :24] = 10
    return pixels


def volume() -> np.ndarray:
    """Draw a gland with cysts, uint8 `(slices, rows, columns)`, unlike its mirror images."""
    z, y, x = np.mgrid[:SLICES, :ROWS, :COLUMNS]
    gland = ((z - 2) / 2.2) ** 2 + ((y - 30) / 17) ** 2 + ((x - 40) / 25) ** 2 < 1
    cysts = (abs(y - 27) < 4) & (abs(x - 30) < 6) | (abs(y - 36) < 3) & (abs(x - 52) < 4)
    return np.where(gland, np.where(cysts & (z < 4), CYST, GLAND), 10).astype(np.uint8)


def frames() -> np.ndarray:
    """Draw the cells of `cells`, fewer from frame to frame, uint8 `(frames, rows, columns)`."""
    drawn = np.stack([cells()] * 3)
    drawn[1:, 24:48] = 10
    drawn[2:, :, 72:] = 10
    return drawn


def _itk(path: Path, pixels: np.ndarray, direction: tuple[float, ...]) -> None:
    image = sitk.GetImageFromArray(pixels if pixels.ndim == 3 else pixels[np.newaxis])
    image.SetSpacing((0.5, 0.5, 0.5))
    image.SetOrigin((7.0, -3.0, 11.0))
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))


def oblique(path: Path, pixels: np.ndarray) -> None:
    """Write a file that ITK writes with a turned grid."""
    _itk(path, pixels, OBLIQUE)


def left_handed(path: Path, pixels: np.ndarray) -> None:
    """Write a file whose slices Slicer reverses."""
    _itk(path, pixels, LEFT_HANDED)


def permuted(path: Path, pixels: np.ndarray) -> None:
    """Write a file whose axes are those of the world in another order."""
    _itk(path, pixels, PERMUTED)


def flat(path: Path, pixels: np.ndarray) -> None:
    """Write a file with two axes."""
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((0.3, 0.7))
    image.SetOrigin((-4.0, 11.5))
    sitk.WriteImage(image, str(path))


def picture(path: Path, pixels: np.ndarray) -> None:
    """Write a picture without a resolution."""
    PillowImage.fromarray(pixels).save(path)


def coloured(path: Path, pixels: np.ndarray) -> None:
    """Write a picture in colour."""
    PillowImage.fromarray(np.dstack([pixels, pixels // 2, pixels // 3])).save(path)


def lossy(path: Path, pixels: np.ndarray) -> None:
    """Write a JPEG without a resolution."""
    PillowImage.fromarray(pixels).save(path, quality=98)


def with_dpi(path: Path, pixels: np.ndarray) -> None:
    """Write a picture of 300 dots per inch."""
    more = {"quality": 98} if path.suffix == ".jpg" else {}
    PillowImage.fromarray(pixels).save(path, dpi=(300, 300), **more)


def per_inch(path: Path, pixels: np.ndarray) -> None:
    """Write a TIFF with other resolutions along rows and columns."""
    tifffile.imwrite(path, pixels, resolution=(300, 150), resolutionunit="INCH")


def per_centimetre(path: Path, pixels: np.ndarray) -> None:
    """Write a TIFF of 0.32 micrometres a pixel."""
    tifffile.imwrite(path, pixels, resolution=(31250, 31250), resolutionunit="CENTIMETER")


def pages(path: Path, pixels: np.ndarray) -> None:
    """Write a TIFF with a page for each slice."""
    tifffile.imwrite(path, pixels, photometric="minisblack")


def dicom(path: Path, pixels: np.ndarray) -> None:
    """Write DICOM without a place in space; three axes are a loop."""
    tags = {"FrameTime": "40"} if pixels.ndim == 3 else {}
    write_dicom(path, pixels, PixelSpacing=["0.25", "0.5"], **tags)


def enhanced(path: Path, pixels: np.ndarray) -> None:
    """Write DICOM of 3D ultrasound, whose frames tell their places."""
    (data,) = ultrasound_volume_study(1, pixels.shape).datasets
    data.PixelData = pixels.tobytes()
    data.save_as(path, enforce_file_format=True)


def placed(path: Path, pixels: np.ndarray) -> None:
    """Write DICOM with its place in space."""
    write_dicom(
        path,
        pixels,
        Modality="MR",
        PixelSpacing=["0.4", "0.6"],
        SliceThickness="2",
        ImagePositionPatient=["7", "-3", "11"],
        ImageOrientationPatient=["0.8", "0.6", "0", "-0.6", "0.8", "0"],
    )


PICTURES: tuple[tuple[str, Write], ...] = (
    (".png", picture),
    (".png", coloured),
    (".png", with_dpi),
    (".bmp", picture),
    (".jpg", lossy),
    (".jpg", with_dpi),
    (".tif", picture),
    (".tif", per_inch),
    (".tif", per_centimetre),
    (".nii.gz", oblique),
    (".nii.gz", flat),
    (".nrrd", oblique),
    (".nrrd", flat),
    (".mha", left_handed),
    (".dcm", dicom),
    (".dcm", placed),
)
VOLUMES: tuple[tuple[str, Write], ...] = (
    (".nrrd", oblique),
    (".nrrd", left_handed),
    (".nrrd", permuted),
    (".nii.gz", left_handed),
    (".mha", permuted),
    (".tif", pages),
    (".dcm", dicom),
)


def names_of(samples: tuple[tuple[str, Write], ...]) -> list[str]:
    """Return a name of each sample for the tests."""
    return [f"{write.__name__}{suffix}" for suffix, write in samples]
