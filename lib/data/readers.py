"""Whose labels a training or an evaluation takes, where several readers labelled an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from glob import escape
from hashlib import sha256
from pathlib import Path

from lib.data.label_records import told_in
from lib.data.reader_choice import CONSENSUS, LATEST
from lib.data.studies import Item
from lib.data.versions import VERSIONS, LabelVersion, labels_of_readers
from lib.files import content_fingerprint

MADE = ".consensus"  # folder of labels that are made, and may be deleted at any time
_DIGITS = 16

Agree = Callable[[Item, Mapping[str, LabelVersion]], Item]
"""Returns an item with the consensus of several readers as its label."""


def by_readers(items: Sequence[Item], studies: Path, readers: str, agree: Agree) -> list[Item]:
    """Return labelled items with the labels of the chosen readers.

    Each label of a reader is an item of its own in the group of its image, so no split parts them.
    """
    if readers == LATEST:
        return list(items)
    found: list[Item] = []
    for item in items:
        labels = labels_of_readers(studies, item.id, item.label) if item.label else {}
        if len(labels) < 2:
            found.append(item)
        elif readers == CONSENSUS:
            found.append(agree(item, labels))
        else:
            found += [
                replace(
                    item,
                    id=of_reader(item.id, name),
                    label=one.file,
                    group=item.key,
                    told=told_in(one.info),
                )
                for name, one in labels.items()
            ]
    return found


def of_reader(id: str, reader: str) -> str:
    """Return the id of a case that is one reader's label of an image or exam."""
    return f"{id}@{reader}"


def consensus_file(
    studies: Path, id: str, labels: Iterable[LabelVersion], method: str, ext: str
) -> Path:
    """Return the file for a consensus of these labels; another label makes it another file.

    Args:
        method: how it is made.
    """
    digest = sha256(method.encode())
    for label in labels:
        assert label.file is not None
        digest.update(f"|{label.reader}:{content_fingerprint(label.file)}".encode())
    file = studies / MADE / f"{id}-{digest.hexdigest()[:_DIGITS]}{ext}"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def remove_readers(studies: Path, id: str) -> None:
    """Delete all versions of an image's label, and what was made of them, with the image."""
    made = (studies / MADE).glob(f"{escape(id)}-{'[0-9a-f]' * _DIGITS}.*")
    folder = studies / VERSIONS / id
    for file in (*made, *(folder.iterdir() if folder.is_dir() else ())):
        if file.is_file():  # the id of another image may begin with this one and a slash
            file.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
