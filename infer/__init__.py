"""MONAI Label InferTasks: a thin skin over `lib.inference` and `lib.classification`."""

from infer.classification import ClassificationInfer
from infer.clicks import ClickInfer
from infer.segmentation import SegmentationInfer
from infer.shelf import ResultShelf

__all__ = ["ClassificationInfer", "ClickInfer", "ResultShelf", "SegmentationInfer"]
