"""`serve`: `monailabel start_server` with this app, and what to try once it answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import click

from lib.errors import InputError
from monailabel_app.cli import options
from monailabel_app.config import APP_FOLDER, OPTIONS

READY_SECONDS = 120
_CONF_HELP = "; ".join(f"{name}: {option.help}" for name, option in OPTIONS.items())


@click.command()
@options.studies
@options.models
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--conf", nargs=2, multiple=True, metavar="KEY VALUE", help=_CONF_HELP)
@click.option("--verbose", is_flag=True, help="Show the server's log of every request.")
def serve(
    studies: Path,
    models: Path,
    host: str,
    port: int,
    conf: tuple[tuple[str, str], ...],
    verbose: bool,
) -> None:
    """Start the MONAI Label server on a studies folder; stop it with Ctrl-C."""
    run_server(
        str(studies),
        models,
        (host, port),
        conf,
        verbose,
        lambda: _say_what_to_try(host, port, studies),
    )


def run_server(
    studies: str,
    models: Path,
    address: tuple[str, int],
    conf: tuple[tuple[str, str], ...],
    verbose: bool,
    ready: Callable[[], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `monailabel start_server` until it ends or is interrupted.

    Args:
        studies: a folder, or the address of an archive.
        address: host and port.
        conf: options of the app.
        ready: called once it answers.
        environment: settings of MONAI Label, beside those of this process.

    Raises:
        InputError: it cannot start, or ended with an error.
    """
    host, port = address
    from monailabel_app.config import AppConfig

    AppConfig.from_conf(dict(conf))  # refuses what the server would refuse, without its start-up
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {host} cannot be used ({error.strerror}); choose another, as in "
                f"make run PORT={port + 1}"
            ) from None
    command = [
        *(sys.executable, "-m", "monailabel.main", "start_server", "--app", str(APP_FOLDER)),
        *("--studies", studies, "--host", host, "--port", str(port)),
        *("--conf", "model_dir", str(models.resolve())),
        *(word for pair in conf for word in ("--conf", *pair)),
        *(() if verbose else ("--verbose", "WARNING", "--log_level", "warning")),
    ]
    click.echo(f"Starting the server on {studies} ...")
    quiet = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}  # no calls home
    server = subprocess.Popen(
        command,
        stdout=None if verbose else subprocess.DEVNULL,
        start_new_session=True,
        env={**quiet, **os.environ, **(environment or {})},
    )
    try:
        for name in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, lambda number, frame: sys.exit(0))
        _wait(server, f"http://{host}:{port}/info/")
        ready()
        server.wait()
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
    if server.returncode:
        raise InputError(f"the server ended with status {server.returncode}; its log says why")


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise InputError("the server could not start; the lines above say why")
        try:
            with urlopen(url, timeout=2):
                return
        except HTTPError as error:
            if error.code == 401:  # it answers, and asks who is there
                return
            time.sleep(0.2)
        except (URLError, OSError):
            time.sleep(0.2)
    raise InputError(f"no answer from {url} within {READY_SECONDS} s; run again with --verbose")


def _say_what_to_try(host: str, port: int, studies: Path) -> None:
    from lib.data.studies import list_items

    address = f"http://{host}:{port}"
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


COMMANDS = {"serve": serve}
