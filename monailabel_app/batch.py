"""Answers of a model on all images of a studies folder, stored as labels; a batch can be resumed.

An image is skipped if its label was made by the same version of the weights. The server's batch
(`ResumableBatch`) and the verb `batch-infer` (`answer_share`) store the same.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from tqdm import tqdm

from infer.base import InferSettings, ModelInfer, channel_of, first
from infer.build import build_infer
from lib.errors import InputError, choose
from lib.io.channels import RGB
from lib.io.read import default_channel
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.config import SHIPPED_MODELS
from monailabel_app.studies.datastore import StudiesDatastore

logger = logging.getLogger(__name__)

ORIGINAL = str(DefaultLabelTag.ORIGINAL.value)


def is_answered(
    store: Datastore, image: str, tag: str, model: str, version: str, result: str | None
) -> bool:
    """Tell whether the label of an image is the answer of a model's version, of the kind `result`.

    Args:
        result: one of those that `result_of` returns.
    """
    info = store.get_label_info(image, tag)
    params = info.get("params") or {}
    found = (info.get("model"), params.get("model_version"), params.get("result"))
    return found == (model, version, result)


def result_of(task: ModelInfer[Any], asked: object) -> str | None:
    """Return the kind of label image that a request gets, "mask" or "instances".

    Args:
        asked: the request's ``result``.

    Returns:
        None if the task has one kind only that has no name: exams.

    Raises:
        NotFoundError: the task has no such kind.
    """
    if not task.results and asked is None:
        return None
    return choose("result", first(asked or task.results), {name: name for name in task.results})


def is_of_channel(store: Datastore, image: str, tag: str, channel: str) -> bool:
    """Tell whether the label of an image was made in the channel that would be read now.

    Args:
        channel: the one asked for; empty for that of ``channels.csv``.
    """
    params = store.get_label_info(image, tag).get("params") or {}
    read = str(params.get("channel", "")).casefold()
    now = (channel or default_channel(store.get_image_uri(image))).casefold()
    # a default does not concern images of one channel
    return read == now or not channel and not read and now not in RGB


class ResumableBatch(BatchInferTask):
    """MONAI Label's batch, without the images that are answered already.

    MONAI Label's own (0.8.5) ends at the first image that cannot be read; this one names it in the
    result and goes on.

    Args:
        model: returns the infer task of a name.
    """

    def __init__(self, model: Callable[[str], InferTask]) -> None:
        self.model = model

    def get_images(self, request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the ids of the images to answer on."""
        images: list[str] = super().get_images(request, datastore)
        name = str(request["model"])
        tag = str(request.get("label_tag") or ORIGINAL)
        task = self.model(name)
        if not isinstance(task, ModelInfer):
            return images
        answer = name, task.version(), result_of(task, request.get("result"))
        channel = channel_of(request)
        return [
            id
            for id in images
            if not is_answered(datastore, id, tag, *answer)
            or not is_of_channel(datastore, id, tag, channel)
        ]

    def __call__(
        self,
        request: dict[str, Any],
        datastore: Datastore,
        infer: Callable[[dict[str, Any], Datastore], dict[str, Any]],
    ) -> dict[str, Any]:
        """Answer; the result has an entry per image, with ``error`` if there is no answer."""

        def answer(request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
            try:
                return infer(request, datastore)
            except InputError as error:
                logger.warning(f"Image '{request['image']}' is skipped: {error}")
                return {"error": str(error)}

        # MONAI Label's own default becomes the tag "DefaultLabelTag.ORIGINAL" from Python 3.11 on
        request = {**request, "label_tag": str(request.get("label_tag") or ORIGINAL)}
        result: dict[str, Any] = super().__call__(request, datastore, answer)
        return result


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What to answer, and how.

    Attributes:
        folder: the studies folder.
        models: folder of published weights and their versions.
        tag: label tag to write.
        labelled: whether to answer on images with an accepted label too.
        result: kind of label image, see `result_of`; None for the task's first, which viewers show.
        channel: name or number of the channel to read; empty for that of ``channels.csv``.
    """

    task: str
    folder: Path
    models: Path
    tag: str = ORIGINAL
    labelled: bool = False
    device: str = "auto"
    precision: str = "auto"
    flips: bool = False
    result: str | None = None
    channel: str = ""


@dataclass
class Answers:
    """The result of a batch.

    Attributes:
        version: version of the weights.
        written: images that were answered now.
        skipped: number of images that were answered before.
        failed: error by id of image.
    """

    version: str
    written: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, other: Answers) -> None:
        """Add the answers of another process."""
        self.written = sorted(self.written + other.written, key=lambda row: row["image"])
        self.skipped += other.skipped
        self.failed |= other.failed


def answer_share(batch: Batch, rank: int = 0, world_size: int = 1, local_rank: int = 0) -> Answers:
    """Answer on every `world_size`-th image, from the `rank`-th on, in the order of their ids.

    The shares depend on the images only: processes that start or resume at different times never
    answer on the same image.

    Raises:
        InputError: there are no images, or no weights, or the task has no such kind of result.
    """
    store = StudiesDatastore(str(batch.folder))
    images = sorted(store.list_images())
    if not images:
        raise InputError(f"no images in '{batch.folder}'; give a folder with images at its top")
    task = build_infer(
        get_task(batch.task),
        ModelStore(batch.models, SHIPPED_MODELS),
        InferSettings(
            device=_device(batch.device, world_size, local_rank),
            precision=batch.precision,
            flips=batch.flips,
            find_exam=store.exam_of,
        ),
    )
    answers, result = Answers(task.version()), result_of(task, batch.result)
    bar = tqdm(
        images[rank::world_size],
        desc=batch.task if world_size == 1 else f"{batch.task} {rank + 1}/{world_size}",
        unit="image",
        position=local_rank,
        disable=None,
    )
    for image in bar:
        if not batch.labelled and store.get_label_info(image, DefaultLabelTag.FINAL.value):
            continue
        if is_answered(
            store, image, batch.tag, batch.task, answers.version, result
        ) and is_of_channel(store, image, batch.tag, batch.channel):
            answers.skipped += 1
            continue
        try:
            answers.written.append(_answer(store, task, image, batch, result))
        except InputError as error:
            answers.failed[image] = str(error)
            tqdm.write(f"Error: {image}: {error}", file=sys.stderr)
    return answers


def _answer(
    store: StudiesDatastore, task: ModelInfer[Any], image: str, batch: Batch, result: str | None
) -> dict[str, Any]:
    """Store the answer on one image as its label."""
    request = {"model": batch.task, "image": store.get_image_uri(image), "channel": batch.channel}
    file, summary = task(request | ({"result": result} if result else {}))
    try:
        store.save_label(image, file, batch.tag, {"model": batch.task, "params": summary})
    finally:
        os.unlink(file)
    seconds = summary["latencies"]["total"]
    return {"image": image, "label": Path(store.get_label_uri(image, batch.tag)).name} | {
        "seconds": seconds
    }


def _device(device: str, world_size: int, local_rank: int) -> str:
    """Return the device of this process; several processes take a GPU each, in turn."""
    if world_size > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    return device
