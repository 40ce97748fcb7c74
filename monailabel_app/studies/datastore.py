"""The studies folder: MONAI Label's local datastore, made safe against loss and odd names.

MONAI Label (0.8.5) copies labels in place and joins ids and tags into paths unchecked. The
overrides below correct that, and those of `monailabel_app.studies.index` correct its index. The
folder stays a plain MONAI Label folder.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from monailabel.datastore.local import ImageLabelModel

from lib.data.passed_over import PassedOver, find_passed_over
from lib.data.readable import Look
from lib.data.readers import remove_readers
from lib.errors import InputError, NotFoundError, unknown
from lib.files import copy_atomically, restored_on_error
from lib.image import MAX_PIXELS
from lib.io.pixel_files import pixel_file
from lib.io.read import check_readable, extension, image_extensions
from lib.tasks.image_kind import ImageKind
from lib.tasks.spec import TaskSpec
from monailabel_app.studies.index import file_record
from monailabel_app.studies.label_files import PreparedLabel, is_large, prepare_label
from monailabel_app.studies.names import check_id, check_tag
from monailabel_app.studies.protocol import FINAL, FOREIGN
from monailabel_app.studies.readable import Looks
from monailabel_app.studies.versions import VersionedLabels

logger = logging.getLogger(__name__)

LEAST_SECONDS = 0.5  # that what was found in all images is taken as true
KEPT_TIMES = 4  # it is so for as many times the seconds that finding it took, if that is longer


class StudiesDatastore(VersionedLabels):
    """A studies folder: images at the top, labels in ``labels/<tag>/``, an index beside them.

    Each change holds the lock, reads the index again, and is written atomically.

    Args:
        tasks: the served tasks: an image that none of them can answer is no sample, and a
            structure that none of them has is kept aside. Without any, labels may be of any
            structures.
    """

    def __init__(
        self,
        folder: str,
        auto_reload: bool = False,
        read_only: bool = False,
        tasks: Sequence[TaskSpec] = (),
    ) -> None:
        super().__init__(folder, auto_reload=auto_reload, read_only=read_only)
        self.tasks = tuple(tasks)
        self._looks = Looks(self.folder)
        self._looked: dict[str, Look] = {}  # by image id
        self._looked_until = 0.0

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of the images that exist, by id; links are not followed."""
        objects, folder = self._datastore.objects, self.folder
        return {
            id: folder / self._filename(id, objects[id].image.ext) for id in ids if id in objects
        }

    # --- what can be read ------------------------------------------------------------------------

    def look(self, image_id: str) -> Look:
        """Return what is found in an image that is read to its end, if it was not before."""
        look = self._looks.at(self._require_image(image_id), whole=True)
        self._looked[image_id] = look
        return look

    def looks(self) -> Mapping[str, Look]:
        """Return what was found a moment ago in all images, in whole files or in their headers."""
        if (start := time.monotonic()) > self._looked_until:
            self._looked = self._looks.overview(self.files(self.list_images()))
            end = time.monotonic()
            self._looked_until = end + max(LEAST_SECONDS, KEPT_TIMES * (end - start))
        objects = self._datastore.objects
        return {id: look for id, look in list(self._looked.items()) if id in objects}

    def kind(self, image_id: str) -> ImageKind:
        """Return the kind of an image, which its header tells."""
        return self._looks.at(self._require_image(image_id)).kind

    def status(self) -> dict[str, Any]:
        """Return the numbers of images and of labels; what cannot be read is counted apart."""
        counted = self.counted(super().status(), self.get_labeled_images())
        return {**counted, "passed_over": self.passed_over.sentences}

    @cached_property
    def passed_over(self) -> PassedOver:
        """What the folder held beside its images when it was opened."""
        return find_passed_over(self.folder)

    # --- changes ---------------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy a readable image into the folder.

        Raises:
            InputError: the id is no plain name or taken, or the image cannot be read.
        """
        id, ext = self._to_id(Path(image_filename).name)
        image_id = check_id(image_id or id)
        if not extension(image_filename):
            raise InputError(
                f"'{Path(image_filename).suffix}' is not a supported image type; expected one of "
                f"{', '.join(image_extensions())}"
            )
        check_readable(image_filename)
        with self._locked():
            self._init_from_datastore_file()
            if image_id in self._datastore.objects:
                raise InputError(
                    f"image '{image_id}' exists already; choose another id or remove it first"
                )
            name = self._filename(image_id, ext)
            copy_atomically(image_filename, Path(self._datastore.image_path(), name))
            image = ImageLabelModel(image=file_record(name, ext, image_info))
            self._datastore.objects = {**self._datastore.objects, image_id: image}
            self._update_datastore_file()
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Save a label for `image_id` with `label_tag`; an older one is replaced.

        The label is a label image, or JSON such as ``{"density": "C"}``. An accepted one (tag
        final) is kept as a version too. Structures that no task has are kept aside in labels of
        their own, see `kept_aside`; nothing else is saved if all that is drawn is such.

        Returns:
            `image_id`; empty where all of it was kept aside.

        Raises:
            NotFoundError: no such image.
            InputError: the tag is no plain name, or the file is no label of the image; or it is an
                accepted one that is too large to train on.
        """
        tag = check_tag(label_tag)
        image = self._require_image(image_id)
        if tag == FINAL and is_large(Path(label_filename)):
            raise InputError(
                f"label for '{image.name}' refused: more than {MAX_PIXELS} pixels are too many to "
                f"train on; crop the image, and label the parts"
            )
        label = prepare_label(label_filename, image, label_info or {}, self.tasks)
        with self._locked():
            self._init_from_datastore_file()
            if image_id not in self._datastore.objects:
                raise unknown("image", image_id, self._datastore.objects)
            if label.foreign is not None:
                self._keep_aside(image_id, tag, label.foreign)
            if label.drawn:
                self._save(image_id, tag, label)
        return image_id if label.drawn else ""

    def _save(self, image_id: str, tag: str, label: PreparedLabel) -> None:
        """Write a label and its record; an older one of the tag is replaced."""
        item = self._datastore.objects[image_id]
        folder = self._require_inside(Path(self._datastore.label_path(tag)))
        folder.mkdir(parents=True, exist_ok=True)
        name = self._filename(image_id, label.extension)
        before = item.labels
        with label.stored() as file:
            kept = self._kept(image_id, file, label.info) if tag == FINAL else nullcontext()
            with restored_on_error(folder / name), kept:
                copy_atomically(file, folder / name)
                item.labels = {**before, tag: file_record(name, label.extension, label.info)}
                try:
                    self._update_datastore_file()
                except BaseException:
                    item.labels = before
                    raise
        earlier = before.get(tag)
        if earlier is not None and earlier.ext != label.extension:
            Path(folder, self._filename(image_id, earlier.ext)).unlink(missing_ok=True)

    # --- structures that no task has -------------------------------------------------------------

    def kept_aside(self, image_id: str) -> dict[str, list[str]]:
        """Return the names of the structures that no task has, by the tag of their label."""
        item = self._datastore.objects.get(image_id)
        return {
            tag: [str(one["name"]) for one in record.info.get("label_info", ())]
            for tag, record in (item.labels if item else {}).items()
            if FOREIGN in tag
        }

    def _keep_aside(self, image_id: str, tag: str, label: PreparedLabel) -> None:
        """Save what no task has under a tag of its own, beside what was kept before."""
        names = ", ".join(f"'{name}'" for name, _ in label.names)
        for number in count(1):
            aside = f"{tag}{FOREIGN}" + (f"-{number}" if number > 1 else "")
            earlier = self._datastore.objects[image_id].labels.get(aside)
            if earlier is None:
                break
            file = Path(self._datastore.label_path(aside), self._filename(image_id, earlier.ext))
            if label.is_in(file):
                return
        self._save(image_id, aside, label)
        logger.warning(
            f"Label of '{image_id}': {names} is no structure of a served task, and kept aside as "
            f"'{aside}'"
        )

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Merge `info` into the image's record."""
        self._require_image(image_id)
        with self._locked():
            self._init_from_datastore_file()
            image = self._datastore.objects[image_id].image
            image.info = {**image.info, **info}
            self._update_datastore_file()

    def update_infos(self, infos: Mapping[str, dict[str, Any]], tag: str | None) -> None:
        """Merge `infos`, by image id, into the records of images, or of their labels with `tag`."""
        with self._locked():
            self._init_from_datastore_file()
            for id in infos.keys() & self._datastore.objects.keys():
                item = self._datastore.objects[id]
                record = item.image if tag is None else item.labels.get(tag)
                if record is not None:
                    record.info = {**record.info, **infos[id]}
            self._update_datastore_file()

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Merge `info` into the label's record."""
        with self._locked():
            self._init_from_datastore_file()
            label = self._datastore.label(label_id, label_tag)
            if label is None:
                raise NotFoundError(f"image '{label_id}' has no label with tag '{label_tag}'")
            label.info = {**label.info, **info}
            self._update_datastore_file()

    def remove_image(self, image_id: str) -> None:
        """Delete an image, its labels and all their versions; with an .mhd file its pixels too."""
        image = self._require_image(image_id)
        with self._locked():
            with self._removing_pixels(image):
                super().remove_image(image_id)
            remove_readers(self.folder, image_id)
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete one label; with an .mhd file the file of its pixels too. Versions of it stay."""
        accepted = check_tag(label_tag) == FINAL
        with self._locked():
            label = self.get_label_uri(label_id, check_tag(label_tag))
            if not label:
                raise NotFoundError(f"image '{label_id}' has no label with tag '{label_tag}'")
            if accepted:
                self._keep_found(label_id)
            with self._removing_pixels(Path(label)):
                super().remove_label(label_id, label_tag)
            if accepted:
                self._note_removal(label_id)
            self.refresh()

    @contextmanager
    def _removing_pixels(self, header: Path) -> Iterator[None]:
        """Delete the pixel file of `header`, if it has one, after the body deleted the header."""
        inside = header.is_relative_to(os.path.realpath(self._datastore_path))  # not so for links
        pixels = pixel_file(header) if inside else None
        yield
        if pixels:
            pixels.unlink(missing_ok=True)

    # --- checks ----------------------------------------------------------------------------------

    def _require_image(self, image_id: str) -> Path:
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).is_file():
            raise unknown("image", image_id, self._datastore.objects)
        return Path(uri)
