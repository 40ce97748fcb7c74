"""What the server tests share: a real server process, and weights whose answer is known."""

from __future__ import annotations

import http.client
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import requests
import SimpleITK as sitk
import torch
import warm
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from warm import WarmProcess

from lib.networks import build_network
from lib.processes import end, free_port, wait_until_answers
from lib.tasks.registry import get_task
from lib.weights.checkpoint import Checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
MODEL = "nuclei_vhllrhe"
UNTRAINED = "nuclei_vcr"
# of patience with a busy machine; on a quiet one both take a tenth of it
START_SECONDS = 300
TRAINING_SECONDS = 300
# small enough that a training step takes a moment
QUICK = {"train_batch_size": 2, "patch_size": 32, "max_epochs": 1}


class Server:
    """`monailabel start_server` in a process of its own, on a free port, in temporary folders."""

    def __init__(self, folder: Path, models: str = MODEL, **conf: str) -> None:
        self.folder = folder
        self.studies, self.model_dir = folder / "studies", folder / "models"
        self.home, self.temporary = folder / "home", folder / "tmp"
        for path in (self.studies, self.model_dir, self.home, self.temporary):
            path.mkdir(parents=True, exist_ok=True)
        paths = {"models": models, "model_dir": str(self.model_dir)}
        self.conf = {**paths, "scoring": "off", **conf}
        self.cold = warm.COLD  # whether to start as users do, and not from a process with libraries
        self.log_file = folder / "server.log"
        self.process: subprocess.Popen[bytes] | WarmProcess | None = None
        self.port = 0
        self.environment: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live_file(self) -> Path:
        return self.model_dir / f"{MODEL}.pt"

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def start(self) -> Server:
        self.port = free_port()
        words = ["start_server", "--app", "monailabel_app", "--studies", str(self.studies)]
        words += ["--host", "127.0.0.1", "--port", str(self.port)]
        for key, value in self.conf.items():
            words += ["--conf", key, value]
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MONAI_LABEL_")},
            # `monailabel` is a shell script that runs the first `python` it finds
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "MONAI_LABEL_SESSION_PATH": str(self.home / "sessions"),
            **self.environment,
        }
        if self.cold:
            program = Path(sys.executable).with_name("monailabel")
            with open(self.log_file, "ab") as log:
                self.process = subprocess.Popen(
                    [program, *words], cwd=ROOT, env=environment, stdout=log, stderr=log
                )
        else:
            self.process = warm.start_server(words, self.log_file, ROOT, environment)
        if wait_until_answers(self.process, f"{self.url}/info/", START_SECONDS):
            return self
        self.kill()
        raise AssertionError(f"no answer in {START_SECONDS} s, or ended:\n{self.log[-3000:]}")

    def stop(self) -> None:
        """End the server as Ctrl-C does, then make sure of it."""
        if self.process is not None:
            end(self.process)

    def kill(self) -> None:
        """End the server as a power cut does: kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    # --- requests --------------------------------------------------------------------------------

    def request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        arguments = {"timeout": 300, "headers": self.headers, **arguments}
        return requests.request(method, self.url + path, **arguments)

    def get(self, path: str, **arguments: Any) -> requests.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> requests.Response:
        return self.request("POST", path, **arguments)

    def put(self, path: str, **arguments: Any) -> requests.Response:
        return self.request("PUT", path, **arguments)

    def delete(self, path: str, **arguments: Any) -> requests.Response:
        return self.request("DELETE", path, **arguments)

    def raw(self, method: str, target: str) -> tuple[int, bytes]:
        """Send `target` as it is: `requests` would tidy up `..` and percent signs."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, target)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def infer(self, image: str, params: str = "{}", **query: str) -> requests.Response:
        """Ask for the label image of `image`, an id."""
        query = {"image": image, "output": "image", **query}
        return self.post(f"/infer/{MODEL}", params=query, data={"params": params})

    def save_label(self, image: str, file: Path, tag: str = "final") -> requests.Response:
        with open(file, "rb") as content:
            return self.put(
                "/datastore/label",
                params={"image": image, "tag": tag},
                files={"label": (file.name, content)},
            )

    def add_image(self, file: Path, image: str | None = None) -> requests.Response:
        with open(file, "rb") as content:
            return self.put(
                "/datastore/image",
                params={"image": image} if image else {},
                files={"file": (file.name, content)},
            )

    def images(self) -> dict[str, Any]:
        return self.get("/datastore/", params={"output": "all"}).json()["objects"]

    def wait_for(self, happened: Callable[[], Any], what: str, seconds: float = 300) -> None:
        """Wait until `happened` is true; `what` names it where it never is."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not come in {seconds} s\n{self.log[-3000:]}")
            time.sleep(0.1)

    def wait_for_image(self, image: str) -> None:
        """Wait until the server has noticed a file that was put into the studies folder."""
        self.wait_for(lambda: image in self.images(), image)

    def training(self) -> dict[str, Any]:
        """Return the last training task."""
        return self.get("/train/").json()

    def wait_for_training(self, *states: str) -> dict[str, Any]:
        """Wait until the last training task has one of `states`, and return it."""
        self.wait_for(
            lambda: self.training()["status"] in states, f"training {states}", TRAINING_SECONDS
        )
        return self.training()

    def train_stats(self) -> dict[str, Any]:
        return self.get("/info/").json()["train_stats"][MODEL]


def threshold_weights(
    file: Path, threshold: float = 0.5, slope: float = 8.0, task: str = MODEL
) -> Path:
    """Write weights with which the network calls pixels above `threshold` (of 0..1) foreground.

    Everything is zero but one path from the input through the finest skip connection to the output.
    """
    spec = get_task(task)
    network = build_network(spec.network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.encoder[0].projection.weight[0, 0] = 1
        network.decoder[-1].projection.weight[0, 0] = 1
        network.output.weight[0, 0] = slope
        network.output.bias[0] = -slope * threshold
    return save_checkpoint(
        file, Checkpoint(task=task, spec=spec.as_dict(), weights=dict(network.state_dict()))
    )


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files, of a server that works: `Path.rglob` fails where a folder goes meanwhile."""
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place, name)


def discs(rows: int, columns: int, spacing: int = 24, radius: int = 7) -> np.ndarray:
    """Draw a grid of bright discs on black, uint8, for which the known weights are exact."""
    y, x = np.mgrid[:rows, :columns]
    inside = (y % spacing - spacing // 2) ** 2 + (x % spacing - spacing // 2) ** 2 <= radius**2
    whole = (y // spacing < rows // spacing) & (x // spacing < columns // spacing)
    return np.where(inside & whole, 220, 10).astype(np.uint8)


def read_itk(content: bytes, suffix: str) -> sitk.Image:
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        return sitk.ReadImage(file.name)


def read_png(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def write_dicom(file: Path, pixels: np.ndarray, **tags: object) -> Path:
    """Write grey `([frames,] rows, columns)` as DICOM; of modality US unless the tags differ."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data.Modality, data.PatientID = "US", "phantom"
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.PixelData = pixels.tobytes()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file


def write_png(file: Path, pixels: np.ndarray) -> Path:
    """Write a PNG as a careful program does: under another name, then moved into place."""
    hidden = file.with_name(f".{file.name}.new")
    Image.fromarray(pixels).save(hidden, format="PNG")
    return hidden.replace(file)


def assert_refused(response: requests.Response, status: int, *words: str) -> None:
    """Check for an error that a user can act on: its status, and `words` in its one-line reason."""
    assert response.status_code == status, response.text
    detail = response.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail, detail
    for word in words:
        assert word.lower() in detail.lower(), detail
