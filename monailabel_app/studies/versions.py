"""Several readers: the versions of a studies folder's accepted labels, kept and listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.data.versions import (
    UNKNOWN,
    VERSIONS,
    LabelVersion,
    facts_of,
    forget_version,
    newest,
    read_versions,
    standing,
    with_found,
    write_version,
)
from monailabel_app.studies.folder import FolderStudies
from monailabel_app.studies.index import IndexedFolder
from monailabel_app.studies.label_files import ANSWER, id_and_extension
from monailabel_app.studies.protocol import FINAL

_OF_THE_INDEX = ("ts", "name")  # what the index adds to the information with a label
_SAME = ("reader", "info")  # of two versions, beside the content


class VersionedLabels(FolderStudies, IndexedFolder):
    """Keeps each accepted label of a folder as a version; see `lib.data.versions`.

    A label that somebody put into ``labels/final`` by hand becomes a version too before it is
    replaced, so that nothing is lost.
    """

    def label_versions(self, image_id: str) -> list[LabelVersion]:
        """Return the versions of an image's accepted label, the oldest first."""
        self.require_image(image_id)
        self._require_inside(self.folder / VERSIONS / image_id)
        with self._locked():
            return self._with_found(image_id, read_versions(self.folder, image_id))

    @contextmanager
    def _kept(self, image_id: str, label: Path, info: Mapping[str, Any]) -> Iterator[None]:
        """Keep a label that the body accepts; if the body fails, it is no version.

        The same label image, sent again by the same reader before others, is not kept twice. A
        density is: the newest of the views of an exam counts.
        """
        versions = standing(self._keep_found(image_id))
        facts = facts_of(info)
        ext = id_and_extension(label.name)[1]
        same = [one for one in versions[-1:] if all(getattr(one, k) == facts[k] for k in _SAME)]
        if ext.lower() != ANSWER and newest(same, label) and not facts["restored_by"]:
            yield
            return
        version = write_version(self.folder, image_id, label, ext=ext, **facts)
        try:
            yield
        except BaseException:
            forget_version(self.folder, image_id, version)
            raise

    def _with_found(self, image_id: str, kept: Sequence[LabelVersion]) -> list[LabelVersion]:
        """Return versions, and what was done to the accepted label by hand as one more."""
        # beside versions, what the index says is about the label that was replaced by hand
        known = {} if kept else self.get_label_info(image_id, FINAL)
        info = {key: value for key, value in known.items() if key not in _OF_THE_INDEX}
        return with_found(kept, self.accepted_label([image_id]), info)

    def _keep_found(self, image_id: str) -> list[LabelVersion]:
        """Keep what was done to the accepted label by hand; return all versions."""
        self._require_inside(self.folder / VERSIONS / image_id)
        kept = read_versions(self.folder, image_id)
        versions = self._with_found(image_id, kept)
        for found in versions[len(kept) :]:
            ext = id_and_extension(found.file.name)[1] if found.file else ""
            facts = {name: getattr(found, name) for name in ("reader", "time", "client", "info")}
            write_version(self.folder, image_id, found.file, ext=ext, **facts)
        return versions

    def _note_removal(self, image_id: str) -> None:
        """Note that the accepted label is gone: its versions stay, and no longer count."""
        if standing(read_versions(self.folder, image_id)):
            write_version(self.folder, image_id, None, reader=UNKNOWN)
