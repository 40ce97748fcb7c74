"""An image of a folder as viewers are shown it, and all of them by their UIDs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """One image of a folder.

    Attributes:
        id: of the datastore.
        instances: SOPInstanceUIDs: one, or that of each slice of a volume, in the file's order.
        size: columns, rows and, of several, frames or slices.
        facts: attributes of patient, study and series by keyword, as text.
        is_dicom: whether the file is DICOM itself.
        view: "R-CC" and the like for a view of an exam of pictures; else empty.
        channel: the one that is shown, by its name or number; empty where there is one alone. Each
            of several channels of a file is a series of its own.
        space: UID of the frame of reference, which channels of a file share.
    """

    id: str
    path: Path
    study: str
    series: str
    instances: tuple[str, ...]
    size: tuple[int, ...]
    facts: Mapping[str, str]
    is_dicom: bool = False
    view: str = ""
    channel: str = ""
    space: str = ""

    @property
    def slices(self) -> bool:
        """Whether each frame of the file is an instance of its own."""
        return len(self.instances) > 1

    @property
    def frames(self) -> int:
        """The frames of each instance."""
        return 1 if self.slices or len(self.size) < 3 else self.size[2]


class Listing:
    """The images of a folder by the UIDs of their studies, series and instances."""

    def __init__(self, images: Iterable[ListedImage]) -> None:
        self.shown = list(images)
        self.images: dict[str, ListedImage] = {}  # of several channels the one to begin with
        for image in self.shown:
            self.images.setdefault(image.id, image)

    @cached_property
    def studies(self) -> dict[str, list[ListedImage]]:
        """The images of each study, by its UID."""
        found: dict[str, list[ListedImage]] = {}
        for image in self.shown:
            found.setdefault(image.study, []).append(image)
        return found

    @cached_property
    def series(self) -> dict[str, list[ListedImage]]:
        """The images of each series, by its UID."""
        found: dict[str, list[ListedImage]] = {}
        for image in self.shown:
            found.setdefault(image.series, []).append(image)
        return found

    @cached_property
    def instances(self) -> dict[str, tuple[ListedImage, int]]:
        """The image of each instance and its number in it from 0, by its UID."""
        return {
            uid: (image, number)
            for image in self.shown
            for number, uid in enumerate(image.instances)
        }
