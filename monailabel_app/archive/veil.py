"""What a viewer is not shown of an archive: reports and drawn tissue on exams read by others alone.

See `monailabel_app.studies.blindness`. Of an exam that is hidden from a reader the images are given
and nothing else of its study: a report in whatever form would tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from fastapi import HTTPException

from monailabel_app.studies.blindness import hidden_exams
from monailabel_app.studies.protocol import StudiesProtocol

_STUDY, _SERIES = "0020000D", "0020000E"
_OF_A_SERIES = re.compile(r"studies/(?P<study>[0-9.]+)/series/(?P<series>[0-9.]+)(?:/.*)?")
_OF_A_STUDY = re.compile(r"studies/(?P<study>[0-9.]+)(?P<rest>(?:/.*)?)")
_LISTINGS = ("/series", "/instances", "/metadata")  # of a study, filtered as JSON
_OF_ALL = ("series", "instances")
_REFUSED = (
    "another reader read this exam, you did not yet: of its study only the images are given; give "
    "it a class first (A, B, C or D); the role reviewer sees all"
)


class Veil:
    """Keeps what others said of an exam from readers who have not read it.

    Args:
        store: the archive; the id of an exam is its StudyInstanceUID.
        images: returns the SeriesInstanceUIDs of the images in it.
        reader: names who asks; empty for somebody who sees all.
    """

    def __init__(
        self,
        store: StudiesProtocol,
        images: Callable[[], Collection[str]],
        reader: Callable[[], str],
    ) -> None:
        self.store, self.images, self.reader = store, images, reader

    def over(self, path: str, reader: str) -> frozenset[str]:
        """Return the studies of which an answer is to be filtered by `without`.

        Args:
            path: of DICOMweb, below the service.

        Raises:
            HTTPException: 403, the path leads to what is hidden.
        """
        path = path.rstrip("/")
        asked = _OF_A_SERIES.fullmatch(path)
        if path == "studies" or (asked and asked["series"] in self.images()):
            return frozenset()
        hidden = frozenset(hidden_exams(self.store, reader))
        if not hidden or path in _OF_ALL:
            return hidden
        study = _OF_A_STUDY.fullmatch(path)
        if study and study["study"] not in hidden:
            return frozenset()
        if study and study["rest"] in _LISTINGS:
            return hidden
        raise HTTPException(403, _REFUSED)

    def without(self, hidden: frozenset[str], body: bytes) -> bytes:
        """Return an answer without what is no image of hidden studies.

        Raises:
            HTTPException: 403, it is no list in JSON, so that what it tells is not known.
        """
        try:
            rows = json.loads(body or b"[]")
            images = self.images()
            kept = [row for row in rows if not _is_hidden(row, hidden, images)]
        except (ValueError, TypeError, AttributeError):
            raise HTTPException(403, f"{_REFUSED}; ask for application/dicom+json") from None
        return json.dumps(kept).encode()


def _is_hidden(row: Mapping[str, Any], hidden: Collection[str], images: Collection[str]) -> bool:
    study, series = _uid(row, _STUDY), _uid(row, _SERIES)
    return study in ("", *hidden) and series not in images


def _uid(row: Mapping[str, Any], tag: str) -> str:
    return str((row.get(tag, {}).get("Value") or [""])[0])
