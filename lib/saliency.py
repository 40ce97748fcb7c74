"""Where in a view a network looks for the class that it answers.

Two methods of `monai.visualize`:

* ``gradcam`` (Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391): the last maps, each weighted by
  the mean gradient of the class's logit at it. Coarse: as fine as these maps, a sixteenth or a
  thirty-second of the input.
* ``gradient`` (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise",
  arXiv:1706.03825): the magnitude of the logit's gradient at each pixel, over noisy copies.

Guided back-propagation, which MONAI has too, replaces ReLUs alone, and these networks have leaky
ones; besides, it hardly depends on the weights (Adebayo et al. 2018, "Sanity checks for saliency
maps", arXiv:1810.03292).

A map shows what moves the answer. It is no proof of why, and no outline of dense tissue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from monai.visualize import GradCAM, SmoothGrad
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from torch import Tensor, nn

from lib.classification import ExamAnswer, ExamPredictor
from lib.dicom_geometry import dicom_geometry, pixel_spacing
from lib.dicom_pixels import open_dicom
from lib.errors import choose
from lib.exam_cases import network_input
from lib.files import write_atomically
from lib.images import VOLUME_EXTENSIONS, Geometry, extension
from lib.mammography import is_dicom, read_mammogram
from lib.masks import write_probabilities
from lib.volumes import read_volume

FEATURES = "features"  # of lib.networks.classifiers.ViewNetwork: answers with its last maps
NOISE = 0.15  # standard deviation of the noise, of the range of the image
COPIES = 8  # noisy ones; each costs a forward and a backward pass
SEED = 20170612
OUTLIERS = 1.0  # percent of the gradients above 0 that are shown as 1
OPACITY = 0.75  # of the colour where the saliency is 1
LONGEST = 2048  # pixels of an overlay's longer side; the scalar image has all of them


def grad_cam(network: nn.Module, image: Tensor, place: int) -> Tensor:
    """Return Grad-CAM `(rows, columns)`, at least 0, for one class.

    Args:
        network: a `ViewNetwork` in evaluation mode, which gets hooks.
        image: `(1, channels, rows, columns)`.
        place: of the class in the logits.
    """
    # the upsampled map as it is: MONAI would turn it upside down, and hide that it may be 0
    explain = GradCAM(network, FEATURES, postprocessing=lambda found: found)
    found: Tensor = explain(image.requires_grad_(), class_idx=place)
    return found[0, 0]


def smooth_grad(network: nn.Module, image: Tensor, place: int) -> Tensor:
    """Return the largest gradient of any channel, `(rows, columns)`, without the few outliers.

    Args:
        network, image, place: see `grad_cam`.
    """
    cuda = [image.device] if image.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):  # the same noise each time
        torch.manual_seed(SEED)
        explain = SmoothGrad(network, NOISE, COPIES, magnitude=True, verbose=False)
        found: Tensor = explain(image, index=place, retain_graph=False)
    found = found[0].amax(0)
    shown = found[found > 0].cpu().numpy()
    top = float(np.percentile(shown, 100 - OUTLIERS)) if shown.size else 0.0
    return found.clamp(max=top)


METHODS: Mapping[str, Callable[[nn.Module, Tensor, int], Tensor]] = {
    "gradcam": grad_cam,
    "gradient": smooth_grad,
}


def saliency(
    predictor: ExamPredictor, answer: ExamAnswer, view: str, method: str = "gradcam"
) -> np.ndarray:
    """Return what moves one view's network towards the class that was answered on the exam.

    Computed in float32 whatever the predictor's precision, on a copy of the view's network, so that
    other threads may answer meanwhile.

    Args:
        answer: of `predictor`.
        view: name of one of the answered views, such as ``R-CC``.
        method: one of `METHODS`.

    Returns:
        float32 on the full grid of the view's image, 0..1, where 1 is the greatest of this view; 0
        everywhere if nothing in it moves the answer so.

    Raises:
        NotFoundError: no such method or view.
    """
    compute, seen = choose("method", method, METHODS), choose("view", view, answer.views)
    network = predictor.copy_network(seen.view)
    image = torch.from_numpy(network_input(seen.prepared, predictor.task.input))[None]
    with torch.inference_mode(False), torch.enable_grad():
        found = compute(network, image.to(predictor.device, torch.float32), answer.place)
    full = seen.prepared.undo(found.detach().float().cpu().numpy(), smooth=True)
    return np.clip(full / max(float(full.max()), np.finfo(np.float32).tiny), 0, 1)


def view_geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    """Return the geometry of a view's file, as viewers place it.

    Args:
        shape: rows and columns of the image, for files that have no geometry.
    """
    if is_dicom(path):
        data = open_dicom(path, header_only=True)
        return dicom_geometry(data, pixel_spacing(data), None)
    if extension(path) in VOLUME_EXTENSIONS:
        return read_volume(path, shape[0] * shape[1], 2)[1]
    return Geometry.flat(*shape)


def save_scalar(path: Path, values: np.ndarray, image: Path) -> Path:
    """Write saliency as a scalar image over the view that it belongs to.

    Args:
        path: NRRD, NIfTI or MetaImage.
        values: float32 `(rows, columns)` of the view's image, 0..1.
        image: the view's file.
    """
    return write_probabilities(path, values, view_geometry(image, values.shape))


def save_overlay(path: Path, values: np.ndarray, image: Path, title: str) -> Path:
    """Write a PNG of the view in grey under its saliency in colour, opaque as it is salient.

    The colour map is magma, whose lightness rises evenly (van der Walt and Smith 2015).

    Args:
        values: float32 `(rows, columns)` of the view's image, 0..1.
        image: the view's file.
        title: one line of text, written where there is no breast.
    """
    pixels = read_mammogram(image).pixels
    if values.shape != pixels.shape:
        raise ValueError(f"saliency of shape {values.shape} on an image of {pixels.shape}")
    picture = overlay(pixels, values, title)

    def write(file: BinaryIO) -> None:
        picture.save(file, "PNG", compress_level=3)

    return write_atomically(path, write)


def overlay(pixels: np.ndarray, values: np.ndarray, title: str) -> PillowImage.Image:
    """Return the picture of `save_overlay`, its longer side at most `LONGEST`.

    Args:
        pixels, values: float32 `(rows, columns)`, 0..1.
    """
    from matplotlib import colormaps

    grey, salient = (_reduced(part) for part in (pixels, values))
    low, high = (float(value) for value in np.percentile(grey, (0.5, 99.8)))
    grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    colours = colormaps["magma"](np.linspace(0, 1, 256))[:, :3].astype(np.float32)
    colour = colours[np.rint(salient * 255).astype(np.uint8)]
    opacity = OPACITY * salient[..., None]
    blended = grey[..., None] * (1 - opacity) + colour * opacity
    picture = PillowImage.fromarray(np.rint(blended * 255).astype(np.uint8))
    _write_title(picture, title, at_right=_empty_at_right(grey))
    return picture


def _reduced(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` with sides of at most `LONGEST`."""
    share = min(1.0, LONGEST / max(pixels.shape))
    if share == 1:
        return pixels
    size = max(round(pixels.shape[1] * share), 1), max(round(pixels.shape[0] * share), 1)
    reduced = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BILINEAR)
    return np.asarray(reduced).clip(0, 1)


def _empty_at_right(grey: np.ndarray) -> bool:
    half = grey.shape[1] // 2
    return bool(grey[:, :half].mean() > grey[:, -half:].mean())


def _write_title(picture: PillowImage.Image, title: str, at_right: bool) -> None:
    """Write `title` into the lower corner, smaller where it would not fit."""
    draw = ImageDraw.Draw(picture)
    margin = max(picture.height // 100, 1)
    size = max(picture.height / 36, 9.0)
    wide = draw.textlength(title, ImageFont.load_default(size))
    size = max(min(size, size * (picture.width - 2 * margin) / max(wide, 1)), 6.0)
    across = picture.width - margin if at_right else margin
    draw.text(
        (across, picture.height - margin),
        title,
        fill=(255, 255, 255),
        font=ImageFont.load_default(size),
        anchor="rd" if at_right else "ld",
        stroke_width=max(round(size / 12), 1),
        stroke_fill=(0, 0, 0),
    )
