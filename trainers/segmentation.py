"""Training of segmentation on accepted label images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import read_patch_size, show_patch_size
from trainers.base import ModelTrain
from trainers.parameters import Parameter


class SegmentationTrain(ModelTrain):
    """Trains on images with label images; the kind's parameter is ``patch_size``."""

    def kind_parameters(self) -> dict[str, Parameter]:
        """Return ``patch_size``."""
        patch = show_patch_size(self.task.training.patch_size)
        return {"patch_size": Parameter(patch, read_patch_size)}

    def changed_task(self, kind_values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with its patch size."""
        recipe = replace(self.task.training, patch_size=kind_values["patch_size"])
        return replace(self.task, training=recipe)
