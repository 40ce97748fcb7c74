"""The rows of `lib.tasks`, by field. Siblings are made with `replace` of another row."""

from __future__ import annotations

from lib.specs import TaskSpec


class Rows(list[TaskSpec]):
    """The rows of one field, in the order in which they are listed."""

    def add(self, task: TaskSpec) -> TaskSpec:
        """Add `task` and return it, so that siblings can be made of it."""
        self.append(task)
        return task
