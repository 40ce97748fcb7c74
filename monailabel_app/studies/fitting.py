"""Models are not asked about images that they are not for, unless somebody wants that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask

from infer.base import ModelInfer, diameter_of, first
from lib.errors import parse_switch
from lib.io.facts import dicom_facts
from lib.tasks.fits import misfit, require_fit
from lib.tasks.image_kind import ImageKind
from monailabel_app.studies.protocol import StudiesProtocol

ANY_MODALITY = "any_modality"  # the switch of a request that wants it


def check_fit(
    model: InferTask,
    store: StudiesProtocol,
    image: str,
    file: Path,
    request: Mapping[str, Any],
) -> str:
    """Refuse an image of a modality that a model is not for, unless the request wants it.

    Args:
        image: its id; empty for an uploaded one.
        file: of the image.

    Returns:
        Why the image is none that the model is for, where it is answered all the same; else empty.

    Raises:
        MisfitError: it is refused.
        InputError: the request tells a diameter to a model that takes none.
    """
    diameter_of(model, request)
    if not isinstance(model, ModelInfer) or model.task.exam is not None:
        return ""  # what is no view of an exam is refused by those that answer exams
    modality = store.modality(image) if image else dicom_facts(file)[0]
    if parse_switch(first(request.get(ANY_MODALITY)), ANY_MODALITY):
        return misfit(model.task, ImageKind(modality))
    return require_fit(model.task, ImageKind(modality), f"{ANY_MODALITY}: true")
