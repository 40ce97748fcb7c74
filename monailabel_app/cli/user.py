"""`user`: who may use the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from monailabel_app.cli import options
from monailabel_app.web.users import ROLES, Users


@dataclass(frozen=True, kw_only=True)
class UserOptions:
    """What `user` is asked for."""

    name: str = options.argument("name")
    file: Path = options.option("--file", type=options.FILE, required=True, help="File of users.")
    role: str = options.option("--role", type=click.Choice(list(ROLES)), default="annotator")
    password: str | None = options.option("--password", help="Without this option it is asked for.")
    token: bool = options.flag("--token", help="Print a token that never expires, for scripts.")
    remove: bool = options.flag("--remove", help="Remove the user.")


@click.command()
@options.of(UserOptions)
def user(chosen: UserOptions) -> None:
    """Add the user NAME to a file of users, or change or remove them.

    Start the server with `--conf users FILE`; a running server reads the file at its next start.
    """
    from lib.errors import choose

    name, file = chosen.name, chosen.file
    users = Users.read(file) if file.exists() else Users.empty()
    if chosen.remove:
        choose("user", name, users.rows)
        del users.rows[name]
        users.write(file)
        click.echo(f"{name} removed from {file}")
        return
    password = chosen.password or click.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    users.set(name, chosen.role, password)
    token = users.new_token(name) if chosen.token else ""
    users.write(file)
    click.echo(f"{name} is {chosen.role} in {file}")
    if token:
        click.echo(token)
