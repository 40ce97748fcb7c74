"""A further kind of task is one row of `lib.kinds`: its tasks train, are evaluated and are served.

The kind is made here, of existing parts: a network that answers how many objects an image shows.
Nothing outside this file knows of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monailabel.interfaces.tasks.infer_v2 import InferType
from scipy import ndimage

from infer.base import ModelInfer
from infer.build import build_infer
from infer.percent_density import PERCENT_DENSITY
from lib.data.case import Batch, Evaluation, Scoring
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.kinds import KINDS, TaskKind, kind_of, register
from lib.segmentation.losses import LOSSES
from lib.segmentation.predictor import Predictor
from lib.segmentation.training import SEGMENTATION_CASES, draw_training_patches
from lib.tasks import registry
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.store import ModelStore
from monailabel_app.cli import main
from monailabel_app.cli.infer import InferOptions
from monailabel_app.cli.predictors import load_predictor
from trainers.base import build_trainer

TASK = "nuclei_count"
AREA = 64  # pixels that answer "1" for one object


def count_objects(mask: np.ndarray) -> int:
    return int(ndimage.label(mask > 0)[1])


class Counter(Predictor):
    """Answers with the number of objects: the sum of a density map."""

    def count(self, file: Path) -> float:
        """Return the number of objects in an image file."""
        return float(self(read_image(file)).probabilities[0].sum()) / AREA


def draw(cases, task, rngs) -> Batch:
    images, targets = draw_training_patches(cases, task, rngs)
    counts = [count_objects(target[0]) for target in targets.cpu().numpy()]
    return images, torch.tensor(counts, dtype=torch.float32)


def squared_error(logits: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return (logits.sigmoid().sum((1, 2, 3)) / AREA - counts).square().mean()


def score(predictor: Counter, cases: Any) -> dict[str, float]:
    errors = []
    for index in range(len(cases)):
        image, target = cases[index]
        answer = predictor.probabilities(image.astype(np.float32))[0].sum() / AREA
        errors.append(abs(float(answer) - count_objects(target[0])))
    return {"error": float(np.mean(errors)), "closeness": 1 / (1 + float(np.mean(errors)))}


@dataclass(frozen=True)
class CountReport:
    """True and answered counts by image."""

    images: dict[str, tuple[int, float]]
    about: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, "about": self.about}


def evaluate(predictor, items, seed=0, on_case=None, about=None) -> CountReport:
    images = {}
    for item in items:
        images[item.id] = (count_objects(read_label(item.label)), predictor.count(item.image))
        if on_case:
            on_case(item)
    return CountReport(images, {"seed": seed, **(about or {})})


def lines(report: CountReport) -> list[str]:
    return [
        f"{id}: {count} objects, answered {found:.1f}"
        for id, (count, found) in report.images.items()
    ]


def answer_files(task: TaskSpec, chosen: InferOptions) -> dict[str, str]:
    predictor, _ = load_predictor(task, chosen)
    for file in chosen.files:
        print(f"{file.name}: {predictor.count(file):.1f}")
    return {}


class CountingInfer(ModelInfer[Counter]):
    """Answers a request with a count, and without a label image."""

    infer_type = InferType.OTHERS

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        predictor, version = self.predictor(request)
        return "", {"count": predictor.count(Path(request["image"])), "model_version": version}


@pytest.fixture(scope="module")
def task() -> Iterator[TaskSpec]:
    """The two rows that an engineer would write: one of the kind, and one of a task."""
    register(
        TaskKind(
            name="counting",
            check=lambda task: None,
            cases=replace(SEGMENTATION_CASES, draw=draw),
            losses={"squared_error": squared_error},
            scoring=Scoring(loss=lambda task, items: squared_error, score=score),
            predictor=Counter,
            evaluation=Evaluation(
                evaluate=evaluate, count=lambda report: len(report.images), lines=lines
            ),
            painted=False,
            reviews={},
            strategies=("random", "first"),
            simulation_metric="closeness",
            answer_files=answer_files,
            infer_task=CountingInfer,
            trainer="trainers.segmentation:SegmentationTrain",
        )
    )
    nuclei = get_task("nuclei_u3clr")
    yield registry.register(
        replace(
            nuclei,
            name=TASK,
            description="Number of nuclei",
            kind="counting",
            network=replace(nuclei.network, channels=(4, 8), convolutions=(1, 1)),
            training=replace(
                nuclei.training,
                loss="squared_error",
                steps=2,
                val_interval=2,
                batch_size=2,
                patch_size=32,
                val_split=0.3,
            ),
            key_metric="closeness",
        )
    )
    del TASKS[TASK], KINDS["counting"]


@pytest.fixture(scope="module")
def store(task, items, tmp_path_factory) -> ModelStore:
    """A store with weights of two training steps."""
    folder = tmp_path_factory.mktemp("counting")
    options = FitOptions(out=folder / "run", device="cpu", progress=False, tensorboard=False)
    result = fit(task, items, options)
    assert result.steps == 2 and set(result.metrics) == {"error", "closeness"}
    store = ModelStore(folder / "models", folder / "shipped")
    assert store.submit(TASK, result.weights, result.metrics, task.key_metric, None).published
    return store


def test_it_is_evaluated(task, store, items, tmp_path, capsys, monkeypatch):
    figures = tmp_path / "figures.json"
    words = ["evaluate", TASK, "--studies", items[0].image.parent, "--models", store.folder]
    _run(monkeypatch, *words, "--device", "cpu", "--json", figures)
    shown = capsys.readouterr().out
    assert f"{TASK} on {len(items)} images of" in shown and " objects, answered " in shown
    counts = json.loads(figures.read_text())["images"]
    assert {id: true for id, (true, _) in counts.items()} == {
        item.id: count_objects(read_label(item.label)) for item in items
    }


def test_it_answers_on_files(task, store, items, tmp_path, capsys, monkeypatch):
    words = ["infer", TASK, items[0].image, "--models", store.folder, "--device", "cpu"]
    _run(monkeypatch, *words, "--out", tmp_path / "out")
    assert items[0].image.name in capsys.readouterr().out


def test_its_infer_task_and_trainer_are_built_as_the_others(task, store, items):
    infer_task, trainer = build_infer(task, store), build_trainer(task, store, "cpu")
    assert isinstance(infer_task, CountingInfer)
    assert trainer.config()["patch_size"] == 32
    _, answer = infer_task({"image": str(items[0].image)})
    assert answer["count"] >= 0 and answer["model_version"] == store.versions(TASK)[-1].id


def test_the_app_serves_and_trains_it(task, store, items, tmp_path, monkeypatch):
    from monailabel_app.active.reopening import REOPENING
    from monailabel_app.app import App

    monkeypatch.setenv("MONAI_LABEL_DATASTORE_AUTO_RELOAD", "false")
    conf = {"models": TASK, "model_dir": str(store.folder), "device": "cpu", "scoring": "off"}
    app = App(str(tmp_path / "app"), str(items[0].image.parent), conf)
    assert set(app.info()["models"]) - {PERCENT_DENSITY} == {TASK} == set(app.info()["trainers"])
    assert set(app.info()["strategies"]) == {"random", "first", *REOPENING}
    assert not app.info()["scoring"]
    answer = app.infer({"model": TASK, "image": items[0].id})
    assert answer["params"]["count"] >= 0 and answer["label"] == ""


def test_a_task_of_no_kind_is_refused(task):
    with pytest.raises(InputError, match="unknown kind 'countin': did you mean 'counting'"):
        kind_of(replace(task, kind="countin"))


def test_a_kind_is_registered_once(task):
    with pytest.raises(InputError, match="kind 'counting' is already registered"):
        register(KINDS["counting"])


def test_a_new_loss_is_one_row_of_its_table(items, tmp_path, capsys, monkeypatch):
    def absolute_error(logits, target, maps):
        return (logits.sigmoid() - target[:, : logits.shape[1]]).abs().mean()

    monkeypatch.setitem(LOSSES, "absolute_error", absolute_error)
    _run(monkeypatch, "train", "--help")
    assert "absolute_error" in capsys.readouterr().out
    words = ["train", "nuclei_u3clr", "--studies", items[0].image.parent, "--out", tmp_path]
    sizes = ["--channels", "4,6,8,8,8", "--patch-size", 32, "--batch-size", 2, "--steps", 2]
    _run(monkeypatch, *words, *sizes, "--loss", "absolute_error", "--device", "cpu")
    assert (tmp_path / "best.pt").is_file()


def _run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["monailabel_app", *map(str, words)])
    main([str(word) for word in words])
