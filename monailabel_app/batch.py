"""Answers of a model on all images of a studies folder, stored as labels; a batch can be resumed.

An image is skipped if its label was made by the same version of the weights. The server's batch
(`monailabel_app.server_batch`) and the verb `batch-infer` (`answer_share`) store the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from tqdm import tqdm

from infer.base import InferSettings, ModelInfer, first
from infer.build import build_infer
from lib.data.diameter import DIAMETER
from lib.devices import resolve_device
from lib.errors import NO_SPACE, InputError, choose, printable
from lib.exports.targets import Exporter, Pieces
from lib.io.channels import RGB
from lib.io.read import default_channel
from lib.tasks.fits import refusal
from lib.tasks.registry import get_task
from lib.threads import do_beside, images_beside
from lib.weights.backend_names import TORCH
from lib.weights.store import ModelStore
from monailabel_app import __version__
from monailabel_app.config import SHIPPED_MODELS
from monailabel_app.studies.datastore import StudiesDatastore

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


def is_of_diameter(store: Datastore, image: str, tag: str, diameter: float) -> bool:
    """Tell whether the label of an image was made for the diameter told now; 0 is none."""
    params = store.get_label_info(image, tag).get("params") or {}
    return bool((params.get(DIAMETER) or 0) == diameter)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What to answer, and how.

    Attributes:
        folder: the studies folder.
        models: folder of published weights and their versions.
        tag: label tag to write.
        labelled: whether to answer on images with an accepted label too.
        diameter: typical one of the objects, in pixels; 0 estimates it in each image.
        result: kind of label image, see `result_of`; None for the task's first, which viewers show.
        channel: name or number of the channel to read; empty for that of ``channels.csv``.
        any_modality: whether to answer on images of modalities that the task is not for.
        exports: see `lib.exports.targets.check_targets`; with any all images are answered again.
    """

    task: str
    folder: Path
    models: Path
    tag: str = ORIGINAL
    labelled: bool = False
    device: str = "auto"
    precision: str = "auto"
    backend: str = TORCH
    flips: bool = False
    diameter: float = 0.0
    result: str | None = None
    channel: str = ""
    any_modality: bool = False
    exports: Mapping[str, Path] = field(default_factory=dict)


@dataclass
class Answers:
    """The result of a batch.

    Attributes:
        version: version of the weights.
        written: images that were answered now.
        skipped: number of images that were answered before.
        failed: error by id of image.
        passed_over: why images are none that the task is for, by id.
        pieces: what goes into exports of all images, see `lib.exports.targets.write_joint`.
    """

    version: str
    written: list[dict[str, Any]] = field(default_factory=list)
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    pieces: Pieces = field(default_factory=dict)

    def add(self, other: Answers) -> None:
        """Add the answers of another process."""
        self.written = sorted(self.written + other.written, key=lambda row: row["image"])
        self.skipped += other.skipped
        self.failed |= other.failed
        self.passed_over |= other.passed_over
        self.pieces = {name: found + other.pieces[name] for name, found in self.pieces.items()}


def answer_share(batch: Batch, rank: int = 0, world_size: int = 1, local_rank: int = 0) -> Answers:
    """Answer on every `world_size`-th image, from the `rank`-th on, in the order of their ids.

    The shares depend on the images only: processes that start or resume at different times never
    answer on the same image. While one image runs through the network others are read, separated
    and written; the answers are those of one after the other. What fails on one image is kept with
    its name, and the others are answered.

    Raises:
        InputError: there are no images, or no weights, or the task has no such kind of result.
        OSError: no space is left for labels.
    """
    store = StudiesDatastore(str(batch.folder))
    images = sorted(store.list_images())
    if not images:
        raise InputError(f"no images in '{batch.folder}'; give a folder with images at its top")
    exporter = Exporter(batch.exports)
    task = build_infer(
        get_task(batch.task),
        ModelStore(batch.models, SHIPPED_MODELS),
        InferSettings(
            device=_device(batch.device, world_size, local_rank),
            precision=batch.precision,
            backend=batch.backend,
            wait=True,
            flips=batch.flips,
            find_exam=store.exam_of,
            exporter=exporter if batch.exports else None,
            software=__version__,
        ),
    )
    answers = Answers(task.version(), pieces=exporter.pieces)
    result = result_of(task, batch.result)
    bar = tqdm(
        images[rank::world_size],
        desc=batch.task if world_size == 1 else f"{batch.task} {rank + 1}/{world_size}",
        unit="image",
        position=local_rank,
        disable=None,
    )

    def waiting() -> Iterator[str]:
        for image in bar:
            if not batch.labelled and store.get_label_info(image, DefaultLabelTag.FINAL.value):
                continue
            known = not batch.exports and is_answered(
                store, image, batch.tag, batch.task, answers.version, result
            )
            known = known and is_of_diameter(store, image, batch.tag, batch.diameter)
            if known and is_of_channel(store, image, batch.tag, batch.channel):
                answers.skipped += 1
                continue
            yield image

    def answer(image: str) -> None:
        try:
            if not batch.any_modality and (reason := refusal(task.task, store.kind(image))):
                answers.passed_over[image] = reason
                return
            answers.written.append(_answer(store, task, image, batch, result))
        except Exception as error:  # of the image, else of a library or the device on this image
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            answers.failed[image] = reason = printable(f"{kind}{error}")
            tqdm.write(f"Error: {image}: {reason}", file=sys.stderr)

    gpu = resolve_device(task.settings.device).type != "cpu"
    do_beside(answer, waiting(), images_beside(gpu))
    answers.written.sort(key=lambda row: str(row["image"]))
    answers.failed = dict(sorted(answers.failed.items()))
    answers.passed_over = dict(sorted(answers.passed_over.items()))
    return answers


def _answer(
    store: StudiesDatastore, task: ModelInfer[Any], image: str, batch: Batch, result: str | None
) -> dict[str, Any]:
    """Store the answer on one image as its label."""
    request = {"model": batch.task, "image": store.get_image_uri(image), "channel": batch.channel}
    asked = {"result": result} if result else {}
    told = {DIAMETER: batch.diameter} if batch.diameter else {}
    file, summary = task({**request, **asked, **told})
    try:
        store.save_label(image, file, batch.tag, {"model": batch.task, "params": summary})
    finally:
        os.unlink(file)
    told = {"seconds": summary["latencies"]["total"], "warnings": summary.get("warnings", [])}
    return {"image": image, "label": Path(store.get_label_uri(image, batch.tag)).name} | told


def _device(device: str, world_size: int, local_rank: int) -> str:
    """Return the device of this process; several processes take a GPU each, in turn."""
    if world_size > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local_rank % torch.cuda.device_count()}"
    return device
