"""The next best image, and scores of labels, where the studies are a real archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archive import archive_of, stow
from server_support import MODEL

from lib.active_learning.strategies import STRATEGIES
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.kinds import kind_of
from lib.networks import build_network
from lib.phantoms.dicom_studies import DemoStudy, frame_study, mammogram_study
from lib.tasks.density import VIEWS
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, save_checkpoint
from lib.weights.store import ModelStore
from monailabel_app.active.background import ScoringSettings
from monailabel_app.active.records import Record
from monailabel_app.active.scoring_methods import make_methods
from monailabel_app.active.strategies import ActiveLearning
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.orthanc import Orthanc
from trainers.base import build_trainer

DENSITY = "density_birads"


class Site:
    """An archive of its own with the active learning and the scoring of a server over it."""

    def __init__(self, orthanc: Orthanc, folder: Path, task: str) -> None:
        self.task, self.folder = get_task(task), folder
        self.store = ModelStore(folder / "models", folder / "none")
        self.store.folder.mkdir()
        self.datastore = ArchiveDatastore(
            archive_of(orthanc), folder / "cache", 10**9, (self.task,)
        )
        tasks = {task: self.task}
        settings = ScoringSettings(device="cpu", precision="fp32", enabled="on")
        self.active = ActiveLearning(self.datastore, tasks, self.store, settings)
        self.active.background.quiet.wait = lambda: None  # type: ignore[method-assign]
        trainers = {task: build_trainer(self.task, self.store, "cpu", "fp32")}
        self.methods = make_methods(trainers, self.active)

    def publish(self, task: TaskSpec, **fields: Any) -> None:
        """Publish random weights, of which mirrored answers differ."""
        torch.manual_seed(0)
        weights = dict(build_network(task.network).state_dict())
        checkpoint = Checkpoint(task=task.name, spec=task.as_dict(), weights=weights, **fields)
        save_checkpoint(self.store.published_path(task.name), checkpoint)

    def measure(self) -> dict[str, Record]:
        background = self.active.background
        for strategy in kind_of(self.task).strategies:
            background.request(self.task, strategy)
        try:
            while not background._measure_all():
                pass
        finally:
            background._stop_worker()
        return background.records(self.task).all()

    def next(self, strategy: str, who: str) -> dict:
        return self.active.next(self.active.strategies()[strategy], {"client_id": who})

    def accept(self, image: str, label: Path) -> None:
        self.datastore.save_label(image, str(label), "final", {})
        self.active.saved(image)

    def score(self, method: str) -> dict:
        return self.methods[method]({"model": self.task.name}, self.datastore)


@pytest.fixture
def site(new_orthanc, tmp_path) -> Callable[..., Site]:
    """A function that opens a site whose archive holds some studies."""

    def open_site(task: str, *studies: DemoStudy) -> Site:
        archive = new_orthanc()
        for study in studies:
            stow(archive, study.datasets)
        return Site(archive, tmp_path, task)

    return open_site


def _order(records: dict[str, Record], figure: str) -> list[str]:
    """Return the ids of all samples, the greatest of a figure of their scores first."""
    figures = {id: one.measured.as_dict()[figure] for id, one in records.items() if one.measured}
    assert len(figures) == len(records) == len(set(figures.values())), "all measured, all different"
    return sorted(figures, key=lambda id: -figures[id])


def test_images_of_an_archive_are_measured_given_in_order_and_scored(site, tmp_path):
    studies = [frame_study(seed, (64, 80)) for seed in (4, 5)]
    here = site(MODEL, *studies)
    here.publish(here.task)
    images = {study.series[0]: study for study in studies}
    records = here.measure()
    assert records.keys() == images.keys() == set(here.datastore.list_images())
    best, other = _order(records, "disagreement")
    given = here.next("uncertainty", "anna")
    assert (given["id"], given["model"]) == (best, MODEL)
    assert given["scores"]["disagreement"] == pytest.approx(
        records[best].measured.disagreement, abs=1e-4
    )
    assert given["model_version"] == here.store.served_version(MODEL)
    assert read_image(given["path"]).shape == images[best].truth[best].shape == (64, 80)
    assert here.next("uncertainty", "bert")["id"] == other
    for strategy in kind_of(here.task).strategies:
        assert here.next(strategy, "anna")["id"] == best, "it is still hers"

    truth = images[best].truth[best] > 0
    geometry = read_image(given["path"]).geometry
    here.accept(best, write_mask(tmp_path / "label.nrrd", truth.astype(np.uint8), geometry))
    assert here.next("combined", "anna")["id"] == other, "which is labelled is not given"
    assert here.measure()[best].measured.foreground == pytest.approx(truth.mean()), "of its label"

    for method in ("dice", "label_quality"):
        answer = here.score(method)
        assert (answer["scored"], answer["failed"]) == (1, 0)
        (row,) = answer["images"]
        kept = here.datastore.get_label_info(best, "final")[method]
        assert row["id"] == best and kept["model_version"] == answer["model_version"]
    answer = here.score("uncertainty")
    assert {row["id"] for row in answer["images"]} == set(images)
    info = here.datastore.get_image_info(other)["uncertainty"]
    assert info["disagreement"] == pytest.approx(records[other].measured.disagreement, abs=1e-4)


def test_exams_of_an_archive_are_one_sample_each_and_labelled_as_one(site, tmp_path):
    exams = {study.study: study for study in (mammogram_study(s, 0.03) for s in (20, 21))}
    here = site(DENSITY, *exams.values())
    small = replace(here.task, input=replace(here.task.input, size=64))
    here.publish(small, answer={"temperature": 1.0, "views": sorted(VIEWS)})
    samples = here.active.samples.all(here.task)
    assert {id: set(own) for id, own in samples.items()} == {
        id: set(study.series) for id, study in exams.items()
    }
    records = here.measure()
    assert records.keys() == exams.keys()
    margins = _order(records, "margin")
    first, second = (here.next("margin", who) for who in ("anna", "bert"))
    assert [first["exam"], second["exam"]] == margins
    assert first["id"] in exams[first["exam"]].series
    measuring = [name for name, row in STRATEGIES.items() if row.measures]
    measuring = [name for name in measuring if name in here.active.strategies()]
    assert {here.next(name, "anna")["exam"] for name in measuring} == {first["exam"]}

    (tmp_path / "answer.json").write_text(json.dumps({"density": "C"}))
    here.accept(exams[first["exam"]].series[2], tmp_path / "answer.json")
    assert set(here.active.samples.unlabelled(here.task)) == {second["exam"]}
    assert here.next("margin", "bert")["exam"] == second["exam"]
    answer = here.score("label_quality")
    (row,) = answer["images"]
    assert row["id"] == first["exam"] and row["class"] == "C"
    assert set(row["images"]) == set(exams[first["exam"]].series)
    for view in exams[first["exam"]].series:
        assert "label_quality" in here.datastore.get_label_info(view, "final")
    assert here.score("uncertainty")["scored"] == 2
