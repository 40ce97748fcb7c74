"""Reading an archive through MONAI Label's interface: images, exams and labels."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from monailabel_app.archive.catalogue import Listing
from monailabel_app.archive.image_reader import ArchiveImages
from monailabel_app.archive.labels import ArchivedLabel
from monailabel_app.archive.proxy import proxy_router
from monailabel_app.archive.veil import Veil
from monailabel_app.studies.names import tag_name
from monailabel_app.studies.protocol import FINAL, FOREIGN


class ArchiveReader(ArchiveImages):
    """Reads images, exams and labels of a DICOMweb archive."""

    def stamp(self, ids: Iterable[str]) -> str:
        """Return the UIDs of the accepted labels: the files of an archive never change."""
        infos = (self.get_label_info(id, FINAL) for id in ids)
        return " ".join(str(info.get("SOPInstanceUID") or info.get("ts", "")) for info in infos)

    def kept_aside(self, image_id: str) -> dict[str, list[str]]:
        """Return the names of structures in labels of the image that no task has, by their tag."""
        found: dict[str, list[str]] = {}
        for label in self._labels_of(image_id):
            if label.tag.endswith(FOREIGN):
                names = found.setdefault(label.tag, [])
                told = (one["name"] for one in label.info.get("label_info", ()))
                names += [name for name in told if name not in names]
        return found

    # --- labels ----------------------------------------------------------------------------------

    def _labels_of(
        self, image_id: str, tag: str = "", listing: Listing | None = None
    ) -> list[ArchivedLabel]:
        """Return the labels of an image, the newest first, without those found damaged."""
        listing = listing or self.catalogue.get()
        image = listing.images.get(image_id)
        return [
            label
            for label in listing.labels.get(image_id, ())
            if image and (not tag or label.tag == tag) and not self.labels.is_damaged(label, image)
        ]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Return the image's id for each tag of its labels: labels have the id of their image."""
        return {label.tag: image_id for label in reversed(self._labels_of(image_id))}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """Return the id of a label, which is the id of its image; "" if there is none."""
        return self.get_labels_by_image_id(image_id).get(tag_name(tag), "")

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of the newest label that can be read; "" if there is none."""
        return str(self._label_file(label_id, tag_name(label_tag)) or "")

    def _label_file(self, image_id: str, tag: str, content: str = "") -> Path | None:
        image = self.catalogue.get().images.get(image_id)
        for label in self._labels_of(image_id, tag) if image else ():
            if content in ("", label.content):
                assert image is not None
                if file := self.labels.file(label, image):
                    return file
        return None

    def get_label(self, label_id: str, label_tag: str, params: object = None) -> io.BytesIO | None:
        """Return the content of the label file."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """Return the information on the newest label with a tag."""
        for label in self._labels_of(label_id, tag_name(label_tag)):
            return {**_info_of(label_id, label), **self._kept_info(label_id, tag_name(label_tag))}
        return {}

    def get_labeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the ids of images with an accepted label."""
        return [id for id in self.list_images() if self._labels_of(id, FINAL)]

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """Return the ids of images without an accepted label."""
        return [id for id in self.list_images() if not self._labels_of(id, FINAL)]

    def _keep_info(self, id: str, tag: str, info: dict[str, Any]) -> None:
        with self._guard:
            self._info[id, tag] = {**self._info.get((id, tag), {}), **info}

    def _kept_info(self, id: str, tag: str) -> dict[str, Any]:
        return dict(self._info.get((id, tag), {}))

    # --- what the server needs ---------------------------------------------------------------

    @property
    def shared_folder(self) -> Path:
        """A folder in the cache."""
        return self.cache_folder / "scores"

    def router(self, reader: Callable[[], str] = lambda: "") -> APIRouter:
        """Return the routes by which viewers reach the archive."""
        veil = Veil(self, self.image_series, reader)
        return proxy_router(self.archive, self.catalogue.refresh, self.decoded, veil)

    def image_series(self) -> frozenset[str]:
        """Return the SeriesInstanceUIDs of the images, as they were listed last."""
        listing = self.catalogue.last()
        images = listing.images.values() if listing else ()
        return frozenset(image.series.uid for image in images)

    # --- overviews -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return the number of images, and the number of labels by tag.

        It does not wait for a silent archive: the figures are those of the last listing then, and
        ``error`` says so.
        """
        last = self.catalogue.last()
        listing = last or Listing({}, {})
        labels = {id: self._labels_of(id, listing=listing) for id in listing.images}
        tags = Counter(tag for own in labels.values() for tag in {label.tag for label in own})
        status = {"total": len(labels), "completed": tags.get(FINAL, 0), "label_tags": dict(tags)}
        final = [id for id, own in labels.items() if any(label.tag == FINAL for label in own)]
        counted = self.counted(status, final)
        if last is None or not self.archive.circuit.closed:
            silent = f"the archive at {self.archive.url} does not answer"
            counted["error"] = f"{silent}; these are its last figures" if last else silent
        return counted

    def json(self) -> dict[str, Any]:
        """Return images and labels in the form of MONAI Label's index."""
        objects = {}
        for id, image in self.catalogue.get().images.items():
            newest = {label.tag: label for label in reversed(self._labels_of(id))}
            objects[id] = {
                "image": {"ext": image.extension, "info": self.get_image_info(id)},
                "labels": {
                    tag: {"ext": label.extension, "info": _info_of(id, label)}
                    for tag, label in newest.items()
                },
            }
        return {"name": self.name(), "description": self.description(), "objects": objects}


def _info_of(image_id: str, label: ArchivedLabel) -> dict[str, Any]:
    """Return the information on a label: that of the client, its time, and its UIDs."""
    answer = label.info.get("answer")
    return {
        **{key: value for key, value in label.info.items() if key != "answer"},
        **({"density": answer["density"]} if isinstance(answer, dict) else {}),
        "ts": int(label.when.timestamp()) if label.when.year > 1970 else 0,
        "name": f"{image_id}{label.extension}",
        "SOPInstanceUID": label.uid,
        "SeriesInstanceUID": label.series.uid,
        "StudyInstanceUID": label.series.study,
    }
