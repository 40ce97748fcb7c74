"""The app's options, `--conf KEY VALUE` of `monailabel start_server`: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.data.reader_choice import LATEST, read_readers
from lib.errors import InputError, choose, parse_switch
from lib.tasks.registry import TASKS, get_task

APP_FOLDER = Path(__file__).resolve().parent
SHIPPED_MODELS = APP_FOLDER / "model"
DEFAULT_MODELS = ("nuclei", "nuclei_click", "nuclei_vhllrhe")


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


def _read_scoring(value: str) -> str:
    """Read on, off or auto."""
    if value.strip().lower() == "auto":
        return "auto"
    return "on" if parse_switch(value) else "off"


@dataclass(frozen=True)
class Option:
    """One option: how it is read and what it does."""

    read: Callable[[str], Any]
    help: str


OPTIONS: dict[str, Option] = {
    "models": Option(parse_models, "tasks to serve, separated by commas, or 'all'"),
    "model_dir": Option(Path, "folder for trained weights and their versions"),
    "device": Option(str, "auto, cpu, cuda or cuda:N, for requests that name none"),
    "precision": Option(str, "auto, fp32, bf16 or fp16"),
    "archive_cache": Option(Path, "folder for files downloaded from a DICOMweb archive"),
    "archive_cache_gb": Option(
        parse_size, "size of that folder in GB, without what a training uses"
    ),
    "users": Option(Path, "file of users (`python -m monailabel_app user`), who must log in then"),
    "auto_train": Option(parse_count, "train after this many new accepted labels; 0 never does"),
    "auto_train_models": Option(_names, "tasks to train so; by default all that have weights"),
    "auto_train_epochs": Option(
        parse_count, "epochs of such a training; 0 is that of the Train button"
    ),
    "flips": Option(parse_switch, "average answers over mirrored copies: slower, a little better"),
    "readers": Option(
        read_readers, "labels of several readers to train on: latest, consensus or each"
    ),
    "scoring": Option(_read_scoring, "score images in the background: on, off or auto"),
}


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """The options of a running app; see `OPTIONS` for their meaning."""

    models: tuple[str, ...] = DEFAULT_MODELS
    model_dir: Path = SHIPPED_MODELS
    device: str = "auto"
    precision: str = "auto"
    flips: bool = False
    archive_cache: Path = Path.home() / ".cache" / "monailabel" / "archive"
    archive_cache_gb: float = 20.0
    users: Path | None = None
    readers: str = LATEST
    scoring: str = "auto"
    auto_train: int = 0
    auto_train_models: tuple[str, ...] = ()
    auto_train_epochs: int = 0

    @classmethod
    def from_conf(cls, conf: Mapping[str, str]) -> AppConfig:
        """Read the `--conf` pairs.

        Raises:
            InputError: an unknown key or a value that does not fit; the message names it.
        """
        values: dict[str, Any] = {}
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
