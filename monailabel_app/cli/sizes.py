"""Options that make a segmentation task smaller: coarser images, a narrower network."""

from __future__ import annotations

from dataclasses import replace

import click

from lib.errors import InputError
from lib.tasks.spec import TaskSpec

longest_side = click.option(
    "--longest-side", type=click.IntRange(16), help="Resample images: cheaper, coarser."
)
channels = click.option("--channels", help="Maps of each level, as in 8,16,32: a narrower network.")


def resized(task: TaskSpec, longest_side: int | None, channels: str | None) -> TaskSpec:
    """Return `task` with smaller images or other numbers of maps, where these were asked for."""
    if (longest_side or channels) and task.exam is not None:
        raise InputError(
            f"--longest-side and --channels are for segmentation; leave them away for '{task.name}'"
        )
    if longest_side:
        task = replace(task, input=replace(task.input, longest_side=longest_side))
    if channels:
        levels = len(task.encoder_decoder.channels)
        widths = tuple(int(word) if word.isdecimal() else 0 for word in channels.split(","))
        if len(widths) != levels or min(widths) < 1:
            raise InputError(
                f"--channels '{channels}': expected numbers from 1, one for each of {levels} levels"
            )
        task = replace(task, network=replace(task.encoder_decoder, channels=widths))
    return task
