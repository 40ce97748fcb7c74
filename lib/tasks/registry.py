"""The one table of tasks. A new task, or a ninth variant, is one row of a module beside this one.

Infer task, trainer, command line, model card and tests all read the row. Nothing here imports
torch, so listing the tasks is instant.
"""

from __future__ import annotations

from lib.errors import InputError, choose
from lib.tasks import density, nuclei, ultrasound, volumes
from lib.tasks.spec import TaskSpec

TASKS: dict[str, TaskSpec] = {}


def register(task: TaskSpec) -> TaskSpec:
    """Add `task` to the table and return it.

    Raises:
        InputError: the name is taken.
    """
    if task.name in TASKS:
        raise InputError(f"task '{task.name}' is already registered; give the new row its own name")
    TASKS[task.name] = task
    return task


def get_task(name: str) -> TaskSpec:
    """Return the row called `name`.

    Raises:
        NotFoundError: no such row; the message names the nearest one.
    """
    return choose("task", name, TASKS)


for _row in (*nuclei.ROWS, *ultrasound.ROWS, *volumes.ROWS, *density.ROWS):
    register(_row)
