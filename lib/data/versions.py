"""Versions of accepted labels in a studies folder: who accepted which, when, and from where.

``labels/versions/<image id>/`` holds each version as ``<number>-<reader>-<time>.<extension>``, and
what else is known of it as ``<number>.json``. Without that record the file's name still says who
and when. Nothing here is ever overwritten.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lib.files import content_fingerprint, remove_leftovers, write_json
from lib.io.volumes import copy_whole

VERSIONS = Path("labels") / "versions"
UNKNOWN = "unknown"  # a reader of whom nothing was sent
# information with a label that the server fills in: the program that sent it, who put it back
CLIENT, RESTORED_BY, RESTORED_FROM = _OWN = "client", "restored_by", "restored_from"
# information with a label that several readers found together; then it is this reader's
CONSENSUS, CONSENSUS_READER = "consensus", "consensus"
FOUND = "put into the folder"  # in place of the program that sent a label

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME = "%Y%m%dT%H%M%SZ"
_LABEL = re.compile(r"(?P<number>\d{4,9})-(?P<reader>.+)-(?P<time>\d{8}T\d{6}Z)(?P<ext>\..+)?")
_RECORD = re.compile(r"(?P<number>\d{4,9})\.json")
_NAME_LENGTH, _FILE_NAME_LENGTH = 64, 120


@dataclass(frozen=True, kw_only=True)
class LabelVersion:
    """One accepted label of an image, or the note that its label was taken away.

    Attributes:
        number: counts from 1 for each image.
        reader: who drew it.
        time: when it was accepted, in UTC.
        file: None where the image's label was taken away: older versions do not count from then on.
        client: the program that sent it, as it names itself (User-Agent).
        info: what the program sent with it.
        restored_by: who put an earlier version back; empty for a label that was sent.
        restored_from: number of that version; 0 for a label that was sent.
        content: fingerprint of the label file that was accepted.
    """

    number: int
    reader: str
    time: datetime
    file: Path | None
    client: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    restored_by: str = ""
    restored_from: int = 0
    content: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "version": self.number,
            "reader": self.reader,
            "time": self.time.isoformat(),
            "file": self.file.name if self.file else None,
            "client": self.client,
            "info": dict(self.info),
            "restored_by": self.restored_by,
            "restored_from": self.restored_from,
            "content": self.content,
        }


def reader_of(info: Mapping[str, Any]) -> str:
    """Return who sent a label: the user who logged in, else the client's id, else the model.

    A label that readers found together is none of theirs: what each gave alone stays.
    """
    if info.get(CONSENSUS) is True:
        return CONSENSUS_READER
    model = info.get("model")
    name = info.get("user") or info.get("client_id") or (f"model {model}" if model else "")
    name = "".join(sign for sign in str(name) if sign.isprintable()).strip()
    return name[:_NAME_LENGTH] or UNKNOWN


def facts_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a `LabelVersion` that the information with a label tells."""
    return {
        "reader": reader_of(info),
        "client": str(info.get(CLIENT) or UNKNOWN),
        "restored_by": str(info.get(RESTORED_BY) or ""),
        "restored_from": int(info.get(RESTORED_FROM) or 0),
        "info": {key: value for key, value in info.items() if key not in _OWN},
    }


def version_name(number: int, reader: str, time: datetime, ext: str) -> str:
    """Return the file name of a version; see `LabelVersion`."""
    name = quote(reader, safe=" ")[:_FILE_NAME_LENGTH]
    when = max(time.astimezone(timezone.utc), _EPOCH)  # what has no time is of the year 1
    return f"{number:04}-{name}-{when.strftime(_TIME)}{ext}"


def read_versions(studies: Path, id: str) -> list[LabelVersion]:
    """Return the versions of an image's label, the oldest first."""
    folder = studies / VERSIONS / id
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found: dict[int, LabelVersion] = {}
    for name in names:
        if match := _LABEL.fullmatch(name):
            named = _by_name(folder / name, match)
            found[named.number] = named
    for name in names:
        if match := _RECORD.fullmatch(name):
            number = int(match["number"])
            if version := _by_record(folder / name, number, found.get(number)):
                found[number] = version
    return [found[number] for number in sorted(found)]


def write_version(
    studies: Path,
    id: str,
    label: Path | None,
    *,
    reader: str,
    ext: str = "",
    time: datetime | None = None,
    **facts: Any,
) -> LabelVersion:
    """Keep a copy of a label file as a new version; the caller holds the folder's lock.

    Args:
        label: None notes that the image's label was taken away.
        ext: extension of the kept file.
        time: now if None.
        facts: further attributes of `LabelVersion`.
    """
    folder = studies / VERSIONS / id
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    taken = (_LABEL.fullmatch(name) or _RECORD.fullmatch(name) for name in os.listdir(folder))
    number = max((int(match["number"]) for match in taken if match), default=0) + 1
    when = time or datetime.now(timezone.utc)
    file = folder / version_name(number, reader, when, ext) if label else None
    content = content_fingerprint(label) if label else ""
    version = LabelVersion(
        number=number, reader=reader, time=when, file=file, content=content, **facts
    )
    try:
        if label and file:
            copy_whole(label, file)
        write_json(folder / f"{number:04}.json", version.as_dict())
    except BaseException:
        forget_version(studies, id, version)
        raise
    return version


def forget_version(studies: Path, id: str, version: LabelVersion) -> None:
    """Delete a version whose label could not be accepted after all."""
    (studies / VERSIONS / id / f"{version.number:04}.json").unlink(missing_ok=True)
    if version.file:
        version.file.unlink(missing_ok=True)


def newest(versions: Iterable[LabelVersion], label: Path) -> LabelVersion | None:
    """Return the newest version with the content of a label file; None if none has it."""
    content = content_fingerprint(label)
    for version in sorted(versions, key=lambda one: -one.number):
        if version.file and (version.content or content_fingerprint(version.file)) == content:
            return version
    return None


def standing(versions: Sequence[LabelVersion]) -> list[LabelVersion]:
    """Return the versions of an image since its label was last taken away, the oldest first."""
    ends = [index for index, version in enumerate(versions, 1) if version.file is None]
    return list(versions[ends[-1] if ends else 0 :])


def with_found(
    versions: Sequence[LabelVersion], label: Path | None, info: Mapping[str, Any] | None = None
) -> list[LabelVersion]:
    """Return versions, and one more if the accepted label was changed by hand, in the folder.

    Args:
        versions: all of an image, the oldest first.
        label: the accepted label file; None if there is none.
        info: what is known of it; tells its reader.
    """
    present = standing(versions)
    number = versions[-1].number + 1 if versions else 1
    if label is None or not label.is_file():
        gone = LabelVersion(
            number=number, reader=UNKNOWN, time=datetime.now(timezone.utc), file=None
        )
        return [*versions, gone] if present else list(versions)
    if newest(present, label):
        return list(versions)
    found = LabelVersion(
        number=number,
        reader=reader_of(info or {}),
        time=datetime.fromtimestamp(label.stat().st_mtime, timezone.utc),
        file=label,
        client=FOUND,
        info=info or {},
    )
    return [*versions, found]


def labels_of_readers(studies: Path, id: str, label: Path) -> dict[str, LabelVersion]:
    """Return the newest standing version of each reader, by the reader's name.

    Args:
        label: the accepted label file.
    """
    versions = standing(with_found(read_versions(studies, id), label))
    return dict(sorted({version.reader: version for version in versions}.items()))


def _by_name(file: Path, match: re.Match[str]) -> LabelVersion:
    try:
        time = datetime.strptime(match["time"], _TIME).replace(tzinfo=timezone.utc)
    except ValueError:  # named by hand
        time = _EPOCH
    reader = unquote(match["reader"])
    return LabelVersion(number=int(match["number"]), reader=reader, time=time, file=file)


def _by_record(record: Path, number: int, named: LabelVersion | None) -> LabelVersion | None:
    """Return a version with what its record says; None if neither file nor record tells of it."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if named is None and content["file"] is not None:
            return None  # the label file is gone
        return LabelVersion(
            number=number,
            reader=str(content["reader"]),
            time=datetime.fromisoformat(content["time"]),
            file=named.file if named else None,
            client=str(content["client"]),
            info=dict(content["info"]),
            restored_by=str(content["restored_by"]),
            restored_from=int(content["restored_from"]),
            content=str(content["content"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return named
