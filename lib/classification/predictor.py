"""Prediction by classifiers: from the views of an exam to one answer that can be checked.

An exam is answered from the views that it has. The answer lists the views that were left out and
why, and the reasons for a reader to look at it.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib.classification.answer import ExamAnswer, ViewAnswer, combine, reasons_to_doubt
from lib.classification.calibration import class_probabilities
from lib.classification.overlays import grey_picture
from lib.errors import InputError
from lib.mammography.breast import PreparedBreast, network_input, prepare_breast
from lib.mammography.dense_tissue import DenseTissue, dense_mask
from lib.mammography.exams import Exam, read_views
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import View
from lib.networks.classifiers import MultiViewClassifier
from lib.networks.features import pooled
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint
from lib.weights.runner import NetworkRunner, mean_features


@dataclass(frozen=True)
class _ReadView:
    prepared: PreparedBreast
    tissue: DenseTissue | None
    picture: np.ndarray | None


class ExamPredictor(NetworkRunner):
    """Answers on mammography exams with the networks of one task.

    Args:
        task, network, device, precision: see `NetworkRunner`.
        temperature: divisor of the logits; see `lib.classification.calibration`.
        trained: names of the views whose networks were trained; None means all.
    """

    def __init__(
        self,
        task: TaskSpec,
        network: nn.Module,
        device: str | torch.device | None = None,
        precision: str = "auto",
        temperature: float = 1.0,
        trained: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(task, network, device, precision)
        self.temperature, self.trained = temperature, trained

    @classmethod
    def as_trained(cls, task: TaskSpec, checkpoint: Checkpoint) -> tuple[TaskSpec, dict[str, Any]]:
        """Return the task with the input (size and greys) of training, temperature and views."""
        spec, stored = task.input, checkpoint.spec.get("input", {})
        size, channels = stored.get("size", spec.size), stored.get("channels", spec.channels)
        size = size if isinstance(size, int) else tuple(size)
        task = replace(task, input=replace(spec, size=size, channels=tuple(channels)))
        views = checkpoint.answer.get("views")
        return task, {
            "temperature": float(checkpoint.answer.get("temperature", 1.0)),
            "trained": None if views is None else tuple(views),
        }

    def __call__(self, exam: Exam, tissue: bool = True, pictures: bool = False) -> ExamAnswer:
        """Answer on an exam from the views that it has.

        Args:
            tissue: also find the dense tissue of each view.
            pictures: keep a grey picture of each view, for overlays.

        Raises:
            InputError: no view can be answered; the message names the reasons.
        """
        start = time.perf_counter()
        read, left_out = read_views(
            exam, lambda view, path: self._read(view, path, tissue, pictures)
        )
        ready = time.perf_counter()
        inputs = np.stack([network_input(one.prepared, self.task.input) for one in read.values()])
        logits, maps = self._logits_and_maps(torch.from_numpy(inputs), list(read))
        probabilities = class_probabilities(logits.cpu().numpy(), self.temperature)
        strange = [self.strangeness([pooled([last[np.newaxis]])]) for last in maps]
        views = {
            view.name: ViewAnswer(
                view=view,
                path=exam.views[view],
                probabilities=row,
                prepared=one.prepared,
                maps=last_maps,
                tissue=one.tissue,
                picture=one.picture,
                strangeness=unlike,
            )
            for (view, one), row, last_maps, unlike in zip(
                read.items(), probabilities, maps.cpu(), strange, strict=True
            )
        }
        seconds = {"read": ready - start, "infer": time.perf_counter() - ready}
        return self._answer(exam, views, left_out, seconds)

    def _read(self, view: View, path: Path, tissue: bool, pictures: bool) -> _ReadView:
        """Read and prepare one view.

        Raises:
            InputError: the file cannot be read, or the view's network was not trained.
        """
        classifier = self.task.classifier
        trained = self.trained is None or view.name in self.trained
        only = ", ".join(self.trained or classifier.views)
        # one network for all views answers on those that it has not seen too, and says so
        if classifier.network_of(view.name) is None or (classifier.views and not trained):
            raise InputError(f"'{self.task.name}' was not trained on {view.name}, only on {only}")
        mammogram = read_mammogram(path, self.task.input.max_pixels)
        prepared = prepare_breast(mammogram, self.task.input.sides)
        if not trained:
            unseen = f"these weights were trained on {only}, not on {view.name}"
            prepared = replace(prepared, notes=(*prepared.notes, unseen))
        return _ReadView(
            prepared,
            dense_mask(prepared) if tissue else None,
            grey_picture(mammogram.pixels) if pictures else None,
        )

    def logits(self, images: np.ndarray, views: list[View]) -> np.ndarray:
        """Return logits, float32 `(N, classes)`, of prepared views.

        Args:
            images: float32 `(N, channels, rows, columns)`.
            views: the view of each image.
        """
        return self.answers(torch.from_numpy(images), views).cpu().numpy()

    def answers(self, images: Tensor, views: list[View]) -> Tensor:
        """Return what `logits` does, on the device."""
        return self._logits_and_maps(images, views)[0]

    def features(self, images: np.ndarray, view: View) -> np.ndarray | None:
        """Return what the network makes of a prepared view `(channels, rows, columns)`.

        Returns:
            Means of its last maps, `(features)`; None where views have networks of their own, whose
            maps have nothing in common.
        """
        if self.task.classifier.views:
            return None
        maps = self._logits_and_maps(torch.from_numpy(images[np.newaxis]), [view])[1]
        return mean_features([pooled([maps])])

    def _logits_and_maps(self, images: Tensor, views: list[View]) -> tuple[Tensor, Tensor]:
        """Return what `answers` does, and the last maps `(N, channels, rows, columns)`."""
        indices = [self.task.classifier.network_of(view.name) for view in views]
        if None in indices:
            raise ValueError(f"views {views} with none of {self.task.classifier.views}")
        batch = images.to(self.device)
        with self._lock, torch.inference_mode(), self._running() as network:
            logits, maps = network.with_maps(batch, torch.tensor(indices))
            return logits.float(), maps

    def copy_network(self, view: View, head: bool = False) -> nn.Module:
        """Return a copy of a view's network, or of its head alone, for gradients of its input."""
        index = self.task.classifier.network_of(view.name)
        if index is None or not isinstance(self.network, MultiViewClassifier):
            raise ValueError(f"no network of its own answers on {view.name}")
        with self._lock:
            whole = self.network.networks[index]
            network = copy.deepcopy(whole.get_submodule("head") if head else whole)
        return network.eval().requires_grad_(False)

    def _answer(
        self,
        exam: Exam,
        views: dict[str, ViewAnswer],
        left_out: dict[str, str],
        seconds: dict[str, float],
    ) -> ExamAnswer:
        rules = self.task.exam_rules
        by_view = {name: answer.probabilities for name, answer in views.items()}
        combined = combine(
            rules, [answer.view for answer in views.values()], np.stack(list(by_view.values()))
        )
        doubts = {
            name: "; ".join(answer.prepared.doubts)
            for name, answer in views.items()
            if answer.prepared.doubts
        }
        return ExamAnswer(
            exam=exam.id,
            names=rules.names,
            probabilities=combined.exam,
            breasts=combined.breasts,
            views=views,
            left_out=left_out,
            uncertain=reasons_to_doubt(rules, combined.exam, by_view, doubts),
            threshold=rules.least_confidence,
            temperature=self.temperature,
            seconds=seconds,
        )
