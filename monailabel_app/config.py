"""The app's options, `--conf KEY VALUE` of `monailabel start_server`: one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.data.reader_choice import LATEST, read_readers
from lib.errors import InputError, choose, parse_switch
from lib.files import write_atomically
from lib.tasks import outside
from lib.tasks.registry import TASKS, get_task
from lib.tasks.training_spec import COMPILE, Compile
from lib.weights.backend_names import check_backend, default_backend
from lib.weights.store import SHIPPED_PREFIX
from monailabel_app.addresses import Origin, read_hosts, read_origins

APP_FOLDER = Path(__file__).resolve().parent
SHIPPED_MODELS = APP_FOLDER / "model"
_CLONE = (APP_FOLDER.parent / "pyproject.toml").is_file()
_DATA = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "unetvnet"
# an installed package is left as it is: what is made later has a folder of the user's
MODEL_DIR = SHIPPED_MODELS if _CLONE else _DATA / "models"
_MAIN = """\
# written by `unetvnet app-path`: where MONAI Label finds the installed app
import sys

sys.path.insert(0, {root!r})

from monailabel_app.app import App

__all__ = ["App"]
"""


def app_folder(clone: bool = _CLONE, data: Path = _DATA) -> Path:
    """Return the folder that MONAI Label loads the app from, and writes its logs into.

    Args:
        clone: whether the app lies in its repository; else the folder is made in `data`.
    """
    if clone:
        return APP_FOLDER
    folder = data / "app"
    folder.mkdir(parents=True, exist_ok=True)
    content = _MAIN.format(root=str(APP_FOLDER.parent)).encode()
    write_atomically(folder / "main.py", lambda file: file.write(content))
    return folder


def shipped_models(folder: Path = SHIPPED_MODELS) -> tuple[str, ...]:
    """Return the tasks whose weights ship, as the folder holds them; those for nuclei first."""
    names = (name for name in TASKS if (folder / f"{SHIPPED_PREFIX}{name}.pt").is_file())
    return tuple(sorted(names, key=lambda name: (not name.startswith("nuclei"), name)))


DEFAULT_MODELS = shipped_models() or ("nuclei", "nuclei_click", "nuclei_vhllrhe")


def parse_models(value: str) -> tuple[str, ...]:
    """Read names of tasks, as in "a,b", or "all"; empty means the default ones."""
    if value.strip() == "all":
        return tuple(TASKS)
    return _names(value) or DEFAULT_MODELS


def _names(value: str) -> tuple[str, ...]:
    """Read names of tasks, as in "a,b"."""
    return tuple(get_task(name.strip()).name for name in value.split(",") if name.strip())


def parse_count(value: object) -> int:
    """Read a whole number from 0 on.

    Raises:
        InputError: the value is no such number.
    """
    if not str(value).strip().isdecimal():
        raise InputError(f"expected a whole number from 0 on, found '{value}'")
    return int(str(value))


def parse_size(value: object) -> float:
    """Read a size above 0.

    Raises:
        InputError: the value is no such number.
    """
    try:
        size = float(str(value))
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise InputError(f"expected a number above 0, found '{value}'")
    return size


def _read_files(value: str) -> tuple[Path, ...]:
    """Read paths, as in "a.yaml,b.py"."""
    return tuple(Path(name.strip()) for name in value.split(",") if name.strip())


def load_own_tasks(conf: Mapping[str, str]) -> tuple[str, ...]:
    """Load the tasks from outside, those of `--conf tasks` too, and return their names.

    Raises:
        InputError: see `lib.tasks.outside.load`.
    """
    outside.load_given()
    outside.load(_read_files(conf.get("tasks", "")))
    return outside.names()


def _read_scoring(value: str) -> str:
    """Read on, off or auto."""
    if value.strip().lower() == "auto":
        return "auto"
    return "on" if parse_switch(value) else "off"


def _read_compile(value: str) -> Compile:
    """Read on, off or auto."""
    return choose("choice", value.strip().lower(), COMPILE)


def _read_backend(value: str) -> str:
    """Read the name of a backend."""
    return check_backend(value.strip().lower())


def _read_queue(value: str) -> int:
    """Read a whole number from 1 on."""
    return max(1, parse_count(value))


@dataclass(frozen=True)
class Option:
    """One option: how it is read and what it does."""

    read: Callable[[str], Any]
    help: str


OPTIONS: dict[str, Option] = {
    "tasks": Option(
        _read_files, "files of own tasks, separated by commas: YAML, or Python, which is run"
    ),
    "models": Option(parse_models, "tasks to serve, separated by commas, or 'all'"),
    "model_dir": Option(Path, "folder for trained weights and their versions"),
    "any_modality": Option(
        parse_switch, "let models answer images of any modality and dimensions, and learn from them"
    ),
    "device": Option(str, "auto, cpu, cuda or cuda:N, for requests that name none"),
    "precision": Option(str, "auto, fp32, bf16 or fp16"),
    "compile": Option(
        _read_compile,
        "compile networks that are trained on a GPU: on, off, or auto for long trainings",
    ),
    "backend": Option(
        _read_backend, "what computes on CPUs: auto (OpenVINO where installed), torch or openvino"
    ),
    "archive_cache": Option(Path, "folder for files downloaded from a DICOMweb archive"),
    "archive_cache_gb": Option(
        parse_size, "size of that folder in GB, without what a training uses"
    ),
    "archive_seconds": Option(
        parse_size, "seconds without a byte after which an archive counts as silent"
    ),
    "users": Option(Path, "file of users (`python -m monailabel_app user`), who must log in then"),
    "audit_log": Option(
        Path, "file to which changes of labels and models are written; audit.jsonl in model_dir"
    ),
    "hosts": Option(
        read_hosts,
        "names by which the server may be asked, separated by commas, beside localhost, this "
        "machine's own and addresses; '*' admits any",
    ),
    "origins": Option(
        read_origins, "other sites whose pages may use the server, such as https://viewer.example"
    ),
    "max_upload_gb": Option(parse_size, "size in GB of the files that one request may send"),
    "auto_train": Option(parse_count, "train after this many new accepted labels; 0 never does"),
    "auto_train_models": Option(_names, "tasks to train so; by default all that have weights"),
    "auto_train_epochs": Option(
        parse_count, "epochs of such a training; 0 is that of the Train button"
    ),
    "flips": Option(parse_switch, "average answers over mirrored copies: slower, a little better"),
    "readers": Option(
        read_readers, "labels of several readers to train on: latest, consensus or each"
    ),
    "results_mb": Option(parse_size, "size of the files of answers under /results in MB"),
    "results_minutes": Option(parse_size, "how long such files are kept"),
    "queue": Option(
        _read_queue, "answers that one client may wait for at once; more are refused with 429"
    ),
    "scoring": Option(_read_scoring, "score images in the background: on, off or auto"),
}


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """The options of a running app; see `OPTIONS` for their meaning."""

    tasks: tuple[Path, ...] = ()
    models: tuple[str, ...] = DEFAULT_MODELS
    model_dir: Path = MODEL_DIR
    any_modality: bool = False
    device: str = "auto"
    precision: str = "auto"
    compile: Compile = "auto"
    backend: str = field(default_factory=lambda: check_backend(default_backend()))
    flips: bool = False
    archive_cache: Path = Path.home() / ".cache" / "monailabel" / "archive"
    archive_cache_gb: float = 20.0
    archive_seconds: float = 8.0
    users: Path | None = None
    audit_log: Path | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[Origin] = frozenset()
    max_upload_gb: float = 4.0
    readers: str = LATEST
    results_mb: float = 1000.0
    results_minutes: float = 60.0
    scoring: str = "auto"
    queue: int = 128
    auto_train: int = 0
    auto_train_models: tuple[str, ...] = ()
    auto_train_epochs: int = 0

    @classmethod
    def from_conf(cls, conf: Mapping[str, str]) -> AppConfig:
        """Read the `--conf` pairs, and load the tasks from outside, which are served by default.

        Raises:
            InputError: an unknown key or a value that does not fit; the message names it.
        """
        own = load_own_tasks(conf)  # before names of tasks are read
        values: dict[str, Any] = {"models": (*DEFAULT_MODELS, *own)}
        for key, value in conf.items():
            option = choose("option --conf", key, OPTIONS)
            try:
                values[key] = option.read(value)
            except InputError as error:
                raise InputError(f"--conf {key} {value}: {error}") from None
        config = cls(**values)
        for name in config.auto_train_models:
            if name not in config.models:
                raise InputError(
                    f"--conf auto_train_models {','.join(config.auto_train_models)}: '{name}' is "
                    f"not served; add it to --conf models, now {','.join(config.models)}"
                )
        return config
