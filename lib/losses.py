"""Losses of the tasks, by name. Each takes logits and targets of shape `(N, maps, *spatial)`."""

from __future__ import annotations

from collections.abc import Callable

from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from lib.errors import choose

Loss = Callable[[Tensor, Tensor], Tensor]

# Dice per image, averaged over the batch, so that the mean over processes equals the mean over
# one large batch; squared denominators as in V-Net 2016, section 3.
_dice = DiceLoss(sigmoid=True, squared_pred=True, batch=False)


def bce(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over pixels."""
    return functional.binary_cross_entropy_with_logits(logits, target)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss, 1 - Dice, averaged over images and maps (Milletari et al. 2016, eq. 1)."""
    return _dice(logits, target)


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of binary cross-entropy and Dice loss with equal weights."""
    return bce(logits, target) + dice(logits, target)


LOSSES: dict[str, Loss] = {"bce": bce, "dice": dice, "bce_dice": bce_dice}


def get_loss(name: str) -> Loss:
    """Return the loss called `name`; an unknown name raises `NotFoundError`."""
    return choose("loss", name, LOSSES)
