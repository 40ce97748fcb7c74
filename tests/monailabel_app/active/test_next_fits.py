"""The next image fits the model that was chosen, or is of the kind of the image that is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.phantoms.dicom_studies import cine_study, frame_study
from lib.tasks.registry import get_task
from lib.weights.store import ModelStore
from monailabel_app.active.background import ScoringSettings
from monailabel_app.active.strategies import ActiveLearning
from monailabel_app.studies.datastore import StudiesDatastore

CELLS, VIEWS = {"cells1", "cells2"}, {"EXAM_R-CC", "EXAM_L-CC"}
STILLS, LOOPS, SCANS = {"still1", "still2"}, {"loop1", "loop2"}, {"mr1", "mr2"}
MORE_THAN_ALL = 11
SERVED = ("nuclei", "busi_lesion", "nerve_cine", "density_birads")


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """Pictures, stills and loops of ultrasound, MR and two views of an exam in one folder."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in CELLS | VIEWS:
        Image.fromarray(np.full((32, 32), 90, np.uint8)).save(folder / f"{name}.png")
    for number in (1, 2):
        (still,) = frame_study(number, (32, 40)).datasets
        (loop,) = cine_study(number, 4, (32, 32)).datasets
        still.save_as(folder / f"still{number}.dcm", enforce_file_format=True)
        loop.save_as(folder / f"loop{number}.dcm", enforce_file_format=True)
        still.Modality = "MR"
        still.save_as(folder / f"mr{number}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def given(studies, tmp_path):
    """Return a function that returns all images that are given out, each to another reader."""

    def ask(*served: str, any_modality: bool = False, **request: str) -> tuple[set[str], set[str]]:
        rows = [get_task(name) for name in served or SERVED]
        rows = [row.for_any_image() for row in rows] if any_modality else rows
        tasks = {row.name: row for row in rows}
        store = ModelStore(tmp_path / "models", tmp_path / "none")
        datastore = StudiesDatastore(str(studies), tasks=rows)
        active = ActiveLearning(datastore, tasks, store, ScoringSettings(enabled="off"))
        active.leases.drop(datastore.list_images())  # what was given out before
        strategy = active.strategies()["random"]
        images, models = set(), set()
        for reader in range(MORE_THAN_ALL):
            if not (sample := active.next(strategy, {**request, "client_id": f"reader {reader}"})):
                break
            images |= VIEWS if sample.get("exam") and sample["id"] in VIEWS else {sample["id"]}
            models.add(sample["model"])
        return images, models

    return ask


@pytest.mark.parametrize(
    ("model", "images"),
    [
        ("nuclei", CELLS),
        ("busi_lesion", CELLS | STILLS | LOOPS),
        ("nerve_cine", LOOPS),
        ("density_birads", VIEWS),
    ],
)
def test_with_a_model_only_what_it_is_for_is_given(given, model, images):
    assert given(model=model) == (images, {model})


@pytest.mark.parametrize(
    ("like", "images", "model"),
    [
        ("cells1", CELLS, "nuclei"),
        ("still2", STILLS, "busi_lesion"),
        ("loop1", LOOPS, "busi_lesion"),
        ("EXAM_L-CC", VIEWS, "density_birads"),
        ("mr1", SCANS, ""),
    ],
)
def test_without_a_model_the_kind_of_the_shown_image_stays(given, like, images, model):
    assert given(like=like) == (images, {model})


def test_with_a_model_too_the_kind_of_the_shown_image_stays(given):
    assert given(model="busi_lesion", like="still2")[0] == STILLS
    assert given(model="busi_lesion", like="loop1")[0] == LOOPS


def test_a_model_that_is_named_counts_more_than_the_shown_image(given):
    assert given(model="nerve_cine", like="cells1")[0] == LOOPS


def test_without_either_the_first_model_that_fits_some_image_decides(given):
    assert given() == (CELLS, {"nuclei"})
    assert given("density_birads", "nuclei") == (VIEWS, {"density_birads"})


def test_models_for_any_image_are_given_all(given):
    assert given("nuclei", any_modality=True)[0] == CELLS | VIEWS | STILLS | LOOPS | SCANS


def test_images_are_counted_by_kind_from_what_was_looked_at_before(studies, given):
    assert given(model="nerve_cine")[0] == LOOPS  # writes down what it saw
    again = StudiesDatastore(str(studies))
    assert {id for id, kind in again.kinds().items() if kind.dimensions == "loop"} == LOOPS
    assert again.kind("mr1").modality == "MR"
