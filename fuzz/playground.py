"""A server of every kind of model on small studies of every kind, all made from seeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch

from benchmarks.speed.serving import Server
from lib.data.studies import FINAL_LABELS
from lib.image import Geometry
from lib.io.masks import write_mask
from lib.io.pictures import save_picture
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.dicom_studies import cine_study, frame_study
from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.density import VIEWS
from lib.tasks.registry import get_task
from lib.weights.checkpoint import Checkpoint, save_checkpoint

PICTURES = ("cells_0", "cells_1", "cells_2", "cells_3")  # the last has no label
VOLUME, FRAME, LOOP, MAMMOGRAM = "volume", "frame", "loop", "exam_000_R-CC"
IMAGES = (*PICTURES, VOLUME, FRAME, LOOP, MAMMOGRAM)
MODELS = ("nuclei_vhllrhe", "busi_click", "ultrasound3d_vnet", "density_birads")
UNTRAINED = "nuclei_vcr"
SIDE, LOOP_FRAMES = 48, 3


def write_studies(folder: Path) -> None:
    """Write pictures with labels, a volume, a DICOM frame, a DICOM loop and an exam."""
    (folder / FINAL_LABELS).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(PICTURES):
        image, label = nuclei_phantom(seed, rows=SIDE, columns=SIDE, nuclei=6)
        save_picture(folder / f"{name}.png", image)
        if name != PICTURES[-1]:
            save_picture(folder / FINAL_LABELS / f"{name}.png", label)
    voxels = np.random.default_rng(0).integers(0, 255, (6, 24, 32)).astype(np.uint8)
    write_mask(folder / f"{VOLUME}.nrrd", voxels, Geometry.flat(*voxels.shape))
    for name, study in (
        (FRAME, frame_study(1, (SIDE, SIDE))),
        (LOOP, cine_study(1, LOOP_FRAMES, (SIDE, SIDE))),
    ):
        pydicom.dcmwrite(folder / f"{name}.dcm", study.datasets[0], enforce_file_format=True)
    write_exams(folder, exams=1, scale=0.04)


def write_weights(folder: Path) -> dict[str, Path]:
    """Write random weights, the same for all of a seed; return their files by model."""
    files = {}
    for name in MODELS:
        torch.manual_seed(0)
        spec = get_task(name)
        answer: dict[str, Any] = {}
        if kind_of(spec).by_exam:
            spec = replace(spec, input=replace(spec.input, size=64))
            answer = {"temperature": 1.0, "views": sorted(VIEWS)}
        weights = dict(build_network(spec.network).state_dict())
        files[name] = save_checkpoint(
            folder / f"{name}.pt",
            Checkpoint(task=name, spec=spec.as_dict(), weights=weights, answer=answer),
        )
    return files


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve the studies from an empty folder; its folder ``tmp`` is the server's TMPDIR."""
    for name in ("studies", "weights", "tmp"):
        (folder / name).mkdir()
    write_studies(folder / "studies")
    weights = write_weights(folder / "weights")
    with Server(
        folder / "studies", weights, folder, untrained=(UNTRAINED,), temporary=folder / "tmp"
    ) as server:
        yield server
