"""The forward path of classification: from the views of an exam to one answer that can be checked.

An exam is answered from the views it has. What was left out is said with its reason, and an answer
that should not be relied on names why.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import Self

from lib.checkpoints import Checkpoint
from lib.errors import InputError
from lib.exam_cases import network_input, prepare_view
from lib.exam_rules import combine, reasons_to_doubt, softmax
from lib.exams import Exam
from lib.mammography_breast import PreparedBreast
from lib.mammography_density import DenseTissue, dense_mask
from lib.mammography_views import View
from lib.network_runner import NetworkRunner
from lib.networks.classifiers import MultiViewClassifier
from lib.specs import InputSpec, TaskSpec


@dataclass(frozen=True)
class ViewAnswer:
    """The answer on one view.

    Attributes:
        probabilities: `(classes)`, 0..1, summing to 1.
        prepared: what the network saw.
        tissue: dense tissue by classical means, on the grid of `prepared`; None if not asked for.
    """

    view: View
    path: Path
    probabilities: np.ndarray
    prepared: PreparedBreast
    tissue: DenseTissue | None = None


@dataclass(frozen=True)
class ExamAnswer:
    """The answer on one exam.

    Attributes:
        exam: its id.
        names: of the classes.
        probabilities: of the exam, `(classes)`, by the task's rule; of ``denser_breast`` those of
            the denser breast.
        breasts: the same of the breasts "R" and "L" that have a view.
        views: answered ones, by name, in the order of the exam.
        left_out: reason for each standard view without an answer, by name.
        uncertain: why a reader should look at it; empty where the answer may stand.
        threshold: probability below which an answer is uncertain.
        temperature: that the logits were divided by.
        seconds: wall time by phase: "read", "infer", "tissue".
    """

    exam: str
    names: tuple[str, ...]
    probabilities: np.ndarray
    breasts: Mapping[str, np.ndarray]
    views: Mapping[str, ViewAnswer]
    left_out: Mapping[str, str]
    uncertain: tuple[str, ...]
    threshold: float
    temperature: float
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def place(self) -> int:
        """The answered class, as a number from 0."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The answered class by name."""
        return self.names[self.place]

    def as_dict(self, digits: int = 4) -> dict[str, Any]:
        """Return the answer as plain data, without pixels, probabilities with so many digits."""
        views = {
            name: {
                "file": answer.path.name,
                **self._told(answer.probabilities, digits),
                **(
                    {"percent_density": round(answer.tissue.percent_density, 1)}
                    if answer.tissue
                    else {}
                ),
                "notes": list(answer.prepared.notes),
                "doubts": list(answer.prepared.doubts),
            }
            for name, answer in self.views.items()
        }
        return {
            "exam": self.exam,
            **self._told(self.probabilities, digits),
            "uncertain": bool(self.uncertain),
            "reasons": list(self.uncertain),
            "threshold": self.threshold,
            "temperature": round(self.temperature, 4),
            "breasts": {side: self._told(answer, digits) for side, answer in self.breasts.items()},
            "views": views,
            "views_used": list(self.views),
            "left_out": dict(self.left_out),
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
        }

    def _told(self, probabilities: np.ndarray, digits: int) -> dict[str, Any]:
        return {
            "class": self.names[int(probabilities.argmax())],
            "probabilities": {
                name: round(float(value), digits)
                for name, value in zip(self.names, probabilities, strict=True)
            },
        }


class ExamPredictor(NetworkRunner):
    """Answers on mammography exams with one task's networks.

    Args:
        task, network, device, precision: see `NetworkRunner`.
        temperature: that logits are divided by; see `lib.calibration`.
        trained: names of the views whose networks were trained; None trusts all.
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
    def from_checkpoint(
        cls,
        task: TaskSpec,
        checkpoint: Checkpoint,
        device: str | torch.device | None = None,
        precision: str = "auto",
        *more: Any,
    ) -> Self:
        """Return a predictor as the checkpoint's training left it: temperature, views, input.

        The input (size and greys) is the one that was trained with, whatever the row says now.
        """
        task = replace(task, input=_trained_input(task.input, checkpoint.spec))
        temperature = float(checkpoint.answer.get("temperature", 1.0))
        trained = checkpoint.answer.get("views")
        views = None if trained is None else tuple(trained)
        return super().from_checkpoint(task, checkpoint, device, precision, temperature, views)

    def __call__(self, exam: Exam, tissue: bool = True) -> ExamAnswer:
        """Answer on `exam`, from the views that it has.

        Args:
            tissue: find the dense tissue of each view too.

        Raises:
            InputError: none of its views can be answered; the message names the reasons.
        """
        start = time.perf_counter()
        prepared: dict[View, PreparedBreast] = {}
        left_out = {view.name: "missing" for view in exam.missing}
        for view, path in exam.views.items():
            try:
                self._check_known(view)
                prepared[view] = prepare_view(path, self.task.input)
            except InputError as error:
                left_out[view.name] = str(error)
        if not prepared:
            causes = "; ".join(f"{name}: {cause}" for name, cause in left_out.items())
            raise InputError(f"exam '{exam.id}': no view can be answered ({causes})")
        read = time.perf_counter()
        inputs = np.stack([network_input(found, self.task.input) for found in prepared.values()])
        answers = softmax(self.logits(inputs, list(prepared)), self.temperature)
        answered = time.perf_counter()
        views = {
            view.name: ViewAnswer(
                view, exam.views[view], answer, found, dense_mask(found) if tissue else None
            )
            for (view, found), answer in zip(prepared.items(), answers, strict=True)
        }
        seconds = {
            "read": read - start,
            "infer": answered - read,
            "tissue": time.perf_counter() - answered,
        }
        return self._answer(exam, views, left_out, seconds)

    def logits(self, images: np.ndarray, views: list[View]) -> np.ndarray:
        """Return logits `(N, classes)`, float32, of prepared views.

        Args:
            images: float32 `(N, channels, rows, columns)`.
            views: of each image.
        """
        places = [self.task.classifier.network_of(view.name) for view in views]
        if None in places:
            raise ValueError(f"views {views} with none of {self.task.classifier.views}")
        batch, chosen = torch.from_numpy(images).to(self.device), torch.tensor(places)
        with self._lock, torch.inference_mode():
            return self._logits(batch, chosen.to(self.device)).cpu().numpy()

    def copy_network(self, view: View) -> nn.Module:
        """Return a copy of a view's network for gradients of its input, in evaluation mode."""
        place = self.task.classifier.network_of(view.name)
        if place is None or not isinstance(self.network, MultiViewClassifier):
            raise ValueError(f"no network of its own answers on {view.name}")
        with self._lock:
            network = copy.deepcopy(self.network.networks[place])
        return network.eval().requires_grad_(False)

    def _check_known(self, view: View) -> None:
        known = self.task.classifier.network_of(view.name) is not None
        if not known or (self.trained is not None and view.name not in self.trained):
            raise InputError(
                f"'{self.task.name}' was not trained on {view.name}, only on "
                f"{', '.join(self.trained or self.task.classifier.views)}"
            )

    def _answer(
        self,
        exam: Exam,
        views: dict[str, ViewAnswer],
        left_out: dict[str, str],
        seconds: dict[str, float],
    ) -> ExamAnswer:
        rules = self.task.exam_rules
        each = {name: answer.probabilities for name, answer in views.items()}
        combined = combine(
            rules, [answer.view for answer in views.values()], np.stack(list(each.values()))
        )
        doubts = {
            name: "; ".join(answer.prepared.doubts)
            for name, answer in views.items()
            if answer.prepared.doubts
        }
        return ExamAnswer(
            exam.id,
            rules.names,
            combined.exam,
            combined.breasts,
            views,
            left_out,
            reasons_to_doubt(rules, combined.exam, each, doubts),
            rules.least_confidence,
            self.temperature,
            seconds,
        )


def _trained_input(spec: InputSpec, trained: Mapping[str, Any]) -> InputSpec:
    """Return `spec` with the size and greys of the row as it was trained."""
    known = trained.get("input", {})
    size, channels = known.get("size", spec.size), known.get("channels", spec.channels)
    return replace(
        spec, size=size if isinstance(size, int) else tuple(size), channels=tuple(channels)
    )
