"""What is killed: the app's own functions, over and over, with a word before and after each."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.data.studies import list_items
from lib.data.versions import write_version
from lib.files import sha256
from lib.io.pictures import save_picture
from lib.networks import build_network
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation.readers import list_images_of_readers
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.training.options import FitOptions
from lib.training.publish import train_and_submit
from lib.weights.checkpoint import Checkpoint, save_checkpoint, state_on_cpu
from lib.weights.store import ModelStore
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.web.models import publish_upload

SIDE = 64  # pixels of the images
IMAGES = 6
READERS = ("anna", "ben")
TAGS = ("final", "final", "original")
ROW = get_task("nuclei_u3clr")
SMALL = replace(
    ROW,
    network=replace(ROW.encoder_decoder, channels=(4, 8, 16), convolutions=(1, 1, 1)),
    training=replace(ROW.training, steps=6, batch_size=2, patch_size=32, val_interval=3),
)
CANDIDATES = 3

Say = Callable[[str, Mapping[str, Any]], None]
"""Writes a line to the journal: ``begin`` or ``done``, and what."""


@dataclass(frozen=True)
class Site:
    """The folders that a process works on; `sent` stands for what clients send."""

    folder: Path

    @property
    def studies(self) -> Path:
        """The studies folder."""
        return self.folder / "studies"

    @property
    def sent(self) -> Path:
        """Files as they come from elsewhere."""
        return self.folder / "sent"

    @property
    def store(self) -> ModelStore:
        """The weights."""
        return ModelStore(self.folder / "models", self.folder / "shipped")


def image_id(number: int) -> str:
    """Return the id of an image."""
    return f"image_{number}"


def prepare(site: Site, task: TaskSpec = ROW) -> None:
    """Write images and the files that clients would send."""
    for folder in (site.studies, site.sent, site.folder / "shipped"):
        folder.mkdir(parents=True)
    for number in range(IMAGES):
        pixels, label = nuclei_phantom(number, rows=SIDE, columns=SIDE, nuclei=6)
        save_picture(site.studies / f"{image_id(number)}.png", pixels)
        (site.sent / "labels").mkdir(exist_ok=True)
        save_picture(site.sent / "labels" / f"{image_id(number)}.png", label)
    for number in range(CANDIDATES):
        torch.manual_seed(number)
        weights = state_on_cpu(build_network(task.network))
        checkpoint = Checkpoint(task=task.name, spec=task.as_dict(), weights=weights)
        save_checkpoint(site.sent / f"{number}.pt", checkpoint)


def candidates(site: Site) -> list[Path]:
    """Return the files of weights that clients send."""
    return sorted(site.sent.glob("*.pt"))


def save_labels(site: Site, rng: random.Random, say: Say) -> None:
    """Save labels of one value each, by two readers."""
    store = StudiesDatastore(str(site.studies))
    file = site.sent / "label.png"
    while True:
        facts: dict[str, Any] = {
            "image": image_id(rng.randrange(IMAGES)),
            "tag": rng.choice(TAGS),
            "value": rng.randrange(1, 60_000),
        }
        save_picture(file, np.full((SIDE, SIDE), facts["value"], np.uint16))
        say("begin", facts)
        info = {"client_id": rng.choice(READERS)}
        store.save_label(facts["image"], str(file), facts["tag"], info)
        say("done", facts)


def upload_weights(site: Site, rng: random.Random, say: Say) -> None:
    """Accept weights as `PUT /model` does."""
    store = site.store
    while True:
        file = rng.choice(candidates(site))
        say("begin", {"content": sha256(file)})
        with open(file, "rb") as upload:
            version = publish_upload(store, ROW, upload)
        say("done", {"content": sha256(file), "version": version})


def publish_weights(site: Site, rng: random.Random, say: Say) -> None:
    """Submit weights as a training does, now better than the served ones, now worse."""
    store = site.store
    for step in count():
        file = rng.choice(candidates(site))
        say("begin", {"content": sha256(file)})
        decision = store.submit(ROW.name, file, {"m": step % 2}, "m", 0.5 if step else None)
        say("done", {"content": sha256(file), "version": decision.version})


def retrain(site: Site, rng: random.Random, say: Say) -> None:
    """Train a small network and submit it; a run that was killed goes on."""
    store = site.store
    labels = site.studies / "labels" / "final"
    labels.mkdir(parents=True, exist_ok=True)
    for label in (site.sent / "labels").iterdir():
        if not (labels / label.name).exists():
            shutil.copy(label, labels)
    items = list_items(site.studies, labelled=True)
    for seed in count():
        options = FitOptions(out=store.run_folder(SMALL.name), seed=seed % 3, device="cpu")
        say("begin", {})
        _, decision = train_and_submit(SMALL, items, options, store)
        say("done", {"version": decision.version})


def write_consensus(site: Site, rng: random.Random, say: Say) -> None:
    """Let two readers label an image, and make the consensus of all images."""
    store = StudiesDatastore(str(site.studies))
    file = site.sent / "drawn.png"
    for number in range(IMAGES):
        label = str(site.sent / "labels" / f"{image_id(number)}.png")
        if not store.get_label_by_image_id(image_id(number), "final"):
            store.save_label(image_id(number), label, "final", {"client_id": READERS[0]})
    while True:
        image = image_id(rng.randrange(IMAGES))
        pixels = np.zeros((SIDE, SIDE), np.uint8)
        top, left = rng.randrange(SIDE - 20), rng.randrange(SIDE - 20)
        pixels[top : top + 20, left : left + 20] = 1
        save_picture(file, pixels)
        write_version(site.studies, image, file, reader=READERS[1], ext=".png")
        say("begin", {})
        items = list_images_of_readers(site.studies, ROW, "consensus")
        made = [item.label.name for item in items if item.label and item.label.suffix == ".nrrd"]
        say("done", {"made": made})


WORK: dict[str, Callable[[Site, random.Random, Say], None]] = {
    "saves": save_labels,
    "uploads": upload_weights,
    "publishing": publish_weights,
    "retraining": retrain,
    "consensus": write_consensus,
}
