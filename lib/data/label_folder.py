"""The labels of a folder: which file counts for each image, and which files count for none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib.io.layers import labelled_id
from lib.io.read import extension

NAMED = 5  # files that a sentence names
DENSITY = ".json"  # labels of exams, which lie beside those of pixels
_PIXELS = (".raw", ".zraw")  # of .mhd headers


@dataclass(frozen=True)
class LabelFolder:
    """The labels of a folder.

    Attributes:
        files: the label file that counts, by the id of its image.
        others: by the id of their image, the files that count for nothing beside it.
        strange: names of files that are no label images.
    """

    files: dict[str, Path]
    others: dict[str, list[str]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def sentences(self, ids: Collection[str]) -> list[str]:
        """Return what counts for nothing and what to do, a sentence each.

        Args:
            ids: of all images.
        """
        said = []
        several = [
            f"{self.files[id].name} (not {', '.join(names)})" for id, names in self.others.items()
        ]
        if several:
            said.append(
                f"several label files of one image: {_listed(several)} count; remove the others"
            )
        lost = [file.name for id, file in self.files.items() if id not in ids]
        if lost:
            said.append(
                f"label files of no image: {_listed(lost)}; a label has the name of its image, "
                f"with the same capitals; rename them, or add the images"
            )
        if self.strange:
            said.append(
                f"files among the labels that are no label images: {_listed(self.strange)}; save "
                f"them as PNG, TIFF, NRRD or NIfTI, or remove them"
            )
        return said


def read_label_folder(folder: Path, recorded: Mapping[str, str]) -> LabelFolder:
    """Look at the names of the files in a folder of labels.

    Of several label files of one image the one that the server recorded counts, else the first by
    name, as on the server.

    Args:
        folder: need not exist.
        recorded: file names by the id of their image, from the server's index.
    """
    found: dict[str, list[Path]] = {}
    strange = []
    names = sorted(file for file in folder.iterdir() if _is_shown(file)) if folder.is_dir() else []
    for file in names:
        if extension(file):
            found.setdefault(labelled_id(file), []).append(file)
        elif file.suffix.lower() not in (DENSITY, *_PIXELS):
            strange.append(file.name)
    files = {
        id: next((file for file in those if file.name == recorded.get(id)), those[0])
        for id, those in found.items()
    }
    others = {
        id: [file.name for file in those if file != files[id]]
        for id, those in found.items()
        if len(those) > 1
    }
    return LabelFolder(files, others, strange)


def _is_shown(file: Path) -> bool:
    return not file.name.startswith(".") and file.is_file()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" * (len(names) > NAMED))
