"""Training of segmentation on accepted label images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lib.data.studies import Item
from lib.tasks.spec import TaskSpec
from lib.tasks.training_spec import read_patch_size, show_patch_size
from trainers.base import ModelTrain
from trainers.parameters import Parameter, parse_text

MAX_SIDE = 8192  # of a patch, as of an image


class SegmentationTrain(ModelTrain):
    """Trains on images with label images; the kind's parameters are ``patch_size`` and ``channel``.

    The latter is the name or number of the channel to read; empty for that of ``channels.csv``.
    """

    def kind_parameters(self) -> dict[str, Parameter]:
        """Return ``patch_size`` and ``channel``."""
        patch = show_patch_size(self.task.training.patch_size)
        return {"patch_size": Parameter(patch, _patch_size), "channel": Parameter("", parse_text)}

    def changed_task(self, kind_values: Mapping[str, Any]) -> TaskSpec:
        """Return the row with its patch size."""
        recipe = replace(self.task.training, patch_size=kind_values["patch_size"])
        return replace(self.task, training=recipe)

    def chosen_items(self, items: list[Item], kind_values: Mapping[str, Any]) -> list[Item]:
        """Return the items in the channel that was asked for."""
        channel = kind_values["channel"].strip()
        return [replace(item, channel=channel) for item in items] if channel else items


def _patch_size(value: Any) -> int | tuple[int, ...]:
    """Read a patch size of sides that an image may have."""
    size = read_patch_size(value)
    if max(size if isinstance(size, tuple) else (size,)) > MAX_SIDE:
        raise ValueError(f"expected sides of at most {MAX_SIDE} pixels")
    return size
