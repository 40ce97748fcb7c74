"""Who is working on which image, so that two people are not given the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

LEASE_SECONDS = 1800.0

Groups = Mapping[str, tuple[str, ...]]  # images by what they are labelled as one of


class Leases:
    """Images given out for labelling, by who got them; forgotten after a while.

    Args:
        seconds: how long an image is kept for somebody.
    """

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self.seconds = seconds
        self._held: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def free(self, samples: Groups, who: str) -> dict[str, tuple[str, ...]]:
        """Return the samples no image of which another works on; all where others hold each."""
        with self._lock:
            now = time.monotonic()
            self._held = {id: (by, end) for id, (by, end) in self._held.items() if end > now}
            others = self._others(who, now)
        return {id: own for id, own in samples.items() if others.isdisjoint(own)} or dict(samples)

    def take(self, samples: Groups, chosen: str, who: str) -> bool:
        """Keep a sample for somebody; false where another was faster and another one is free.

        Args:
            samples: that it was chosen from.
        """
        with self._lock:
            now = time.monotonic()
            others = self._others(who, now)
            if not others.isdisjoint(samples[chosen]):
                return not any(others.isdisjoint(own) for own in samples.values())
            for image in samples[chosen]:
                self._held[image] = (who, now + self.seconds)
            return True

    def drop(self, images: Iterable[str]) -> None:
        """Forget images that were labelled."""
        with self._lock:
            for image in images:
                self._held.pop(image, None)

    def _others(self, who: str, now: float) -> set[str]:
        return {id for id, (by, end) in self._held.items() if by != who and end > now}
