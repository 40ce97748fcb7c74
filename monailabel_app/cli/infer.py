"""`infer`: segment image files, or answer on exams."""

from __future__ import annotations

import sys

import click

from lib.tasks.registry import get_task
from monailabel_app.cli import options
from monailabel_app.cli.answers import InferOptions


@click.command()
@options.of(InferOptions)
def infer(chosen: InferOptions) -> None:
    """Segment FILES with TASK and write label images of the same names to OUT.

    For tasks on mammography exams FILES are views; OUT gets the answer on each exam as JSON, and
    label images of its dense tissue. Files that cannot be read are named and passed over; the exit
    status is then 2.
    """
    task = get_task(chosen.task)
    from lib.kinds import kind_of, resolve

    if resolve(kind_of(task).answer_files)(task, chosen):
        sys.exit(2)


COMMANDS = {"infer": infer}
