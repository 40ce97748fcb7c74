"""What a bundle of a task on mammograms is made of beside MONAI's own parts.

A bundle carries this module, and those that it imports, in its `scripts`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.engines import PrepareBatch
from monai.transforms import MapTransform
from torch import Tensor

from lib.classification.answer import combine
from lib.classification.calibration import class_probabilities
from lib.errors import InputError
from lib.mammography.breast import network_input, prepare_breast
from lib.mammography.greys import of_picture
from lib.mammography.views import View, view_of_name
from lib.networks.classifiers import MultiViewClassifier
from lib.tasks.exam_spec import ClassSpec, ExamSpec
from lib.tasks.image_spec import InputSpec
from lib.tasks.network_spec import ClassifierSpec


class ViewClassifier(MultiViewClassifier):
    """The network; without `views` all images are answered by the first of its networks."""

    def forward(self, x: Tensor, views: Tensor | None = None) -> Tensor:
        """Map images `(N, channels, rows, columns)` to logits `(N, classes)`."""
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return super().forward(x, first if views is None else views)


def network(**spec: Any) -> ViewClassifier:
    """Return the network for the fields of a `ClassifierSpec`, lists for tuples."""
    return ViewClassifier(ClassifierSpec(**_tuples(spec)))


def _tuples(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in spec.items()}


class PrepareViewd(MapTransform):
    """Make the network's input of pictures of mammograms, and tell their view and its network.

    They are as `LoadImaged` (with ``dtype`` null) and `EnsureChannelFirstd` return them,
    `(channels, x, y)`. Their file names tell the view, as ``EXAM_R-CC.png`` does. Added are
    ``network``, the index of the view's network, ``view`` and ``exam``.

    Args:
        network: fields of the `ClassifierSpec`.
        trained: names of the views that the weights were trained on; None means all.
        spec: fields of an `InputSpec`.
    """

    def __init__(
        self,
        keys: Any,
        network: Mapping[str, Any],
        trained: Sequence[str] | None = None,
        **spec: Any,
    ) -> None:
        super().__init__(keys)
        self.network, self.spec = ClassifierSpec(**_tuples(network)), InputSpec(**_tuples(spec))
        self.trained = None if trained is None else tuple(trained)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Prepare the pictures under the keys.

        Raises:
            InputError: the name tells no view that the weights were trained on.
        """
        done = dict(data)
        for key in self.key_iterator(done):
            loaded = done[key]
            path = Path(str(loaded.meta["filename_or_obj"]))
            named = view_of_name(path.stem)
            view = named.view if named else View()
            index = self.network.network_of(view.name)
            if index is None or (self.trained is not None and view.name not in self.trained):
                raise InputError(
                    f"{path.name}: no network was trained on this view, only on "
                    f"{', '.join(self.trained or self.network.views)}; name it as EXAM_R-CC.png"
                )
            values = np.ascontiguousarray(np.asarray(loaded).transpose(2, 1, 0))
            colour = values.shape[-1] > 1
            pixels = values[..., :3] if colour else values[..., 0]
            mammogram = of_picture(pixels, path, named, colour)
            prepared = prepare_breast(mammogram, self.spec.sides)
            done[key] = MetaTensor(network_input(prepared, self.spec), meta=dict(loaded.meta))
            done |= {"network": torch.tensor(index), "view": view.name}
            done["exam"] = named.exam if named else path.stem
        return done


class PrepareViews(PrepareBatch):
    """Give the network the images of a batch, and the index of the network of each."""

    def __call__(self, batchdata: Any, device: Any = None, non_blocking: bool = False, **_: Any):  # type: ignore[no-untyped-def]
        """Return images, no target, and the indices as a further argument."""
        images, chosen = (batchdata[name].to(device) for name in ("image", "network"))
        images = images.as_tensor() if isinstance(images, MetaTensor) else images
        return images, None, (torch.as_tensor(chosen),), {}


class ClassProbabilitiesd(MapTransform):
    """Make probabilities, float64 `(classes)`, of logits.

    Args:
        temperature: divisor of the logits.
    """

    def __init__(self, keys: Any, temperature: float = 1.0) -> None:
        super().__init__(keys)
        self.temperature = temperature

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Make probabilities of the logits under the keys."""
        done = dict(data)
        for key in self.key_iterator(done):
            logits = np.asarray(done[key].detach().cpu(), np.float32)[np.newaxis]
            done[key] = torch.from_numpy(class_probabilities(logits, self.temperature)[0])
        return done


class ExamAnswers:
    """Writes the probabilities of each view, and of each exam by the task's rule, as JSON.

    Args:
        file: to write, when all views are answered.
        exam: fields of an `ExamSpec`.
    """

    def __init__(self, file: str, exam: Mapping[str, Any]) -> None:
        classes = tuple(ClassSpec(**_tuples(one)) for one in exam["classes"])
        self.file, self.rules = Path(file), ExamSpec(**{**exam, "classes": classes})
        self.views: dict[str, dict[str, np.ndarray]] = {}

    def attach(self, engine: Engine) -> None:
        """Listen to an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _add(self, engine: Engine) -> None:
        answered: list[Any] = engine.state.output
        for batch, one in zip(engine.state.batch, answered, strict=True):
            views = self.views.setdefault(str(batch["exam"]), {})
            views[str(batch["view"])] = np.asarray(one["pred"])

    def _write(self, engine: Engine) -> None:
        answers = {exam: self._answer(views) for exam, views in self.views.items()}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(answers, indent=2), encoding="utf-8")

    def _answer(self, views: Mapping[str, np.ndarray]) -> dict[str, Any]:
        named = [view_of_name(f"exam_{name}") for name in views]
        known = [one.view if one else View() for one in named]
        exam = combine(self.rules, known, np.stack(list(views.values()))).exam
        by_name = {name: self._named(row) for name, row in views.items()}
        return {
            "class": self.rules.names[int(exam.argmax())],
            **self._named(exam),
            "views": by_name,
        }

    def _named(self, row: np.ndarray) -> dict[str, Any]:
        return {"probabilities": dict(zip(self.rules.names, row.tolist(), strict=True))}
