"""`app-path`: the folder that `monailabel start_server --app` takes."""

from __future__ import annotations

import click

from monailabel_app.config import app_folder


@click.command(name="app-path")
def app_path() -> None:
    """Print the folder of the app, for `monailabel start_server --app`."""
    click.echo(str(app_folder()))
