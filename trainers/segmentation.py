"""Training of segmentation on accepted label images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from lib.data.studies import Item, group_of, volumes_only
from lib.io.read import extension
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import read_patch_size, show_patch_size
from trainers.base import LiveTrain, Parameter, TrainingFolders


class SegmentationTrain(LiveTrain):
    """Trains on images with label images; a parameter of its own is ``patch_size``."""

    def own_parameters(self) -> dict[str, Parameter]:
        """Return ``patch_size``."""
        patch = show_patch_size(self.task.training.patch_size)
        return {"patch_size": Parameter(patch, read_patch_size)}

    def with_own(self, values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with its patch size."""
        recipe = replace(self.task.training, patch_size=values["patch_size"])
        return replace(self.task, training=recipe)

    def items(self, datastore: Datastore, task: TaskSpec) -> list[Item]:
        """Return the images with a final label image; answers on density as JSON are none."""
        if isinstance(datastore, TrainingFolders):
            return kind_of(task).cases.list(datastore.training_folder(task.kind), task, True)
        images = {id: Path(datastore.get_image_uri(id)) for id in datastore.get_labeled_images()}
        groups: dict[str, str] = {}
        for folder in {image.parent for image in images.values()}:
            groups |= group_of(folder)
        labels = {id: Path(datastore.get_label_uri(id, DefaultLabelTag.FINAL)) for id in images}
        items = [
            Item(id, image, labels[id], groups.get(id, ""))
            for id, image in images.items()
            if extension(labels[id])
        ]
        return volumes_only(items, task.image_dims) if items else items
