"""The index of a studies folder: what MONAI Label's datastore knows about its files.

MONAI Label (0.8.5) writes the index in place, may lose changes when several threads or processes
write, and gives two images with the same stem the same id.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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

from lib.data.readers import MADE
from lib.data.studies import image_ids
from lib.data.versions import VERSIONS
from lib.errors import InputError
from lib.files import file_stamp, is_text, remove_leftovers, write_atomically
from lib.io.read import extension, image_extensions
from monailabel_app.studies.label_files import id_and_extension, image_and_extension, is_label_file
from monailabel_app.studies.protocol import SCORES

logger = logging.getLogger(__name__)


class IndexedFolder(LocalDatastore):
    """A studies folder with an index that is written atomically and follows the files.

    Threads and processes share one lock on it; see `_locked`. What another server writes into it is
    seen by the next look at it.
    """

    _index: LocalDatastoreModel

    def __init__(self, folder: str, auto_reload: bool = False, read_only: bool = False) -> None:
        self._guard = threading.RLock()
        self._file_lock = FileLock(str(Path(folder) / ".lock"))
        self._depth = self._owner = 0
        self._config_ts: object = None
        self._orphans: set[str] = set()
        patterns = [f"*{ext}" for ext in image_extensions()]
        super().__init__(folder, extensions=patterns, auto_reload=auto_reload, read_only=read_only)
        self._clean()
        if auto_reload and hasattr(self, "_handler"):
            # MONAI Label does not notice files that are moved into the folder
            self._handler.on_moved = self._on_any_event

    def _clean(self) -> None:
        """Remove what killed processes left; those that save hold the lock meanwhile."""
        root = Path(self._datastore_path)
        inner = (root / MADE, root / SCORES, *root.glob("labels/*/"), *root.glob(f"{VERSIONS}/*/"))
        with self._locked():
            for folder in (root, *inner):
                remove_leftovers(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder against other threads and processes; may be nested."""
        with self._guard:
            if self._depth == 0:
                self._file_lock.acquire()
            self._depth += 1
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._owner = 0
                    self._file_lock.release()

    @property
    def _datastore(self) -> LocalDatastoreModel:
        """The index as it is in its file now; MONAI Label reads and replaces this attribute."""
        if self._owner != threading.get_ident():  # who holds the lock has read it
            try:
                changed = file_stamp(Path(self._datastore_config_path)) != self._config_ts
            except FileNotFoundError:
                changed = False
            if changed:
                self._init_from_datastore_file()
        return self._index

    @_datastore.setter
    def _datastore(self, index: LocalDatastoreModel) -> None:
        self._index = index

    def _to_id(self, file: str) -> tuple[str, str]:
        return id_and_extension(Path(file).name)

    def _list_files(self, path: str, patterns: object) -> dict[str, str]:
        return {name: name for name in self._names(path, lambda name: bool(extension(name)))}

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        """Read the index if it changed; a damaged index is renamed, and a new one is made."""
        with self._locked():
            path = Path(self._datastore_config_path)
            try:
                stamp = file_stamp(path)
            except FileNotFoundError:
                return
            if stamp == self._config_ts:
                return
            try:
                self._datastore = LocalDatastoreModel.model_validate_json(path.read_bytes())
            except (ValidationError, ValueError) as error:
                damaged = path.with_name(f"{path.name}.damaged-{int(time.time())}")
                path.replace(damaged)
                logger.error(f"Index {path.name} was damaged and is now {damaged.name}: {error}")
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
            self._config_ts = file_stamp(path)

    def _on_any_event(self, event: Any) -> None:
        """Read the folder again if a file was added or removed that the index does not know.

        MONAI Label does so for each file that it writes itself too, several times per label.
        """
        paths = [Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if Path(self._datastore_config_path) in paths:
            self._init_from_datastore_file()
            return
        with (
            self._guard
        ):  # a save in progress adds its file to the index before it releases the lock
            unknown_change = any(self._is_listed(path) != path.exists() for path in paths)
        if unknown_change:
            self.refresh()

    def _is_listed(self, path: Path) -> bool:
        """Tell whether a file is an image or a label in the index."""
        in_images = path.parent == Path(self._datastore.image_path())
        for id in (path.name, self._to_id(path.name)[0], image_and_extension(path.name)[0]):
            if item := self._datastore.objects.get(id):
                record = item.image if in_images else item.labels.get(path.parent.name)
                if record is not None and self._filename(id, record.ext) == path.name:
                    return True
        return False

    def _reconcile_datastore(self) -> None:
        """Bring the index up to date with the files.

        MONAI Label empties its index and fills it again while others read it. Here each change
        replaces objects that readers may hold, and never alters them.
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

    def get_image_uri(self, image_id: str) -> str:
        """Return the file of an image; empty if there is none in the folder."""
        return self._inside(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Return the file of a label; empty if there is none in the folder."""
        return self._inside(super().get_label_uri(label_id, label_tag))

    def _inside(self, uri: str) -> str:
        """Return a path without links, or nothing where links led out of the folder."""
        return uri if Path(uri).is_relative_to(os.path.realpath(self._datastore_path)) else ""

    def _require_inside(self, folder: Path) -> Path:
        """Return a folder of labels; one that leads out of the studies folder is refused."""
        if not self._inside(os.path.realpath(folder)):
            raise InputError(
                f"'{folder.name}' leads out of the studies folder, so no label is read or written "
                f"there; replace the link by a folder"
            )
        return folder

    def _files_of_images(self) -> set[str]:
        return set(self._list_files(self._datastore.image_path(), ()))

    def _files_of_labels(self) -> dict[str, set[str]]:
        """Return the names of the label files, by tag."""
        folders = Path(self._datastore.label_path(None)).iterdir()
        tags = [tag for tag in folders if tag.is_dir() and tag.name != VERSIONS.name]
        return {tag.name: set(self._names(tag, is_label_file)) for tag in tags}

    def _names(self, folder: str | Path, is_listed: Callable[[str], bool]) -> list[str]:
        """Return the names of files in a folder that `is_listed` accepts, sorted.

        Hidden ones are left out, and links that lead out of the studies folder, or nowhere.
        """
        if not self._inside(os.path.realpath(folder)):
            self._warn_of_link(Path(folder))
            return []
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not is_text(entry.name):
                    continue
                if is_listed(entry.name) and self._is_inner_file(entry):
                    names.append(entry.name)
        return sorted(names)

    def _is_inner_file(self, entry: os.DirEntry[str]) -> bool:
        try:
            if not entry.is_file():
                return False
        except OSError:  # a link to itself
            return False
        if entry.is_symlink() and not self._inside(os.path.realpath(entry.path)):
            self._warn_of_link(Path(entry.path))
            return False
        return True

    def _warn_of_link(self, path: Path) -> None:
        if str(path) not in self._orphans:
            self._orphans.add(str(path))
            logger.warning(
                f"{path.name} leads out of the studies folder and is not served; copy it"
            )

    def _add_new_images(self, objects: dict[str, ImageLabelModel], files: set[str]) -> None:
        """List new image files by the ids that `lib.data.studies` gives them."""
        listed = {self._filename(id, item.image.ext): id for id, item in objects.items()}
        for file, id in image_ids(files, listed).items():
            if file not in listed:
                objects[id] = ImageLabelModel(image=file_record(file, file[len(id) :]))

    def _add_new_labels(
        self, objects: dict[str, ImageLabelModel], files: Mapping[str, set[str]]
    ) -> None:
        """List new label files of listed images."""
        for tag, names in files.items():
            for file in sorted(names):
                id, ext = image_and_extension(file)
                if id in objects:
                    item = objects[id]
                    if tag not in item.labels:
                        labels = {**item.labels, tag: file_record(file, ext)}
                        objects[id] = item.model_copy(update={"labels": labels})
                elif (orphan := f"{tag}/{file}") not in self._orphans:
                    self._orphans.add(orphan)
                    logger.warning(f"Label {orphan} belongs to no image; it stays where it is")


def _with_existing(
    id: str, item: ImageLabelModel, files: Mapping[str, set[str]]
) -> ImageLabelModel:
    """Return an image without labels whose files are gone; `item` itself if all exist."""
    kept = {
        tag: label for tag, label in item.labels.items() if id + label.ext in files.get(tag, ())
    }
    return item if len(kept) == len(item.labels) else item.model_copy(update={"labels": kept})


def file_record(name: str, ext: str, info: dict[str, Any] | None = None) -> DataModel:
    """Return a new record of an image or a label file for the index."""
    return DataModel(info={**(info or {}), "ts": int(time.time()), "name": name}, ext=ext)
