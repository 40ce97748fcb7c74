"""Scribbles and clicks that need no training as MONAI Label InferTasks."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from infer.base import channel_of, first, write_label
from lib.errors import InputError
from lib.image import MAX_PIXELS, MAX_VOXELS, Image
from lib.interactive.prompts import read_box, read_points, slices_from_last
from lib.interactive.scribbles import segment_clicks, segment_scribbles
from lib.io.labels import read_label
from lib.io.masks import result_extension
from lib.io.read import image_size, read_image

SCRIBBLES, REGION = "scribbles", "region_click"  # the names that viewers show
POSITIVE, NEGATIVE = "foreground_scribbles", "background_scribbles"
# values where a request does not name them, of one label as upstream's tasks have them
_VALUES = {NEGATIVE: 2, POSITIVE: 3}


class UntrainedInfer(InferTask):
    """Answers from marks in the image, without a trained model, for any structure.

    The label image is 1 inside the structure; viewers draw it as the segment that they asked for.
    Request parameters: ``roi`` (a box around the structure), ``channel``,
    ``result_extension``, ``result_dtype``.

    Args:
        kind: one of MONAI Label's `InferType`.
        labels: names that viewers offer for the structure.
        description: shown by viewers.
    """

    def __init__(self, kind: str, labels: Sequence[str], description: str) -> None:
        values = {name: value for value, name in enumerate(labels, start=1)}
        # dimension 2 would make viewers ask slice by slice
        super().__init__(
            type=kind, labels=values, dimension=3, description=description, config={"channel": ""}
        )

    def info(self) -> dict[str, Any]:
        """Return what clients get to know; images of any modality and dimensions are answered."""
        return {**super().info(), "modalities": [], "dimensions": []}

    def is_valid(self) -> bool:
        """Return true: there are no weights that could be missing."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment the marked structure in ``request["image"]``, a file path.

        Returns:
            The label file, which the caller deletes, and a summary: ``label_names``,
            ``latencies`` in seconds, ``foreground`` (share of the image), and what
            `lib.image.Image.facts` tells.

        Raises:
            InputError: an unreadable image, nothing marked, or a wrong parameter.
        """
        start = time.perf_counter()
        path = Path(str(request["image"]))
        channel = channel_of(request)
        dims = 2 if len(image_size(path, channel)) == 2 else 3
        suffix = result_extension(first(request.get("result_extension")), path, dims)
        image = read_image(path, MAX_PIXELS if dims == 2 else MAX_VOXELS, dims, channel)
        read = time.perf_counter()
        mask = self.segment(image, request)
        done = time.perf_counter()
        dtype = first(request.get("result_dtype"))
        file = write_label(mask.astype(np.uint8), image.geometry, suffix, dtype)
        end = time.perf_counter()
        seconds = {"pre": read - start, "infer": done - read, "write": end - done}
        return file, {
            "label_names": {self._name(request): 1},
            "latencies": {
                name: round(spent, 4) for name, spent in {**seconds, "total": end - start}.items()
            },
            "foreground": round(float(mask.mean()), 6),
            **image.facts,
        }

    @abstractmethod
    def segment(self, image: Image, request: Mapping[str, Any]) -> np.ndarray:
        """Return the structure in `image`, boolean `(*image.shape)`.

        Raises:
            InputError: nothing is marked, or a wrong parameter.
        """

    def _name(self, request: Mapping[str, Any]) -> str:
        """Return the name of the segment that the viewer draws."""
        asked = request.get("label_name") or request.get("selected_label_name")
        return str(asked or next(iter(self.labels), "structure"))


class ScribblesInfer(UntrainedInfer):
    """Follows scribbles that the user drew into the label image ``request["label"]``.

    ``label_info`` names the values of that image: the scribbles `POSITIVE` and `NEGATIVE`, and the
    segments of the viewer. ``selected_label_name`` is the segment to draw or to correct.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(
            InferType.SCRIBBLES, labels, "Any structure from scribbles, or an answer corrected"
        )

    def segment(self, image: Image, request: Mapping[str, Any]) -> np.ndarray:
        """Return the structure that scribbles mark, see `lib.interactive.scribbles`."""
        box = read_box(request, image.shape, slices_from_last(request, image.geometry))
        drawn = np.zeros(image.shape, np.int32)
        if request.get("label"):
            drawn = read_label(str(request["label"]), image)
        values = _values(request.get("label_info"))
        chosen = values.get(str(request.get("selected_label_name") or ""))
        return segment_scribbles(
            image,
            drawn == values.get(POSITIVE, -1),
            drawn == values.get(NEGATIVE, -1),
            None if chosen is None else drawn == chosen,
            box,
        )


class RegionInfer(UntrainedInfer):
    """Follows clicks: answers the region around each positive one, without the negative ones."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(
            InferType.DEEPGROW, labels, "Any structure from one click, without a trained model"
        )

    def segment(self, image: Image, request: Mapping[str, Any]) -> np.ndarray:
        """Return the regions that clicks mark, see `lib.interactive.scribbles`."""
        from_last = slices_from_last(request, image.geometry)
        box = read_box(request, image.shape, from_last)
        clicks = read_points(request, image.shape, tuple(self.labels), from_last_slice=from_last)
        return segment_clicks(image, clicks, box)


def _values(label_info: Any) -> dict[str, int]:
    """Return the value of each segment of the label image.

    Raises:
        InputError: not a list of names and values.
    """
    if not label_info:
        return dict(_VALUES)
    entries = label_info if isinstance(label_info, list) else [label_info]
    values = {}
    for entry in entries:
        name, value = (entry.get("name"), entry.get("id")) if isinstance(entry, dict) else (0, 0)
        if not isinstance(name, str) or type(value) is not int or value < 1:
            raise InputError(
                f"label_info holds {str(entry)[:60]}; expected "
                f'[{{"name": "{POSITIVE}", "id": 3}}, ...] with values from 1'
            )
        values[name] = value
    return values
