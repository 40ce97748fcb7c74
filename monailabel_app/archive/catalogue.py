"""The listing of the archive: images, and the labels of each."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from monailabel_app.archive.dicomweb import Archive, Series
from monailabel_app.archive.images import MODALITIES, ArchiveImage, images_of
from monailabel_app.archive.labels import (
    DENSITY_MODALITY,
    LABEL_MODALITIES,
    ArchivedLabel,
    LabelFiles,
)

logger = logging.getLogger(__name__)

LEAST_SECONDS = 2.0
KEPT_TIMES = 10  # a listing is kept for this many times the seconds that it took
PATIENCE_SECONDS = 0.5  # of requests that can do with the last listing


@dataclass(frozen=True)
class Listing:
    """Images by id, and their labels by image id, the newest first."""

    images: Mapping[str, ArchiveImage]
    labels: Mapping[str, tuple[ArchivedLabel, ...]]


class Catalogue:
    """Lists the archive, and keeps the listing for a moment.

    A slow archive is asked less often. Labels stored through this server are seen at once, and
    those stored through another one with the same file of changes.

    Args:
        changes: a file whose time of change is that of the last storing by any server; None for
            one server alone.
    """

    def __init__(self, archive: Archive, files: LabelFiles, changes: Path | None = None) -> None:
        self.archive, self.files, self.changes = archive, files, changes
        self._changed = self._last_change()
        self._lock = threading.Lock()
        self._lister = ThreadPoolExecutor(1, "listing")
        self._coming: Future[tuple[int, Listing]] | None = None
        self._listed: dict[tuple[str, int], list[ArchiveImage]] = {}
        self._listing: Listing | None = None
        self._until = 0.0
        self._asked = 0

    def get(self) -> Listing:
        """Return the images and labels in the archive.

        Raises:
            ArchiveError: it does not answer.
        """
        if (listing := self._current()) is not None:
            return listing
        asked = self._asked
        while True:  # twice at most: one that began before a label was stored may lack it
            began, listing = self._next().result()
            if began >= asked:
                return listing

    def last(self) -> Listing | None:
        """Return the newest listing that can be had without waiting for a silent archive.

        Returns:
            None where the archive was never listed, and does not answer at once.
        """
        if (listing := self._current()) is not None:
            return listing
        coming = self._next()
        if self.archive.circuit.closed:
            wait([coming], timeout=PATIENCE_SECONDS)
        return self._listing

    def _last_change(self) -> int:
        try:
            return self.changes.stat().st_mtime_ns if self.changes else 0
        except OSError:
            return 0

    def _current(self) -> Listing | None:
        if (changed := self._last_change()) != self._changed:
            self._changed = changed
            self._ask_again()
        return self._listing if time.monotonic() < self._until else None

    def _next(self) -> Future[tuple[int, Listing]]:
        """Return the listing that is being made, begun now if there is none, and its number."""
        with self._lock:
            if self._coming is None or self._coming.done():
                self._coming = self._lister.submit(self._list_anew)
            return self._coming

    def _list_anew(self) -> tuple[int, Listing]:
        asked, start = self._asked, time.monotonic()
        listing = self._list()
        now = time.monotonic()
        self._listing = listing
        # a label that was stored meanwhile may be missing in it
        fresh = asked == self._asked
        self._until = now + max(LEAST_SECONDS, KEPT_TIMES * (now - start)) if fresh else 0.0
        return asked, listing

    def refresh(self) -> None:
        """Ask the archive again at the next call of `get`, at the other servers too."""
        self._ask_again()
        if self.changes is not None:
            try:
                self.changes.parent.mkdir(parents=True, exist_ok=True)
                self.changes.touch()
                now = time.time_ns()
                os.utime(self.changes, ns=(now, now))
            except OSError as error:
                logger.error(f"Other servers see what was stored here later: {error}")

    def _ask_again(self) -> None:
        self._asked += 1
        self._until = 0.0

    def _list(self) -> Listing:
        images: dict[str, ArchiveImage] = {}
        listed = {}
        found = self.archive.series()
        for series in found:
            if series.modality in MODALITIES:
                key = series.uid, series.count
                listed[key] = self._listed.get(key) or images_of(self.archive, series)
                images.update((image.id, image) for image in listed[key])
        self._listed = listed
        series_of_labels = [series for series in found if series.modality in LABEL_MODALITIES]
        return Listing(images, self._labels(images, series_of_labels))

    def _labels(
        self, images: Mapping[str, ArchiveImage], series: list[Series]
    ) -> dict[str, tuple[ArchivedLabel, ...]]:
        """Return the labels of each image."""
        by_uid = defaultdict(list)
        exams = defaultdict(list)
        for image in images.values():
            by_uid[image.instance or image.series.uid].append(image)
            if image.series.modality == DENSITY_MODALITY:
                exams[image.series.study].append(image)
        found: dict[str, list[ArchivedLabel]] = defaultdict(list)
        for label in self.files.of_series(series):
            if label.content == "density":
                labelled = exams[label.series.study]
            else:
                labelled = [image for uid in label.references for image in by_uid.get(uid, ())]
            for image in labelled:
                found[image.id].append(label)
        return {
            id: tuple(sorted(labels, key=lambda label: label.age, reverse=True))
            for id, labels in found.items()
        }
