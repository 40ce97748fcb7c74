"""MONAI Label InferTasks: a thin skin over `lib.inference`."""

from infer.segmentation import SegmentationInfer

__all__ = ["SegmentationInfer"]
