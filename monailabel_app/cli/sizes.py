"""Options that make a segmentation task smaller: coarser images, a narrower network."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from lib.errors import InputError
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Changes to the size of a task; None keeps the row's value."""

    longest_side: int | None = options.option(
        "--longest-side", type=click.IntRange(16), help="Resample images: cheaper, coarser."
    )
    channels: str | None = options.option(
        "--channels", help="Maps of each level, as in 8,16,32: a narrower network."
    )

    def resized(self, task: TaskSpec) -> TaskSpec:
        """Return `task` with the sizes that were asked for.

        Raises:
            InputError: sizes for a task on exams, or not one number for each level.
        """
        if (self.longest_side or self.channels) and task.exam is not None:
            raise InputError(
                f"--longest-side and --channels are for segmentation; leave them away for "
                f"'{task.name}'"
            )
        if self.longest_side:
            task = replace(task, input=replace(task.input, longest_side=self.longest_side))
        if self.channels:
            levels = len(task.encoder_decoder.channels)
            widths = tuple(int(w) if w.isdecimal() else 0 for w in self.channels.split(","))
            if len(widths) != levels or min(widths) < 1:
                raise InputError(
                    f"--channels '{self.channels}': expected numbers from 1, one for each of "
                    f"{levels} levels"
                )
            task = replace(task, network=replace(task.encoder_decoder, channels=widths))
        return task
