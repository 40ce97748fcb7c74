"""Finished images, given out again: strategies over the images that have an accepted label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lib.errors import InputError
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from monailabel_app.active.leases import Leases
from monailabel_app.active.samples import Groups, Samples
from monailabel_app.studies.protocol import FINAL

Key = Callable[[Mapping[str, Any]], tuple[float, ...]]  # of the information on a label; least first


def _age(info: Mapping[str, Any]) -> float:
    return float(info.get("ts") or 0)


def _quality(info: Mapping[str, Any]) -> float:
    """Return the figure of the scoring method ``label_quality``; above 1 where there is none."""
    found = info.get("label_quality")
    return float(found.get("quality", 2)) if isinstance(found, Mapping) else 2.0


@dataclass(frozen=True)
class Reopening:
    """One way to choose a finished image.

    Attributes:
        description: one line for users.
        key: images whose labels have the least are given first.
    """

    description: str
    key: Key


REOPENING: dict[str, Reopening] = {
    "finished": Reopening(
        "a finished image again, the oldest label first", lambda info: (_age(info),)
    ),
    "review": Reopening(
        "a finished image again, the label that the model doubts most first",
        lambda info: (_quality(info), _age(info)),
    ),
}


class Reopened:
    """The finished samples, and which of them were given out again lately."""

    def __init__(self, samples: Samples, leases: Leases) -> None:
        self.samples, self.store, self.leases = samples, samples.store, leases

    def ranked(self, strategy: str, samples: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Return the ids of samples in the order of a strategy; what was given out comes last."""
        key, turns = REOPENING[strategy].key, self.leases.turns()

        def order(id: str) -> tuple[float, ...]:
            images = samples[id]
            turn = max(turns.get(image, 0) for image in images)
            return (turn, *key(self.info(images)))

        return tuple(sorted(sorted(samples), key=order))

    def finished(self, task: TaskSpec, asked: str = "") -> Groups:
        """Return the samples with an accepted label of a task; of their images the labelled first.

        Args:
            asked: id of the image to return alone; "" for all.

        Raises:
            NotFoundError: there is no such image.
            InputError: it has no such label, or cannot be read.
        """
        found = {
            id: tuple(sorted(own, key=lambda image: not self._is_labelled(image)))
            for id, own in self.samples.labelled(task).items()
            if (not asked or asked in own) and _content(self.info(own)) == kind_of(task).label
        }
        if asked and not found:
            self.store.require_image(asked)
            raise InputError(
                self.store.unreadable(task).get(asked)
                or f"image '{asked}' has no accepted label of '{task.name}' yet; label it first, "
                f"or name the model that its label is for"
            )
        return found

    def model_of(self, image: str, tasks: Mapping[str, TaskSpec]) -> str:
        """Return the first task for labels such as that of an image; "" if there is none."""
        if not image or not self._is_labelled(image):
            return ""
        content = _content(self.info((image,)))
        return next((name for name, task in tasks.items() if kind_of(task).label == content), "")

    def info(self, images: tuple[str, ...]) -> dict[str, Any]:
        """Return the information on the accepted label of the first image that has one."""
        labelled = (id for id in images if self._is_labelled(id))
        return next((self.store.get_label_info(id, FINAL) for id in labelled), {})

    def label_of(self, images: tuple[str, ...]) -> dict[str, Any]:
        """Return what is told of the label of a sample: ``label``, its file, and ``label_tag``."""
        return {"label": str(self.store.accepted_label(images) or ""), "label_tag": FINAL}

    def _is_labelled(self, image: str) -> bool:
        return bool(self.store.get_label_by_image_id(image, FINAL))


def _content(info: Mapping[str, Any]) -> str:
    """Return what a label holds by the information on it, as `TaskKind.label` names it."""
    return "density" if str(info.get("name", "")).lower().endswith(".json") else "mask"
