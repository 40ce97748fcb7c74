"""Losses of segmentation networks, by name.

Each takes logits `(N, answered maps, *spatial)` and targets `(N, maps, *spatial)` and returns a
scalar. In the targets the answered maps come first, see `lib.data.targets`. Where a target is
unknown an answer costs nothing and has no gradient, and means are over the known pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from lib.data.case import Loss
from lib.data.ignore import UNKNOWN
from lib.data.targets import is_binary
from lib.errors import InputError, choose
from lib.networks.encoder_decoder import centre_crop
from lib.tasks.image_spec import PRESENCE

_Terms = Callable[[Tensor, Tensor, Sequence[str]], Tensor]

# Dice per image, then averaged over the batch: so the mean over processes equals the mean over one
# large batch. Squared denominators as in V-Net 2016, section 3.
_dice = DiceLoss(sigmoid=True, squared_pred=True, batch=False)
FOREGROUND = ("foreground",)
_SURELY_NOT = -1e4  # a logit whose probability and cross-entropy with 0 are exactly 0


def known_part(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and answered maps that agree where the target is unknown.

    Args:
        logits: `(N, answered maps, *spatial)`.
        target: `(N, maps, *spatial)`, `lib.data.ignore.UNKNOWN` where unknown.

    Returns:
        Logits and targets `(N, answered maps, *spatial)`, and `(1, answered maps, 1 ...)`: what to
        multiply pixels with so that means over all are means over the known pixels of each map.
    """
    target = target[:, : logits.shape[1]]
    known = target != UNKNOWN
    axes = [axis for axis in range(known.ndim) if axis != 1]
    count = known.sum(axes, keepdim=True)
    weight = known[:, 0].numel() / count.clamp(min=1)
    return logits.masked_fill(~known, _SURELY_NOT), target * known, weight


def bce(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Binary cross-entropy, averaged over pixels and summed over maps.

    It fits maps of fractions (a distance) as well: it is least where answer and target are equal.
    """
    return _cross_entropy(logits, target)


def dice(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Soft Dice loss, 1 - Dice, averaged over images and binary maps (V-Net 2016, eq. 1)."""
    answered = maps[: logits.shape[1]]
    binary = [n for n, name in enumerate(answered) if is_binary(name) and name != PRESENCE]
    logits, target, _ = known_part(logits[:, binary], target[:, binary])
    return _dice(logits, target)


def bce_dice(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Sum of binary cross-entropy and Dice loss with equal weights."""
    return bce(logits, target) + dice(logits, target, maps)


def border_weighted_bce(logits: Tensor, target: Tensor, maps: Sequence[str]) -> Tensor:
    """Binary cross-entropy of pixels weighted by the map "border_weight" (U-Net 2015, eq. 1)."""
    return _cross_entropy(logits, target, target[:, [list(maps).index("border_weight")]])


def _cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    logits, target, of_known = known_part(logits, target)
    mean = functional.binary_cross_entropy_with_logits(logits, target, weight * of_known)
    return mean * logits.shape[1]


LOSSES: dict[str, _Terms] = {
    "bce": bce,
    "dice": dice,
    "bce_dice": bce_dice,
    "border_weighted_bce": border_weighted_bce,
}


def get_loss(name: str, maps: Sequence[str] = FOREGROUND) -> Loss:
    """Return the loss called `name`.

    If the target is larger than the answer, as with unpadded convolutions, its middle counts.

    Args:
        name: one of `LOSSES`.
        maps: names of the target's maps, in their order.

    Raises:
        NotFoundError: unknown name.
        InputError: the loss needs a map that the target lacks.
    """
    terms = choose("loss", name, LOSSES)
    if terms is border_weighted_bce and "border_weight" not in maps:
        raise InputError(
            f"loss '{name}' needs the target map border_weight, found {', '.join(maps)}; add it "
            f"to the row's TargetSpec.maps"
        )

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return terms(logits, centre_crop(target, logits.shape[2:]), maps)

    return loss
