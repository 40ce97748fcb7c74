"""Saliency maps: the pixels of a view that influence the class that a network answers.

There are two methods, both of `monai.visualize`:

* ``gradcam`` (Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391): the sum of the last maps, each
  weighted by the mean gradient of the class's logit with respect to it. Its resolution is that of
  these maps, a sixteenth or a thirty-second of the input.
* ``gradient`` (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise",
  arXiv:1706.03825): the magnitude of the logit's gradient at each pixel, averaged over noisy
  copies.

Guided back-propagation, which MONAI has too, is not offered: it replaces ReLUs only, while these
networks have leaky ones, and its result hardly depends on the weights (Adebayo et al. 2018, "Sanity
checks for saliency maps", arXiv:1810.03292).

A map shows which pixels influence the answer. It does not prove why, and it does not outline dense
tissue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np
import torch
from monai.visualize import GradCAM, SmoothGrad
from monai.visualize.class_activation_maps import default_upsampler
from torch import Tensor, nn

from lib.classification.answer import ExamAnswer, ViewAnswer
from lib.classification.predictor import ExamPredictor
from lib.errors import choose
from lib.mammography.breast import network_input

FEATURES = "features"  # name of the layer in front of the copied head
NOISE = 0.15  # standard deviation of the noise, as a share of the image's range
COPIES = 8  # noisy copies; each costs a forward and a backward pass
SEED = 20170612
OUTLIERS = 1.0  # percent of the gradients above 0 that are shown as 1
_RANDOM = threading.Lock()  # torch's random state is global in the process
LEVELS = 256  # steps of a map; finer ones show nothing more and make files five times as large


def grad_cam(predictor: ExamPredictor, answer: ViewAnswer, class_index: int) -> Tensor:
    """Return Grad-CAM for one class, `(rows, columns)` of the network's input, at least 0.

    It is computed from the maps in the answer, so the convolutions are not run again.
    """
    head = nn.Sequential()
    head.add_module(FEATURES, nn.Identity())
    head.add_module("head", predictor.copy_network(answer.view, head=True))
    # keep the upsampled map: MONAI's own post-processing inverts it and stretches a map of zeros
    explain = GradCAM(
        head,
        FEATURES,
        upsampler=lambda _: default_upsampler(answer.prepared.pixels.shape),
        postprocessing=lambda saliency: saliency,
    )
    maps = answer.maps.to(predictor.device, torch.float32, copy=True)[None]
    saliency_map: Tensor = explain(maps.requires_grad_(), class_idx=class_index)
    return saliency_map[0, 0]


def smooth_grad(predictor: ExamPredictor, answer: ViewAnswer, class_index: int) -> Tensor:
    """Return the greatest SmoothGrad of the channels, `(rows, columns)`, with outliers clipped."""
    network = predictor.copy_network(answer.view)
    image = torch.from_numpy(network_input(answer.prepared, predictor.task.input))[None]
    image = image.to(predictor.device, torch.float32)
    cuda = [image.device] if image.device.type == "cuda" else []
    with _RANDOM, torch.random.fork_rng(cuda):  # the same noise each time
        torch.manual_seed(SEED)
        explain = SmoothGrad(network, NOISE, COPIES, magnitude=True, verbose=False)
        saliency_map: Tensor = explain(image, index=class_index, retain_graph=False)
    saliency_map = saliency_map[0].amax(0)
    positive = saliency_map[saliency_map > 0].cpu().numpy()
    top = float(np.percentile(positive, 100 - OUTLIERS)) if positive.size else 0.0
    return saliency_map.clamp(max=top)


METHODS: Mapping[str, Callable[[ExamPredictor, ViewAnswer, int], Tensor]] = {
    "gradcam": grad_cam,
    "gradient": smooth_grad,
}


def saliency(
    predictor: ExamPredictor, answer: ExamAnswer, view: str, method: str = "gradcam"
) -> np.ndarray:
    """Return the saliency of one view for the class that was answered on the exam.

    It is computed in float32 (``gradcam`` starts from the maps in the answer), on a copy of the
    network, so that other threads can use the predictor meanwhile.

    Args:
        answer: the answer of `predictor`.
        view: name of one of the answered views, such as ``R-CC``.
        method: one of `METHODS`.

    Returns:
        float32 `(rows, columns)` of the view's image, 0..1 in steps of 1 / 256. The greatest value
        of the view is 1; if no pixel supports the class, all values are 0.

    Raises:
        NotFoundError: no such method or view.
    """
    compute, of_view = choose("method", method, METHODS), choose("view", view, answer.views)
    with torch.inference_mode(False), torch.enable_grad():
        saliency_map = compute(predictor, of_view, answer.class_index)
    full = of_view.prepared.undo(saliency_map.detach().float().cpu().numpy(), smooth=True)
    if (top := full.max()) > 0:
        full /= top
        full *= LEVELS
    np.rint(full, out=full).clip(0, LEVELS, out=full)
    full /= LEVELS
    return full
