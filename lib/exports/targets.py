"""Where exports of one or many answers are written: a path for each row of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.exports.answer import Answer
from lib.exports.formats import EXPORTS, Export, option_of
from lib.files import write_atomically

Pieces = dict[str, list[tuple[str, Any]]]
"""What each image adds to a file of all, with its id, by name of the row."""


def check_targets(targets: Mapping[str, Path], one_image: bool) -> None:
    """Refuse paths that cannot hold what is asked for, before any work.

    A path that ends as a row's files do is a file, any other a folder, which is made when needed.
    What is of all images must be a file; of several images, what is of each must be a folder.

    Args:
        targets: path by name of the row.

    Raises:
        InputError: they cannot, or the folder of a file does not exist.
    """
    for name, path in targets.items():
        row, option = EXPORTS[name], option_of(name)
        endings = ", ".join(row.suffixes)
        if _is_file(row, path):
            if not row.joint and not one_image:
                raise InputError(
                    f"{option} '{path.name}' is one file, but each image has its own; give a folder"
                )
            if not path.parent.is_dir():
                raise InputError(
                    f"folder '{path.parent}' for {option} does not exist; make it first"
                )
        elif row.joint or (path.suffix and not path.is_dir()):
            raise InputError(
                f"{option} '{path.name}': expected a file that ends in {endings}"
                f"{'' if row.joint else ', or a folder'}; name it so"
            )
        elif path.exists() and not path.is_dir():
            raise InputError(f"{option} '{path.name}' is a file, expected a folder; choose another")


class Exporter:
    """Writes what is asked for, image by image, and keeps what goes into files of all images.

    Attributes:
        pieces: what `write_joint` takes, by name of the row; it can be pickled.
    """

    def __init__(self, targets: Mapping[str, Path]) -> None:
        self.targets = dict(targets)
        self.pieces: Pieces = {name: [] for name in targets if EXPORTS[name].joint}

    def __call__(self, answer: Answer) -> None:
        """Write the files of one answer; if one cannot be written, none of its pieces is kept.

        Raises:
            InputError: the answer has no such export, or a file would overwrite the image.
        """
        taken = {}
        for name, path in self.targets.items():
            row = EXPORTS[name]
            target = target_of(name, path, answer.id)
            if target.resolve() == answer.image.path.resolve():
                raise InputError(
                    f"{option_of(name)}: '{target.name}' is the image itself; choose another path"
                )
            piece = row.take(answer)
            if row.joint:
                taken[name] = piece
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(target, row.content([piece], target.suffix))
        for name, piece in taken.items():
            self.pieces[name].append((answer.id, piece))


def write_joint(targets: Mapping[str, Path], pieces: Pieces) -> None:
    """Write the files that are of all images, in the order of their ids.

    Args:
        pieces: those of all answers, as `Exporter.pieces` has them; also of several processes.

    Raises:
        InputError: a file cannot be written with what is installed.
    """
    for name, path in targets.items():
        if EXPORTS[name].joint:
            ordered = sorted(pieces.get(name, []), key=lambda piece: piece[0])
            content = EXPORTS[name].content([one for _, one in ordered], path.suffix.lower())
            _write(path, content)


def write_to_folder(
    folder: Path, answer: Answer, asked: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Write exports of one answer, and return their file names by name of the row.

    Args:
        asked: name and suffix of each.

    Raises:
        InputError: the answer has no such export.
    """
    names = {}
    for name, suffix in asked:
        row = EXPORTS[name]
        target = folder / file_name(name, answer.id, suffix)
        names[name] = _write(target, row.content([row.take(answer)], suffix)).name
    return names


def _is_file(row: Export, path: Path) -> bool:
    return path.name.lower().endswith(row.suffixes) and not path.is_dir()


def target_of(name: str, path: Path, id: str) -> Path:
    """Return the file of an export of one image, for a path as `check_targets` accepts."""
    row = EXPORTS[name]
    if row.joint or _is_file(row, path):
        return path
    return path / file_name(name, id, row.suffixes[0])


def file_name(name: str, id: str, suffix: str) -> str:
    """Return the name of the file of an export of one image, among those of others."""
    return f"{id}_{name}{suffix}"


def _write(path: Path, content: bytes) -> Path:
    return write_atomically(path, lambda file: file.write(content))
