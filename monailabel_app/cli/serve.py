"""`serve`: `monailabel start_server` with this app, and what to try once it answers."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click

from lib.errors import InputError
from lib.processes import end, require_free, wait_until_answers
from monailabel_app.cli import options
from monailabel_app.config import (
    DEFAULT_MODELS,
    MODEL_DIR,
    OPTIONS,
    AppConfig,
    app_folder,
    load_own_tasks,
)
from monailabel_app.start import check_models, check_studies

READY_SECONDS = 120
# one to begin with for each kind of study
EACH_KIND = (
    *("busi_lesion", "busi_click", "nerve_cine", "ultrasound3d_vnet", "volume_vnet"),
    *("density_dense", "density_birads"),
)
VIEWER = "ohif/"
# MONAI Label (0.8.5) logs its settings, a line each, before it knows how much is to be logged
_QUIETLY = (
    "import logging; logging.disable(logging.INFO); from monailabel.main import Main; Main().run()"
)
_MADE_BY_MONAI_LABEL = ("model", "lib", "logs", "bin")  # inside the folder of the app
_CONF_HELP = "; ".join(f"{name}: {option.help}" for name, option in OPTIONS.items())


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What `serve` is asked for."""

    studies: Path = options.studies()
    models: Path = options.models()
    host: str = options.option("--host", default="127.0.0.1")
    port: int = options.port()
    conf: tuple[tuple[str, str], ...] = options.conf(help=_CONF_HELP)
    verbose: bool = options.verbose()
    browser: bool = options.option(
        "--browser/--no-browser",
        default=None,
        help="Open OHIF in the web browser; by default where there is a display.",
    )


@click.command()
@options.of(ServeOptions)
def serve(chosen: ServeOptions) -> None:
    """Start the MONAI Label server on a studies folder; stop it with Ctrl-C."""
    own = load_own_tasks(dict(chosen.conf))
    server = Server(
        studies=str(chosen.studies),
        models=chosen.models,
        host=chosen.host,
        port=chosen.port,
        conf={
            "models": ",".join(dict.fromkeys((*DEFAULT_MODELS, *EACH_KIND, *own))),
            **dict(chosen.conf),
        },
        verbose=chosen.verbose,
    )

    def ready() -> None:
        _say_what_to_try(server.address, chosen.studies, chosen.models)
        if has_display() if chosen.browser is None else chosen.browser:
            open_viewer(server)

    server.run(ready)


def has_display() -> bool:
    """Tell whether a web browser has a screen to open on; else one of text would take this one."""
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return "SSH_CONNECTION" not in os.environ


def open_viewer(server: Server) -> None:
    """Open OHIF in the user's web browser; a machine without one goes on without."""
    host = server.host if server.host not in ("0.0.0.0", "::", "") else "127.0.0.1"
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(f"http://{host}:{server.port}/{VIEWER}")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A MONAI Label server with this app, in a process of its own.

    Attributes:
        studies: a folder, or the address of an archive.
        models: folder of the served weights.
        conf: options of the app.
        verbose: whether to show the log of the server.
        environment: settings of MONAI Label, beside those of this process.
    """

    studies: str
    models: Path
    host: str
    port: int
    conf: Mapping[str, str]
    verbose: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"http://{self.host}:{self.port}"

    def run(self, ready: Callable[[], None]) -> None:
        """Run `monailabel start_server` until it ends or is interrupted.

        Args:
            ready: called once the server answers.

        Raises:
            InputError: it cannot start, or ended with an error.
        """
        self._check_folders()
        AppConfig.from_conf(dict(self.conf))  # refuses bad options before the slow start-up
        require_free(self.host, self.port)
        click.echo(f"Starting the server on {self.studies} ...")
        quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}  # no calls home
        process = subprocess.Popen(
            self._command(),
            stdout=None if self.verbose else subprocess.DEVNULL,
            start_new_session=True,
            env={**quiet, **os.environ, **self.environment},
        )
        try:
            for name in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(name, lambda number, frame: sys.exit(0))
            url = f"{self.address}/info/"
            if not wait_until_answers(process, url, READY_SECONDS):
                if process.poll() is not None:
                    raise InputError("the server could not start; the lines above say why")
                raise InputError(
                    f"no answer from {url} within {READY_SECONDS} s; run again with --verbose"
                )
            ready()
            process.wait()
        finally:
            end(process, group=True)
        if process.returncode:
            raise InputError(f"the server ended with status {process.returncode}; its log says why")

    def _check_folders(self) -> None:
        """Refuse folders that the server could not use, and make those that it makes unsafely."""
        if not self.studies.startswith(("http://", "https://")):
            if not Path(self.studies).exists():
                raise InputError(
                    f"studies folder '{self.studies}' does not exist; make it, or give another"
                )
            check_studies(Path(self.studies))
        check_models(self.models)
        app = app_folder()
        for name in _MADE_BY_MONAI_LABEL:  # two servers that start at once would fail there
            with suppress(OSError):
                (app / name).mkdir(exist_ok=True)

    def _command(self) -> list[str]:
        """Return the words that start the server."""
        return [
            *(sys.executable, *(("-m", "monailabel.main") if self.verbose else ("-c", _QUIETLY))),
            *("start_server", "--app", str(app_folder())),
            *("--studies", self.studies, "--host", self.host, "--port", str(self.port)),
            *("--conf", "model_dir", str(self.models.resolve())),
            *(word for pair in self._conf().items() for word in ("--conf", *pair)),
            *(() if self.verbose else ("--verbose", "WARNING", "--log_level", "warning")),
        ]

    def _conf(self) -> dict[str, str]:
        """Return the options of the app; the name that it listens to is one of its names."""
        own = "" if ":" in self.host else self.host  # addresses need not be named
        return {**self.conf, "hosts": f"{self.conf.get('hosts', '')},{own}"}


def _say_what_to_try(address: str, studies: Path, models: Path) -> None:
    """Print the address of the server, and what a user may do with it."""
    from lib.data.studies import list_items

    options.say_passed_over(studies)
    try:
        items = list_items(studies)
        example = next((item.id for item in items if item.label is None), items[0].id)
    except InputError:
        example = "IMAGE"
    where = "" if models == MODEL_DIR else f" --models {shlex.quote(str(models))}"
    click.echo(
        f"""
MONAI Label is ready at {address}  (Ctrl-C stops it)

Label, correct and train in the browser:  {address}/{VIEWER}

Or:
  - Segment an image (a numbered label image comes back):
       curl -s -X POST "{address}/infer/nuclei?image={example}&output=image" -o label.png
  - Annotate in 3D Slicer: module MONAI Label, server {address}, then Next Sample,
     Run, correct, Submit Label.
  - Train on the labels, watch, and see what was published:
       curl -s -X POST {address}/train/nuclei -H 'Content-Type: application/json' \\
            -d '{{"max_epochs": 5}}'
       curl -s {address}/train/
       curl -s {address}/model/info/nuclei
  - List what was trained, or serve an earlier version again:
       python -m monailabel_app models{where}
All requests: {address}/docs
"""
    )
