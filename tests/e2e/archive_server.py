"""A server over an archive, with weights whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from archive import SILENT_SECONDS
from server_support import MODEL, Server, threshold_weights
from test_clients import slicer_library

from lib.io.read import read_image
from lib.segmentation.answer import INSTANCES, label_image
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import get_task
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.archive.orthanc import Orthanc


class ArchiveServer(Server):
    """`monailabel start_server` whose studies are an archive; it serves `MODEL` and `models`.

    `MODEL` is one for nuclei, which stands in for models of all kinds of images.
    """

    def __init__(self, folder: Path, orthanc: Orthanc, *models: str, **conf: str) -> None:
        super().__init__(
            folder,
            ",".join((MODEL, *models)),
            archive_cache=str(folder / "cache"),
            archive_seconds=str(SILENT_SECONDS),
            device="cpu",
            **{"any_modality": "true", **conf},
        )
        self.studies = orthanc.url  # type: ignore[assignment]
        self.orthanc = orthanc
        for user, password in list(orthanc.users.items())[:1]:
            self.environment = {
                "MONAI_LABEL_DATASTORE_USERNAME": user,
                "MONAI_LABEL_DATASTORE_PASSWORD": password,
            }
        threshold_weights(self.live_file)

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def client(self, name: str = "tester") -> Any:
        """3D Slicer's client library, connected."""
        # it saves an answer under the server's name of it: another folder, as on another machine
        folder = self.folder / "client"
        folder.mkdir(exist_ok=True)
        return slicer_library().MONAILabelClient(self.url, tmpdir=str(folder), client_id=name)


def expected_answer(server: ArchiveServer, file: Path, result: str = INSTANCES) -> np.ndarray:
    """What the live weights answer on a file: objects, numbered, or their mask."""
    task = get_task(MODEL)
    predictor = Predictor.from_checkpoint(task, load_checkpoint(server.live_file), "cpu", "auto")
    image = read_image(file, task.input.max_pixels, task.image_dims)
    answer = predictor(image, instances=True, flips=False)
    return label_image(answer, result, image.over_time)
