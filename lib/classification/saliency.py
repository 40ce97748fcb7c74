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

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from monai.visualize import GradCAM, SmoothGrad
from monai.visualize.class_activation_maps import default_upsampler
from torch import Tensor, nn

from lib.classification.answer import ExamAnswer, ViewAnswer
from lib.classification.cases import network_input
from lib.classification.overlays import overlay
from lib.classification.predictor import ExamPredictor
from lib.dicom.geometry import dicom_geometry, pixel_spacing
from lib.dicom.pixels import open_dicom
from lib.errors import choose
from lib.files import write_atomically
from lib.image import VOLUME_EXTENSIONS, Geometry, has_extension
from lib.io.masks import write_probabilities
from lib.io.volumes import read_volume
from lib.mammography.mammogram import is_dicom

FEATURES = "features"  # of lib.networks.classifiers.ViewNetwork: answers with its last maps
NOISE = 0.15  # standard deviation of the noise, of the range of the image
COPIES = 8  # noisy ones; each costs a forward and a backward pass
SEED = 20170612
OUTLIERS = 1.0  # percent of the gradients above 0 that are shown as 1
_RANDOM = threading.Lock()  # its random numbers are the whole process's
LEVELS = 256  # steps of a map; finer ones tell nothing, and files of them are five times as large


def grad_cam(predictor: ExamPredictor, seen: ViewAnswer, place: int) -> Tensor:
    """Return Grad-CAM `(rows, columns)` on what the network saw, at least 0, for one class.

    Of the maps that the view was answered from; so neither the forward nor the backward pass of
    the convolutions is run again.

    Args:
        place: of the class in the logits.
    """
    head = nn.Sequential()
    head.add_module(FEATURES, nn.Identity())
    head.add_module("head", predictor.copy_network(seen.view, head=True))
    # the upsampled map as it is: MONAI would turn it upside down, and hide that it may be 0
    explain = GradCAM(
        head,
        FEATURES,
        upsampler=lambda _: default_upsampler(seen.prepared.pixels.shape),
        postprocessing=lambda found: found,
    )
    maps = seen.maps.to(predictor.device, torch.float32, copy=True)[None]
    found: Tensor = explain(maps.requires_grad_(), class_idx=place)
    return found[0, 0]


def smooth_grad(predictor: ExamPredictor, seen: ViewAnswer, place: int) -> Tensor:
    """Return the largest gradient of any channel, `(rows, columns)`, without the few outliers.

    Args:
        predictor, seen, place: see `grad_cam`.
    """
    network = predictor.copy_network(seen.view)
    image = torch.from_numpy(network_input(seen.prepared, predictor.task.input))[None]
    image = image.to(predictor.device, torch.float32)
    cuda = [image.device] if image.device.type == "cuda" else []
    with _RANDOM, torch.random.fork_rng(cuda):  # the same noise each time
        torch.manual_seed(SEED)
        explain = SmoothGrad(network, NOISE, COPIES, magnitude=True, verbose=False)
        found: Tensor = explain(image, index=place, retain_graph=False)
    found = found[0].amax(0)
    shown = found[found > 0].cpu().numpy()
    top = float(np.percentile(shown, 100 - OUTLIERS)) if shown.size else 0.0
    return found.clamp(max=top)


METHODS: Mapping[str, Callable[[ExamPredictor, ViewAnswer, int], Tensor]] = {
    "gradcam": grad_cam,
    "gradient": smooth_grad,
}


def saliency(
    predictor: ExamPredictor, answer: ExamAnswer, view: str, method: str = "gradcam"
) -> np.ndarray:
    """Return what moves one view's network towards the class that was answered on the exam.

    Computed in float32, but for the maps of ``gradcam``, which are those of the answer; on a copy
    of the network, so that other threads may answer meanwhile.

    Args:
        answer: of `predictor`.
        view: name of one of the answered views, such as ``R-CC``.
        method: one of `METHODS`.

    Returns:
        float32 on the full grid of the view's image, 0..1 in steps of 1 / 256, where 1 is the
        greatest of this view; 0 everywhere if nothing in it moves the answer so.

    Raises:
        NotFoundError: no such method or view.
    """
    compute, seen = choose("method", method, METHODS), choose("view", view, answer.views)
    with torch.inference_mode(False), torch.enable_grad():
        found = compute(predictor, seen, answer.place)
    full = seen.prepared.undo(found.detach().float().cpu().numpy(), smooth=True)
    full *= LEVELS / max(float(full.max()), float(np.finfo(np.float32).tiny))
    np.rint(full, out=full).clip(0, LEVELS, out=full)
    full /= LEVELS
    return full


def view_geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    """Return the geometry of a view's file, as viewers place it.

    Args:
        shape: rows and columns of the image, for files that have no geometry.
    """
    if is_dicom(path):
        data = open_dicom(path, header_only=True)
        return dicom_geometry(data, pixel_spacing(data), None)
    if has_extension(path, VOLUME_EXTENSIONS):
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


def save_overlay(path: Path, values: np.ndarray, picture: np.ndarray, title: str) -> Path:
    """Write a PNG of the view in grey under its saliency in colour, opaque as it is salient.

    Args:
        values: float32 `(rows, columns)` of the view's image, 0..1.
        picture: of the view, see `lib.classification.overlays.grey_picture`.
        title: one line of text, written where there is no breast.
    """
    made = overlay(picture, values, title)

    def write(file: BinaryIO) -> None:
        made.save(file, "PNG", compress_level=1)

    return write_atomically(path, write)
