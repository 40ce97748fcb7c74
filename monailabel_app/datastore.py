"""The local studies folder: MONAI Label's datastore, made safe against loss and odd names.

Upstream (0.8.5) copies labels in place, writes its index in place, keeps index and memory in step
only by luck when several threads or processes write, joins ids and tags into paths unchecked, and
lets two images of one stem collide. Each override below mends one of these; the folder stays a
plain MONAI Label folder.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import (
    DataModel,
    ImageLabelModel,
    LocalDatastore,
    LocalDatastoreModel,
)
from pydantic import ValidationError

from lib.datasets.studies import image_ids
from lib.errors import InputError, NotFoundError, unknown
from lib.files import copy_atomically, put_back_on_error, remove_leftovers, write_atomically
from lib.images import IMAGE_EXTENSIONS, check_readable, extension
from lib.volumes import pixel_file
from monailabel_app.label_files import check_label, id_and_extension, is_label_file

logger = logging.getLogger(__name__)

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FORBIDDEN_IN_ID = re.compile(r"[/\\\x00-\x1f]|^\.|\.\.")


def check_id(image_id: str) -> str:
    """Return `image_id` if it can be a file name inside the studies folder.

    Raises:
        InputError: it is empty, too long, hidden, or leads out of the folder.
    """
    if not image_id or len(image_id) > 200 or _FORBIDDEN_IN_ID.search(image_id):
        raise InputError(
            f"image id {image_id[:80]!r} is not a plain name: expected 1 to 200 characters without "
            f"slashes, '..' or a leading dot"
        )
    return image_id


def check_tag(tag: str) -> str:
    """Return `tag` if it can be the name of a label folder."""
    if not _TAG.fullmatch(tag) or ".." in tag:
        raise InputError(
            f"label tag {tag[:80]!r} is not a plain name: expected letters, digits, '-' and '_', "
            f"such as final or original"
        )
    return tag


class StudiesDatastore(LocalDatastore):
    """A studies folder: images at the top, labels in ``labels/<tag>/``, an index beside them.

    Every change is made under one lock that threads and processes share, on a fresh reading of the
    index, and reaches the disk atomically.
    """

    def __init__(self, folder: str, auto_reload: bool = False, read_only: bool = False) -> None:
        self._guard = threading.RLock()
        self._file_lock = FileLock(str(Path(folder) / ".lock"))
        self._depth = 0
        self._config_ts: object = None
        self._orphans: set[str] = set()
        patterns = [f"*{ext}" for ext in IMAGE_EXTENSIONS]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload, read_only=read_only)
        remove_leftovers(Path(folder))
        for tag in Path(folder, "labels").iterdir():
            if tag.is_dir():
                remove_leftovers(tag)
        if auto_reload and hasattr(self, "_handler"):
            # upstream does not see files that are moved into place
            self._handler.on_moved = self._on_any_event

    @property
    def folder(self) -> Path:
        """Where the images lie."""
        return Path(self._datastore.image_path())

    def files(self, ids: Iterable[str]) -> dict[str, Path]:
        """Return the files of those images that there are; links are not followed."""
        objects, folder = self._datastore.objects, self.folder
        return {
            id: folder / self._filename(id, objects[id].image.ext) for id in ids if id in objects
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the folder against other threads and processes; may be nested."""
        with self._guard:
            if self._depth == 0:
                self._file_lock.acquire()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._file_lock.release()

    # --- names -----------------------------------------------------------------------------------

    def _to_id(self, file: str) -> tuple[str, str]:
        return id_and_extension(Path(file).name)

    def _list_files(self, path: str, patterns: object) -> dict[str, str]:
        return {name: name for name in _names(path, lambda name: bool(extension(name)))}

    # --- index -----------------------------------------------------------------------------------

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the index if it changed; a damaged one is set aside and made again."""
        with self._locked():
            path = Path(self._datastore_config_path)
            try:
                stat = path.stat()
            except FileNotFoundError:
                return
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp == self._config_ts:
                return
            try:
                self._datastore = LocalDatastoreModel.model_validate_json(path.read_bytes())
            except (ValidationError, ValueError) as error:
                aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
                path.replace(aside)
                logger.error(f"Index {path.name} was damaged and is now {aside.name}: {error}")
                return
            finally:
                self._datastore.base_path = self._datastore_path
            self._config_ts = stamp

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._locked():
            # json.dumps with an indent takes a tenth of a second for a few thousand images
            text = self._datastore.model_dump_json(indent=2, exclude={"base_path"}, fallback=str)
            path = write_atomically(
                self._datastore_config_path, lambda file: file.write(text.encode())
            )
            stat = path.stat()
            self._config_ts = (stat.st_mtime_ns, stat.st_ino, stat.st_size)

    def _on_any_event(self, event: Any) -> None:
        """Look at the folder again if a file came or went that the index does not know of.

        Upstream does so for each file that it writes itself, too: several times per label.
        """
        paths = [Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if Path(self._datastore_config_path) in paths:
            self._init_from_datastore_file()
            return
        with self._guard:  # a change in progress lists its file before it ends
            unknown_change = any(self._is_listed(path) != path.exists() for path in paths)
        if unknown_change:
            self.refresh()

    def _is_listed(self, path: Path) -> bool:
        """Tell whether a file is an image, or a label, of the index."""
        in_images = path.parent == Path(self._datastore.image_path())
        for id in (path.name, self._to_id(path.name)[0]):
            if item := self._datastore.objects.get(id):
                record = item.image if in_images else item.labels.get(path.parent.name)
                if record is not None and self._filename(id, record.ext) == path.name:
                    return True
        return False

    def _reconcile_datastore(self) -> None:
        """Bring the index up to date with the files.

        Upstream empties its index and fills it again while others read it. Here, and wherever else
        the index changes, what readers hold is replaced and never altered.
        """
        with self._locked():
            self._init_from_datastore_file()
            before = self._datastore.objects
            images, labels = self._files_of_images(), self._files_of_labels()
            objects = {
                id: _with_existing(id, item, labels)
                for id, item in before.items()
                if id + item.image.ext in images
            }
            self._add_new_images(objects, images)
            self._add_new_labels(objects, labels)
            if objects != before or not Path(self._datastore_config_path).exists():
                self._datastore.objects = objects
                self._update_datastore_file()

    def _files_of_images(self) -> set[str]:
        return set(self._list_files(self._datastore.image_path(), ()))

    def _files_of_labels(self) -> dict[str, set[str]]:
        """Return the names of the label files, by tag."""
        folders = Path(self._datastore.label_path(None)).iterdir()
        return {one.name: set(_names(one, is_label_file)) for one in folders if one.is_dir()}

    def _add_new_images(self, objects: dict[str, ImageLabelModel], files: set[str]) -> None:
        """List new image files by the ids that `lib.datasets.studies` gives them."""
        listed = {self._filename(id, item.image.ext): id for id, item in objects.items()}
        for file, id in image_ids(files, listed).items():
            if file not in listed:
                objects[id] = ImageLabelModel(image=_record(file, file[len(id) :]))

    def _add_new_labels(
        self, objects: dict[str, ImageLabelModel], files: Mapping[str, set[str]]
    ) -> None:
        """List new label files of known images."""
        for tag, names in files.items():
            for file in sorted(names):
                id, ext = self._to_id(file)
                if id in objects:
                    known = objects[id]
                    if tag not in known.labels:
                        labels = {**known.labels, tag: _record(file, ext)}
                        objects[id] = known.model_copy(update={"labels": labels})
                elif (orphan := f"{tag}/{file}") not in self._orphans:
                    self._orphans.add(orphan)
                    logger.warning(f"Label {orphan} is of no image; it stays where it is")

    # --- changes ---------------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy a readable image into the folder.

        Raises:
            InputError: a bad id, an unreadable image, or an id that is taken.
        """
        id, ext = self._to_id(Path(image_filename).name)
        image_id = check_id(image_id or id)
        if extension(image_filename) not in IMAGE_EXTENSIONS:
            raise InputError(
                f"'{Path(image_filename).suffix}' is not a supported image type; expected one of "
                f"{', '.join(IMAGE_EXTENSIONS)}"
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
            image = ImageLabelModel(image=_record(name, ext, image_info))
            self._datastore.objects = {**self._datastore.objects, image_id: image}
            self._update_datastore_file()
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Save a label for `image_id` under `label_tag`, replacing an older one whole.

        It is a label image, or JSON such as ``{"density": "C"}``.

        Raises:
            NotFoundError: no such image.
            InputError: a bad tag, or a label that is none, see `monailabel_app.label_files`.
        """
        tag = check_tag(str(getattr(label_tag, "value", label_tag)))
        image = self._require_image(image_id)
        facts = check_label(label_filename, image)
        _, ext = self._to_id(Path(label_filename).name)
        folder = Path(self._datastore.label_path(tag))
        with self._locked():
            self._init_from_datastore_file()
            item = self._datastore.objects.get(image_id)
            if item is None:
                raise unknown("image", image_id, self._datastore.objects)
            folder.mkdir(parents=True, exist_ok=True)
            name = self._filename(image_id, ext)
            before = item.labels
            with put_back_on_error(folder / name):
                copy_atomically(label_filename, folder / name)
                item.labels = {**before, tag: _record(name, ext, {**(label_info or {}), **facts})}
                try:
                    self._update_datastore_file()
                except BaseException:
                    item.labels = before
                    raise
            earlier = before.get(tag)
            if earlier is not None and earlier.ext != ext:
                Path(folder, self._filename(image_id, earlier.ext)).unlink(missing_ok=True)
        return image_id

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Merge `info` into the image's record."""
        self._require_image(image_id)
        with self._locked():
            self._init_from_datastore_file()
            image = self._datastore.objects[image_id].image
            image.info = {**image.info, **info}
            self._update_datastore_file()

    def update_infos(self, infos: Mapping[str, dict[str, Any]], tag: str | None) -> None:
        """Merge many at once, by image: into the records of its label of a tag, or its own."""
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
        """Delete an image and its labels; of an .mhd the file of its pixels too."""
        image = self._require_image(image_id)
        with self._locked():
            with self._removing_pixels(image):
                super().remove_image(image_id)
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Delete one label; of an .mhd the file of its pixels too."""
        with self._locked():
            label = self.get_label_uri(label_id, check_tag(label_tag))
            if not label:
                raise NotFoundError(f"image '{label_id}' has no label with tag '{label_tag}'")
            with self._removing_pixels(Path(label)):
                super().remove_label(label_id, label_tag)
            self.refresh()

    @contextmanager
    def _removing_pixels(self, header: Path) -> Iterator[None]:
        """Delete the file of the pixels of `header`, if any, after the header is deleted inside."""
        inside = header.is_relative_to(os.path.realpath(self._datastore_path))  # links lead out
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


def _with_existing(
    id: str, item: ImageLabelModel, files: Mapping[str, set[str]]
) -> ImageLabelModel:
    """Return an image with those of its labels whose files there are; itself if all are."""
    kept = {tag: one for tag, one in item.labels.items() if id + one.ext in files.get(tag, ())}
    return item if len(kept) == len(item.labels) else item.model_copy(update={"labels": kept})


def _record(name: str, ext: str, info: dict[str, Any] | None = None) -> DataModel:
    return DataModel(info={**(info or {}), "ts": int(time.time()), "name": name}, ext=ext)


def _names(folder: str | Path, wanted: Callable[[str], bool]) -> list[str]:
    """Return the names of the wanted files of a folder, sorted; hidden ones are left out."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and wanted(entry.name) and entry.is_file()
        )
