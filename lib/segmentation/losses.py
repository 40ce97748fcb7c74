"""Losses of the tasks, by name.

Each takes logits `(N, answered maps, *spatial)` and targets `(N, maps, *spatial)`, in which the
answered maps come first (see `lib.data.targets`), and returns a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from lib.data.case import Loss
from lib.data.targets import is_binary
from lib.errors import InputError, choose
from lib.networks.encoder_decoder import centre_crop
from lib.tasks.image_spec import PRESENCE

_Terms = Callable[[Tensor, Tensor, Sequence[str]], Tensor]

# Dice per image, averaged over the batch, so that the mean over processes equals the mean over
# one large batch; squared denominators as in V-Net 2016, section 3.
_dice = DiceLoss(sigmoid=True, squared_pred=True, batch=False)
FOREGROUND = ("foreground",)


def bce(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Binary cross-entropy, averaged over pixels and summed over maps.

    A map of fractions (a distance) is fitted by it as well: the least is at equality.
    """
    mean = functional.binary_cross_entropy_with_logits(logits, target[:, : logits.shape[1]])
    return mean * logits.shape[1]


def dice(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Soft Dice loss, 1 - Dice, averaged over images and binary maps (V-Net 2016, eq. 1)."""
    places = range(logits.shape[1])
    binary = [n for n in places if is_binary(maps[n]) and maps[n] != PRESENCE]
    return _dice(logits[:, binary], target[:, binary])


def bce_dice(logits: Tensor, target: Tensor, maps: Sequence[str] = FOREGROUND) -> Tensor:
    """Sum of binary cross-entropy and Dice loss with equal weights."""
    return bce(logits, target) + dice(logits, target, maps)


def border_weighted_bce(logits: Tensor, target: Tensor, maps: Sequence[str]) -> Tensor:
    """Cross-entropy with each pixel weighed by the map "border_weight" (U-Net 2015, eq. 1)."""
    weight = target[:, [list(maps).index("border_weight")]]
    answered = target[:, : logits.shape[1]]
    mean = functional.binary_cross_entropy_with_logits(
        logits, answered, weight=weight.expand_as(logits)
    )
    return mean * logits.shape[1]


LOSSES: dict[str, _Terms] = {
    "bce": bce,
    "dice": dice,
    "bce_dice": bce_dice,
    "border_weighted_bce": border_weighted_bce,
}


def get_loss(name: str, maps: Sequence[str] = FOREGROUND) -> Loss:
    """Return the loss called `name` for targets of `maps`.

    A target larger than the answer (of a network without padding) is cut to its middle.

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
