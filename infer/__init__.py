"""MONAI Label InferTasks: a thin skin over `lib.inference` and `lib.classification`."""

from infer.classification import ClassificationInfer
from infer.segmentation import SegmentationInfer

__all__ = ["ClassificationInfer", "SegmentationInfer"]
