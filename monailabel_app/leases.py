"""Who is working on which image, so that two people are not given the same one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from monailabel.interfaces.datastore import Datastore

LEASE_SECONDS = 1800.0


class Leases:
    """Images given out for labelling, by who got them; forgotten after a while.

    Args:
        seconds: how long an image is kept for somebody.
    """

    def __init__(self, seconds: float = LEASE_SECONDS) -> None:
        self.seconds = seconds
        self._held: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def free(self, images: Iterable[str], who: str) -> list[str]:
        """Return the images that nobody else works on; all of them where others hold each."""
        with self._lock:
            found = list(images)
            now = time.monotonic()
            self._held = {id: (by, end) for id, (by, end) in self._held.items() if end > now}
            others = {id for id, (by, _) in self._held.items() if by != who}
            return [id for id in found if id not in others] or found

    def take(self, images: Iterable[str], image: str, who: str) -> bool:
        """Keep an image for somebody; false where another was faster and one of `images` is free.

        Args:
            images: that it was chosen from.
        """
        with self._lock:
            now = time.monotonic()
            others = {id for id, (by, end) in self._held.items() if by != who and end > now}
            if image in others:
                return others.issuperset(images)
            self._held[image] = (who, now + self.seconds)
            return True

    def drop(self, image: str) -> None:
        """Forget an image that was labelled."""
        with self._lock:
            self._held.pop(image, None)


class FreeImages:
    """What a strategy chooses from: the unlabelled images that nobody else works on.

    Args:
        store: the datastore.
        left_out: images that cannot be read.
    """

    def __init__(self, store: Datastore, leases: Leases, who: str, left_out: Iterable[str]) -> None:
        self.store, self.leases, self.who = store, leases, who
        self.left_out = set(left_out)
        self.offered: list[str] = []

    def get_unlabeled_images(self, label_tag: str | None = None, labels: Any = None) -> list[str]:
        """Return their ids."""
        found = self.store.get_unlabeled_images(label_tag, labels)
        readable = [id for id in found if id not in self.left_out]
        self.offered = self.leases.free(readable, self.who)
        return list(self.offered)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """Return what is known of an image."""
        info: dict[str, Any] = self.store.get_image_info(image_id)
        return info
