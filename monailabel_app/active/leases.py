"""Who works on which image, so that two people do not get the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

LEASE_SECONDS = 1800.0

Groups = Mapping[str, tuple[str, ...]]  # ids of images by the id of the sample


class Leases:
    """Images given out for labelling, and to whom; a lease ends after a while.

    Args:
        seconds: length of a lease.
    """

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self.seconds = seconds
        self._held: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def free(self, samples: Groups, who: str) -> dict[str, tuple[str, ...]]:
        """Return the samples that nobody else works on; all samples if there is no such one."""
        with self._lock:
            now = time.monotonic()
            self._held = {id: (by, end) for id, (by, end) in self._held.items() if end > now}
            others = self._others(who, now)
        return {id: own for id, own in samples.items() if others.isdisjoint(own)} or dict(samples)

    def take(self, samples: Groups, chosen: str, who: str) -> bool:
        """Lease a sample; False if somebody else was faster and another sample is free.

        Args:
            samples: those from which `chosen` was taken.
        """
        with self._lock:
            now = time.monotonic()
            others = self._others(who, now)
            if not others.isdisjoint(samples[chosen]):
                return not any(others.isdisjoint(own) for own in samples.values())
            for image in samples[chosen]:
                self._held[image] = (who, now + self.seconds)
            return True

    def is_held(self, images: Iterable[str], who: str | None = None) -> bool:
        """Tell whether somebody, but `who`, works on any of these images."""
        with self._lock:
            return not self._others(who, time.monotonic()).isdisjoint(images)

    def drop(self, images: Iterable[str]) -> None:
        """End the leases of images that were labelled."""
        with self._lock:
            for image in images:
                self._held.pop(image, None)

    def _others(self, who: str | None, now: float) -> set[str]:
        return {id for id, (by, end) in self._held.items() if by != who and end > now}
