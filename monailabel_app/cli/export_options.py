"""The options of a verb for what is written beside label images, one for each form of answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError
from lib.exports.formats import EXPORTS, option_of
from lib.tasks.spec import TaskSpec


def exports() -> Any:
    """Return a field that takes the paths of `lib.exports.formats.EXPORTS`, by name.

    Each row has an option of its own.
    """

    def keep(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
        found = ctx.params.setdefault("exports", {})
        if path is not None:
            found[parameter.name] = path

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, row in reversed(EXPORTS.items()):
            command = click.option(
                option_of(name),
                name,
                type=click.Path(path_type=Path),
                callback=keep,
                expose_value=False,
                help=row.help,
            )(command)
        return command

    return dataclasses.field(metadata={"click": decorate})


def check_exports(exports: Mapping[str, Path], task: TaskSpec, one_image: bool) -> None:
    """Raise `InputError` for exports that `task` or their paths cannot have."""
    from lib.exports.targets import check_targets

    if exports and task.exam is not None:
        raise InputError(
            f"{option_of(next(iter(exports)))} is for segmentation; '{task.name}' answers on "
            f"exams, leave it away"
        )
    check_targets(exports, one_image)
