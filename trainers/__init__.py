"""MONAI Label TrainTasks: a thin skin over `lib.training.loop`."""

from lib.errors import choose
from lib.tasks.spec import TaskSpec
from trainers.base import LiveTrain
from trainers.classification import ClassificationTrain
from trainers.segmentation import SegmentationTrain

TRAINERS: dict[str, type[LiveTrain]] = {
    "segmentation": SegmentationTrain,
    "interactive": SegmentationTrain,
    "classification": ClassificationTrain,
}


def trainer_class(task: TaskSpec) -> type[LiveTrain]:
    """Return the class that trains `task` on the server."""
    return choose("kind", task.kind, TRAINERS)


__all__ = ["ClassificationTrain", "LiveTrain", "SegmentationTrain", "trainer_class"]
