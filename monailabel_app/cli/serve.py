"""`serve`: `monailabel start_server` with this app, and what to try once it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from lib.errors import InputError
from lib.processes import end, require_free, wait_until_answers
from monailabel_app.cli import options
from monailabel_app.config import APP_FOLDER, OPTIONS, AppConfig

READY_SECONDS = 120
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


@click.command()
@options.of(ServeOptions)
def serve(chosen: ServeOptions) -> None:
    """Start the MONAI Label server on a studies folder; stop it with Ctrl-C."""
    server = Server(
        studies=str(chosen.studies),
        models=chosen.models,
        host=chosen.host,
        port=chosen.port,
        conf=dict(chosen.conf),
        verbose=chosen.verbose,
    )
    server.run(ready=lambda: _say_what_to_try(server.address, chosen.studies))


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

    def _command(self) -> list[str]:
        """Return the words that start the server."""
        return [
            *(sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP_FOLDER)),
            *("--studies", self.studies, "--host", self.host, "--port", str(self.port)),
            *("--conf", "model_dir", str(self.models.resolve())),
            *(word for pair in self.conf.items() for word in ("--conf", *pair)),
            *(() if self.verbose else ("--verbose", "WARNING", "--log_level", "warning")),
        ]


def _say_what_to_try(address: str, studies: Path) -> None:
    """Print the address of the server, and what a user may do with it."""
    from lib.data.studies import list_items

    options.say_passed_over(studies)
    try:
        items = list_items(studies)
        example = next((item.id for item in items if item.label is None), items[0].id)
    except InputError:
        example = "IMAGE"
    click.echo(
        f"""
MONAI Label is ready at {address}  (Ctrl-C stops it)

Three things to try:
  1. Segment an image (a numbered label image comes back):
       curl -s -X POST "{address}/infer/nuclei?image={example}&output=image" -o label.png
  2. Annotate in 3D Slicer: module MONAI Label, server {address}, then Next Sample,
     Run, correct, Submit Label.
  3. Train on the labels, watch, and see what was published:
       curl -s -X POST {address}/train/nuclei -H 'Content-Type: application/json' \\
            -d '{{"max_epochs": 5}}'
       curl -s {address}/train/
       curl -s {address}/model/info/nuclei
All requests: {address}/
"""
    )
