"""MONAI Label's batch: answers on many images of the server, which can be resumed and exported."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask

from infer.base import ModelInfer, channel_of, diameter_of
from lib.errors import InputError
from lib.exports.formats import read_names
from lib.tasks.fits import MisfitError
from monailabel_app.batch import (
    ORIGINAL,
    is_answered,
    is_of_channel,
    is_of_diameter,
    result_of,
)
from monailabel_app.batch_exports import BatchExports

logger = logging.getLogger(__name__)


class ResumableBatch(BatchInferTask):
    """MONAI Label's batch, without the images that are answered already.

    MONAI Label's own (0.8.5) ends at the first image that cannot be read; this one names it in the
    result and goes on.

    With ``exports`` in the request, as of a single one, all images are answered again, and what is
    asked for is written of all, see `BatchExports`.

    Args:
        model: returns the infer task of a name.
        models: folder of models, where exports are written.
    """

    def __init__(self, model: Callable[[str], InferTask], models: Path) -> None:
        self.model, self.exports = model, BatchExports(models)

    def get_images(self, request: dict[str, Any], datastore: Datastore) -> list[str]:
        """Return the ids of the images to answer on."""
        images: list[str] = super().get_images(request, datastore)
        name = str(request["model"])
        tag = str(request.get("label_tag") or ORIGINAL)
        task = self.model(name)
        if not isinstance(task, ModelInfer) or read_names(request.get("exports")):
            return images
        answer = name, task.version(), result_of(task, request.get("result"))
        channel, told = channel_of(request), diameter_of(task, request)
        return [
            id
            for id in images
            if not is_answered(datastore, id, tag, *answer)
            or not is_of_channel(datastore, id, tag, channel)
            or not is_of_diameter(datastore, id, tag, told)
        ]

    def __call__(
        self,
        request: dict[str, Any],
        datastore: Datastore,
        infer: Callable[[dict[str, Any], Datastore], dict[str, Any]],
    ) -> dict[str, Any]:
        """Answer; the result has an entry per image.

        Where there is no answer it has ``error``, or ``passed_over`` for an image of a modality
        that the model is not for.
        """
        asked = read_names(request.get("exports"))
        with self.exports.written(str(request["model"]), asked) as exporter:

            def answer(request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
                own = {"exports": None, "exporter": exporter if asked else None}
                return self._answer({**request, **own}, datastore, infer)

            # MONAI Label's own default becomes the tag "DefaultLabelTag.ORIGINAL" from Python 3.11
            request = {**request, "label_tag": str(request.get("label_tag") or ORIGINAL)}
            result: dict[str, Any] = super().__call__(request, datastore, answer)
        if count := sum("passed_over" in (one or ()) for one in result.values()):
            logger.info(
                f"{count} of {len(result)} images are passed over: the model is not for them"
            )
        return result

    def _answer(
        self,
        request: dict[str, Any],
        datastore: Datastore,
        infer: Callable[[dict[str, Any], Datastore], dict[str, Any]],
    ) -> dict[str, Any]:
        """Return an answer, or why there is none."""
        try:
            return infer(request, datastore)
        except MisfitError as error:
            return {"passed_over": str(error)}
        except InputError as error:
            logger.warning(f"Image '{request['image']}' is skipped: {error}")
            return {"error": str(error)}
