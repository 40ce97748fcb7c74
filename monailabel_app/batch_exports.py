"""Files of what a server's batch found in all its images, for its users to fetch.

The batch runs in a process of its own, so they lie in the folder of models, those of the last batch
of each model: ``batch/<model>/table.csv``, and ``overlay.zip`` with a file of each image.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lib.errors import NotFoundError, shown
from lib.exports.formats import EXPORTS
from lib.exports.targets import Exporter, write_joint
from lib.leftovers import new_folder

ADDRESS = "/batch/exports"
_PARTIAL = ".upload-"  # what a killed process leaves is removed at the next start


class BatchExports:
    """The files.

    Args:
        folder: of models.
    """

    def __init__(self, folder: Path) -> None:
        self.models = folder

    @contextmanager
    def written(
        self, model: str, asked: Sequence[tuple[str, str]]
    ) -> Iterator[Callable[[], Exporter]]:
        """Yield what returns the exporter of a batch; its files replace those before.

        If the body fails, those before stay.

        Args:
            asked: name and suffix of each row of `lib.exports.formats.EXPORTS`.
        """
        if not asked:
            yield lambda: Exporter({})
            return
        self.models.mkdir(parents=True, exist_ok=True)
        with new_folder(self.models, _PARTIAL) as partial:
            made = partial / "made"
            made.mkdir()
            targets = {
                name: made / (f"{name}{suffix}" if EXPORTS[name].joint else name)
                for name, suffix in asked
            }
            exporter = Exporter(targets)
            yield lambda: exporter  # a function, as requests are copied deeply
            write_joint(targets, exporter.pieces)
            for name, target in targets.items():
                if not EXPORTS[name].joint:
                    _pack(target)
            folder = self._folder(model)
            folder.parent.mkdir(exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)

    def listed(self, model: str) -> dict[str, str]:
        """Return the path on the server of each file of the last batch, by name of the export."""
        folder = self._folder(model)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.stem: f"{ADDRESS}/{model}/{file.name}" for file in files}

    def find(self, model: str, name: str) -> Path:
        """Return a file.

        Raises:
            NotFoundError: the last batch of the model wrote none of this name.
        """
        folder = self._folder(model)
        there = {file.name: file for file in folder.iterdir()} if folder.is_dir() else {}
        if name not in there:
            raise NotFoundError(
                f"the last batch of '{model}' wrote no '{shown(name)}', there are "
                f"{', '.join(sorted(there)) or 'none'}; ask for it by exports in the parameters of "
                f"POST /batch/infer/{model}"
            )
        return there[name]

    def _folder(self, model: str) -> Path:
        return self.models / "batch" / model


def _pack(folder: Path) -> None:
    """Replace a folder of files, which may not exist, by a zip file of them."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            archive.write(file, file.name)
    shutil.rmtree(folder, ignore_errors=True)
