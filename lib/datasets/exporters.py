"""The layouts in which labelled images can be passed on, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from lib.data.studies import Item
from lib.datasets.importing import OnItem
from lib.errors import InputError
from lib.leftovers import new_folder
from lib.tasks.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """How labelled images are written in one layout.

    Attributes:
        title: what the layout is, in a few words.
        layout: the files that are written.
        function: ``module:name``, imported when it is called; it takes labelled items, the task, a
            new folder and `OnItem`, and returns lines for the user.
    """

    title: str
    layout: str
    function: str

    def run(
        self, items: Sequence[Item], task: TaskSpec, folder: Path, on_item: OnItem | None = None
    ) -> list[str]:
        """Write items with their labels into a new folder, whole or not at all.

        Args:
            task: whose structures the labels have.
            folder: must not exist.

        Returns:
            What was written, to show to the user.

        Raises:
            InputError: the folder exists, or an image or its label cannot be written so.
        """
        if folder.exists():
            raise InputError(f"'{folder}' exists already; give a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder.parent, ".export-") as partial:
            made = partial / folder.name
            lines: list[str] = resolve_name(self.function)(items, task, made, on_item)
            made.rename(folder)
        return [line.replace(str(made), str(folder)) for line in lines]


EXPORTERS = {
    "nnunet": Exporter(
        title="nnU-Net",
        layout="imagesTr/ID_0000.EXT, labelsTr/ID.EXT, dataset.json",
        function="lib.datasets.nnunet:export_nnunet",
    ),
    "coco": Exporter(
        title="COCO instances",
        layout="images/, annotations.json; 2D images",
        function="lib.datasets.coco:export_coco",
    ),
    "cellpose": Exporter(
        title="cellpose",
        layout="ID.EXT with ID_seg.npy; 2D images",
        function="lib.datasets.cellpose:export_cellpose",
    ),
}
