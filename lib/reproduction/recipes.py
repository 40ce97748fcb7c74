"""The two settings of the nuclei study: the thesis's own, and the one of our rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lib.reproduction.study import Recipe, plain
from lib.tasks import AugmentSpec, TaskSpec

GAP = 1
COMPARED = ("input.", "target.", "augment.", "output.", "training.")
PER_RUN = ("training.steps", "training.val_interval", "training.val_split")


def as_row(task: TaskSpec) -> TaskSpec:
    """Return the row as it is."""
    return task


def thesis_setting(task: TaskSpec) -> TaskSpec:
    """Return `task` with what the thesis states of preprocessing and training (II.D).

    Adam at a constant 1e-4, one image per step, crop or mirror to 256 x 256, flips, borders between
    neighbours eroded and grown back, no early stopping on a metric. Network and loss stay the
    row's. Objects are the connected components, as nothing separates them but the eroded borders.
    """
    return replace(
        task,
        target=replace(task.target, gap=GAP),
        augment=AugmentSpec(flips=True),
        output=replace(task.output, gap=GAP, separation="components", min_area=0),
        training=replace(
            task.training,
            optimizer="adam",
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="constant",
            batch_size=1,
            patch_size=256,
            early_stop_patience=0,
            gradient_clip=0.0,
        ),
    )


NUCLEI_RECIPES = {
    "ours": Recipe("the row's recipe, best step on the validation images", as_row),
    "thesis": Recipe("the thesis's setting, last step", thesis_setting, "last"),
}


def differences(rows: Iterable[TaskSpec], published: Recipe, ours: Recipe) -> list[dict[str, Any]]:
    """Return every option in which `ours` differs from `published`, for any of the rows.

    Returns:
        Entries of option, published, ours and the rows that have these two values.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        theirs, own = (plain(recipe.setting(row).as_dict()) for recipe in (published, ours))
        for option in own:
            compared = option.startswith(COMPARED) and option not in PER_RUN
            if compared and theirs[option] != own[option]:
                values = (option, str(theirs[option]), str(own[option]))
                found.setdefault(values, []).append(row.name)
    return [
        {"option": option, "published": theirs, "ours": own, "rows": names}
        for (option, theirs, own), names in found.items()
    ]
