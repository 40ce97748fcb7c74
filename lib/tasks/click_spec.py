"""How clicks guide a network. Plain data; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib.tasks.spec_fields import LATER

CLICK_MAPS = 2  # positive and negative


@dataclass(frozen=True, kw_only=True)
class ClickSpec:
    """How clicks guide a network, and how `lib.interactive.simulated_user` makes them in training.

    Attributes:
        radius: of the disc, or ball, that a click is drawn as, in pixels of the network's grid.
        footprint: radius of the disc that is set around a click which the network does not follow.
        first: most clicks of each sign that a training patch begins with, where it has any.
        automatic: share of the training patches that begin without clicks.
        corrections: most rounds of clicks that then follow, where the network's answer is wrong.
        objects: most objects that are corrected in a round, for tasks that separate objects.
        validated: corrections of each validation case; the score is the mean over the answers
            after 0, 1, ... and all of them.
    """

    radius: float = 3.0
    footprint: float = field(default=1.0, metadata=LATER)
    first: int = 2
    automatic: float = 0.5
    corrections: int = 3
    objects: int = field(default=3, metadata=LATER)
    validated: int = 3
