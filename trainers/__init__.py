"""MONAI Label TrainTasks: a thin skin over `lib.training`."""

from trainers.segmentation import SegmentationTrain

__all__ = ["SegmentationTrain"]
