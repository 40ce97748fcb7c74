"""The listing of the archive: images, and the labels of each."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Listing:
    """Images by id, and their labels by image id, the newest first."""

    images: Mapping[str, ArchiveImage]
    labels: Mapping[str, tuple[ArchivedLabel, ...]]


class Catalogue:
    """Lists the archive, and keeps the listing for a moment.

    A slow archive is asked less often. Labels stored through this server are seen at once.
    """

    def __init__(self, archive: Archive, files: LabelFiles) -> None:
        self.archive, self.files = archive, files
        self._lock = threading.Lock()
        self._listed: dict[tuple[str, int], list[ArchiveImage]] = {}
        self._listing: Listing | None = None
        self._until = 0.0
        self._asked = 0

    def get(self) -> Listing:
        """Return the images and labels in the archive.

        Raises:
            ArchiveError: it does not answer.
        """
        listing = self._listing
        if listing is not None and time.monotonic() < self._until:
            return listing
        with self._lock:
            if self._listing is not None and time.monotonic() < self._until:
                return self._listing
            asked, start = self._asked, time.monotonic()
            listing = self._list()
            now = time.monotonic()
            self._listing = listing
            # a label that was stored meanwhile may be missing in it
            fresh = asked == self._asked
            self._until = now + max(LEAST_SECONDS, KEPT_TIMES * (now - start)) if fresh else 0.0
            return listing

    def refresh(self) -> None:
        """Ask the archive again at the next call of `get`."""
        self._asked += 1
        self._until = 0.0

    def _list(self) -> Listing:
        images: dict[str, ArchiveImage] = {}
        listed = {}
        for modality in MODALITIES:
            for series in self.archive.series(modality):
                key = series.uid, series.count
                listed[key] = self._listed.get(key) or images_of(self.archive, series)
                images.update((image.id, image) for image in listed[key])
        self._listed = listed
        series_of_labels = [
            series for modality in LABEL_MODALITIES for series in self.archive.series(modality)
        ]
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
