"""`user`: who may use the server."""

from __future__ import annotations

from pathlib import Path

import click

from monailabel_app.cli import options
from monailabel_app.web.users import ROLES, Users


@click.command()
@click.argument("name")
@click.option("--file", "path", type=options.FILE, required=True, help="File of users.")
@click.option("--role", type=click.Choice(list(ROLES)), default="annotator", show_default=True)
@click.option("--password", help="Asked for where it is not given.")
@click.option("--token", is_flag=True, help="Print a token that never ends, for scripts.")
@click.option("--remove", is_flag=True, help="Remove the user.")
def user(name: str, path: Path, role: str, password: str | None, token: bool, remove: bool) -> None:
    """Add the user NAME to a file of users, or change or remove them.

    Start the server with `--conf users FILE`; one that runs takes the file at its next start.
    """
    from lib.errors import choose

    users = Users.read(path) if path.exists() else Users.empty()
    if remove:
        choose("user", name, users.rows)
        del users.rows[name]
        users.write(path)
        click.echo(f"{name} removed from {path}")
        return
    secret = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    users.set(name, role, secret)
    made = users.new_token(name) if token else ""
    users.write(path)
    click.echo(f"{name} is {role} in {path}")
    if made:
        click.echo(made)


COMMANDS = {"user": user}
