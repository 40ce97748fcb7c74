"""A DICOMweb archive as MONAI Label's datastore.

Images are downloaded when they are needed and kept in a cache of limited size. Labels are written
to the archive and nowhere else, so the cache may be lost at any time. The datastore of MONAI Label
(0.8.5) lists CT only, downloads a program at its start, loses labels of images without a position
in the patient, and one damaged segmentation ends its lists and trainings.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lib.data.reader_choice import LATEST
from lib.data.studies import FINAL_LABELS
from lib.data.versions import UNKNOWN, VERSIONS, LabelVersion, facts_of, version_name
from lib.dicom.parse import parse_file
from lib.errors import InputError, NotFoundError, unknown
from lib.mammography.report.read import DensityReport
from monailabel_app.archive.images import ArchiveImage
from monailabel_app.archive.labels import ArchivedLabel
from monailabel_app.archive.objects import ANYBODY, fitting_tasks, make_foreign, make_objects
from monailabel_app.archive.reader import ArchiveReader
from monailabel_app.archive.training_folder import Entry, make_training_folder
from monailabel_app.studies.dataset import dataset_zip
from monailabel_app.studies.label_files import prepare_label
from monailabel_app.studies.names import check_tag, tag_name
from monailabel_app.studies.protocol import FINAL

logger = logging.getLogger(__name__)

NO_DELETE = (
    "is not deleted from here: DICOMweb has no such request; store a newer label, or delete it in "
    "the archive's own administration"
)


class ArchiveDatastore(ArchiveReader):
    """A DICOMweb archive: what `ArchiveReader` reads, and storing new labels and images."""

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Store a label in the archive: a label image, or JSON such as ``{"density": "C"}``.

        Structures that no task has are stored apart, see `kept_aside`.

        Returns:
            `image_id`; empty where all of it was stored apart.

        Raises:
            NotFoundError: no such image.
            InputError: a bad tag, or a file that is no label of the image.
            ArchiveError: the label was not stored.
        """
        tag = check_tag(label_tag)
        image = self.image(image_id)
        tasks = fitting_tasks(self.tasks, image)
        file = self.image_files.path(image)
        label = prepare_label(label_filename, file, label_info or {}, tasks)
        sources, views = self.image_files.sources(image), self._views(image)
        made = []
        if label.foreign is not None:
            made.append(make_foreign(label.foreign, tag=tag, sources=sources))
        if label.drawn:
            made += make_objects(
                label,
                tag=tag,
                sources=sources,
                views=views,
                earlier=self._reports(image, tag) if views else [],
                tasks=tasks,
            )
        try:
            self.archive.store(made)
        finally:
            self.catalogue.refresh()
        return image_id if label.drawn else ""

    def _reports(self, image: ArchiveImage, tag: str) -> list[DensityReport]:
        """Return the reports on an exam that a new report with this tag replaces."""
        labels = self._labels_of(image.id, tag)
        return [self.labels.report(label) for label in labels if label.content == "density"]

    # --- training --------------------------------------------------------------------------------

    def datalist(self) -> list[dict[str, Any]]:
        """Return the files of images with accepted labels; damaged ones are logged and left out."""
        found = []
        for id in self.get_labeled_images():
            label = self._label_file(id, FINAL)
            image = self._readable(id) if label else None
            if label and image:
                found.append({"image": str(image), "label": str(label)})
        return found

    def training_folder(self, content: str) -> Path:
        """Return a studies folder with the accepted labels of one content; see `TrainingData`."""
        if self.readers != LATEST:
            return self.readers_folder(content)
        return make_training_folder(self.cache_folder / "training", self._entries(content))

    def readers_folder(self, content: str) -> Path:
        """Return a studies folder as `training_folder` does, with the labels of all readers."""
        entries = self._entries(content, versions=True)
        return make_training_folder(self.cache_folder / "training", entries)

    def _entries(self, content: str, versions: bool = False) -> list[Entry]:
        """Return the images with accepted labels of one content, their labels, and older ones."""
        images = self.catalogue.get().images
        entries: list[Entry] = []
        exams = set()
        for id in self.get_labeled_images():
            label = self._label_file(id, FINAL, content)
            file = self._readable(id) if label else None
            if label is None or file is None:
                continue
            series = images[id].series
            by_exam = content == "density"
            patient = "" if by_exam else series.patient or series.study
            entries.append(Entry(file, file.name, patient=patient))
            if by_exam and series.study in exams:
                continue
            exams.add(series.study)
            name = series.study if by_exam else id
            entries.append(Entry(label, f"{name}{label.suffix}", FINAL_LABELS))
            if versions:
                entries += self._version_entries(id, content, VERSIONS / name)
        return entries

    def _version_entries(self, image_id: str, content: str, folder: Path) -> list[Entry]:
        """Return the accepted labels of one content that can be read, as versions in a folder."""
        image, entries = self.image(image_id), []
        for label, version in zip(*self._finals(image_id), strict=True):
            file = self.labels.file(label, image) if label.content == content else None
            if file is not None:
                name = version_name(version.number, version.reader, version.time, label.extension)
                entries.append(Entry(file, name, folder))
        return entries

    # --- several readers -------------------------------------------------------------------------

    def label_versions(self, image_id: str) -> list[LabelVersion]:
        """Return the accepted labels of an image in the archive, the oldest first."""
        self.require_image(image_id)
        return self._finals(image_id)[1]

    def version_file(self, image_id: str, version: LabelVersion) -> Path:
        """Return the label file of a version.

        Raises:
            InputError: it is damaged in the archive.
        """
        labels, versions = self._finals(image_id)
        label = labels[[one.number for one in versions].index(version.number)]
        file = self.labels.file(label, self.image(image_id))
        if file is None:
            raise InputError(
                f"version {version.number} of the label of '{image_id}' is damaged in the archive; "
                f"choose another"
            )
        return file

    def _finals(self, image_id: str) -> tuple[list[ArchivedLabel], list[LabelVersion]]:
        """Return the accepted labels of an image, the oldest first, and the same as versions."""
        listed = reversed(self.catalogue.get().labels.get(image_id, ()))
        labels = [label for label in listed if label.tag == FINAL]
        return labels, [_as_version(number, label) for number, label in enumerate(labels, 1)]

    def _readable(self, image_id: str) -> Path | None:
        """Return the file of an image; None, logged, if it cannot be read."""
        try:
            return self.image_files.path(self.image(image_id))
        except InputError as error:
            logger.warning(f"Image '{image_id}' is left out: {error}")
            return None

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Return a new ZIP file of images with accepted labels, which the caller deletes.

        Raises:
            NotFoundError: there are none.
        """
        return dataset_zip(self.datalist()[: max(0, limit_cases or 0) or None], self.json())

    # --- changes ---------------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a DICOM image in the archive and return its id there.

        Raises:
            InputError: not a DICOM file, or no image that is listed here.
        """
        try:
            data = parse_file(image_filename)
        except InputError:
            raise
        except Exception:
            raise InputError(
                "an archive takes DICOM files; convert the image, or serve a studies folder"
            ) from None
        self.archive.store([data])
        self.catalogue.refresh()
        images = self.catalogue.get().images
        for id in (str(data.SOPInstanceUID), str(data.SeriesInstanceUID)):
            if id in images:
                return id
        raise InputError(f"stored, but no image of {data.Modality} is listed here")

    def remove_image(self, image_id: str) -> None:
        """Refuse: DICOMweb deletes nothing."""
        raise InputError(f"image '{image_id}' {NO_DELETE}")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Refuse: DICOMweb deletes nothing."""
        raise InputError(f"label '{label_id}' {NO_DELETE}")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Keep information on an image until the server ends."""
        if image_id not in self.catalogue.get().images:
            raise unknown("image", image_id, self.list_images())
        self._keep_info(image_id, "", info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Keep information on a label until the server ends."""
        if not self._labels_of(label_id, tag_name(label_tag)):
            raise NotFoundError(f"image '{label_id}' has no label with tag '{label_tag}'")
        self._keep_info(label_id, tag_name(label_tag), info)

    def refresh(self) -> None:
        """Ask the archive again at the next request."""
        self.catalogue.refresh()

    # --- names -----------------------------------------------------------------------------------

    def name(self) -> str:
        """Return the archive's address."""
        return self.archive.url

    def set_name(self, name: str) -> None:
        """Refuse: the address is the name."""
        raise InputError("an archive keeps its name")

    def description(self) -> str:
        """Return what kind of datastore this is."""
        return "DICOMweb archive"

    def set_description(self, description: str) -> None:
        """Refuse: DICOMweb deletes nothing."""
        raise InputError("an archive keeps its description")


def _as_version(number: int, label: ArchivedLabel) -> LabelVersion:
    facts = facts_of(label.info)
    if label.author and facts["reader"] == UNKNOWN and label.author != ANYBODY:
        facts["reader"] = label.author
    name = Path(f"{label.uid}{label.extension}")
    return LabelVersion(number=number, time=label.when, file=name, **facts)
