"""`user`: who may use the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from lib.errors import InputError, choose
from monailabel_app.cli import options
from monailabel_app.web.users import ROLES, TOKEN_DAYS, Token, Users


@dataclass(frozen=True, kw_only=True)
class UserOptions:
    """What `user` is asked for."""

    name: str | None = options.argument("name", required=False)
    file: Path = options.option("--file", type=options.FILE, required=True, help="File of users.")
    role: str | None = options.option(
        "--role", type=click.Choice(list(ROLES)), help="Of a new user: annotator without it."
    )
    password: str | None = options.option(
        "--password", help="Without this option it is asked for where it is needed."
    )
    token: bool = options.flag("--token", help="Print a new token, for scripts.")
    days: int = options.option(
        "--days", type=click.IntRange(1, 3650), default=TOKEN_DAYS, help="After which it ends."
    )
    revoke: str | None = options.option(
        "--revoke", metavar="ID", help="End a token; --list shows the ids."
    )
    remove: bool = options.flag("--remove", help="Remove the user, whose tokens end too.")
    list: bool = options.flag("--list", help="List the users, or NAME alone, with their tokens.")


@click.command()
@options.of(UserOptions)
def user(chosen: UserOptions) -> None:
    """Add the user NAME to a file of users, or change, list or remove them.

    Start the server with `--conf users FILE`; a running server sees each change within a second.
    A new password ends all tokens of the user.
    """
    if chosen.list:
        _list(Users.read(chosen.file), chosen.name)
        return
    if chosen.name is None:
        raise InputError("which user? give a NAME, or --list for all")
    with Users.changed(chosen.file) as users:
        done = _change(users, chosen, chosen.name)
    click.echo(done)


def _change(users: Users, chosen: UserOptions, name: str) -> str:
    """Change a user as asked for; return what to tell."""
    if chosen.remove:
        choose("user", name, users.rows)
        del users.rows[name]
        return f"{name} removed from {chosen.file}"
    if chosen.revoke:
        users.revoke(name, chosen.revoke)
        return f"token {chosen.revoke} of {name} ends"
    known = name in users.rows
    role = chosen.role or (users.access(name).role if known else "annotator")
    if chosen.password or not known or not (chosen.role or chosen.token):
        password = chosen.password or click.prompt(
            "Password", hide_input=True, confirmation_prompt=True
        )
        users.set(name, role, password)
    users.rows[name]["role"] = role
    told = f"{name} is {role} in {chosen.file}"
    return f"{told}\n{users.new_token(name, chosen.days)}" if chosen.token else told


def _list(users: Users, name: str | None) -> None:
    """Print users and what is known of their tokens."""
    for one in [name] if name else sorted(users.rows):
        tokens = users.tokens(one)
        click.echo(f"{one}  {users.access(one).role}")
        for token in tokens:
            click.echo(f"  token {token.id}  {_days(token)}")


def _days(token: Token) -> str:
    if token.made is None or token.expires is None:
        return "never ends; revoke it and make a new one"
    ends = "ended" if token.ended else "ends"
    return f"made {token.made:%Y-%m-%d}, {ends} {token.expires:%Y-%m-%d}"
