"""MONAI Label InferTasks: a thin skin over the predictors of `lib`."""

from infer.classification import ClassificationInfer
from infer.clicks import ClickInfer
from infer.result_files import ResultShelf
from infer.segmentation import SegmentationInfer

__all__ = ["ClassificationInfer", "ClickInfer", "ResultShelf", "SegmentationInfer"]
