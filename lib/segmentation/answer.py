"""The label image of a prediction, and what its values are called: the same for every viewer.

3D Slicer shows the i-th name of an answer as value i and nothing else, so the values of an answer
are exactly those that it names.
"""

from __future__ import annotations

import numpy as np

from lib.errors import InputError
from lib.segmentation.instances import with_gaps
from lib.segmentation.predictor import Prediction
from lib.tasks.spec import TaskSpec

MASK, INSTANCES = "mask", "instances"
MAX_NAMED = 65_535  # objects that an answer names one by one


def label_image(prediction: Prediction, result: str, over_time: bool = False) -> np.ndarray:
    """Return the label image of a prediction, integers `(*spatial)`, 0 is background.

    Args:
        result: `MASK` for values of the task's labels, in which a gap of a pixel parts objects that
            touch; `INSTANCES` for objects numbered from 1, where the task separates them.
        over_time: whether the first of three axes is time.
    """
    objects = prediction.instances
    if objects is None:
        return prediction.mask
    if result == INSTANCES:
        return objects
    return np.where(with_gaps(objects, over_time) > 0, prediction.mask, np.uint8(0))


def label_names(task: TaskSpec, prediction: Prediction, result: str) -> dict[str, int]:
    """Return the value of each name in the label image, values in rising order.

    Raises:
        InputError: there are too many objects to name.
    """
    if result != INSTANCES or prediction.instances is None:
        return dict(sorted(task.labels.items(), key=lambda item: item[1]))
    (name,) = task.labels
    count = int(prediction.instances.max(initial=0))
    if count > MAX_NAMED:
        raise InputError(
            f"{count} objects were found, expected at most {MAX_NAMED} where each is to be a "
            f"segment; ask for result '{MASK}', or crop the image"
        )
    return {f"{name} {number}": number for number in range(1, count + 1)}
