"""The settings of the studies: the thesis's own, and the one of our rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from benchmarks.reproduction.study import Recipe, plain
from lib.tasks.density import as_in_the_slides
from lib.tasks.image_spec import AugmentSpec, OutputSpec, TargetSpec
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec

GAP = 1
COMPARED = ("network.", "input.", "target.", "augment.", "output.", "training.")
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


def thesis_nerve_setting(task: TaskSpec) -> TaskSpec:
    """Return `task` with the pipeline of the thesis's nuclei, which it ports to the nerve (II.E).

    The network is that of VHLLRHe, but for rows with a known encoder; a presence is not answered,
    and frames keep their size.
    """
    network = task.encoder_decoder
    if network.encoder == "stages":
        network = get_task("nuclei_vhllrhe").encoder_decoder
    return replace(
        thesis_setting(task),
        network=replace(network, out_channels=1, pooled_channels=0),
        input=replace(task.input, longest_side=0),
        target=TargetSpec(),
        output=OutputSpec(),
    )


OURS = Recipe("the row's recipe, best step on the validation images", as_row)
NUCLEI_RECIPES = {
    "ours": OURS,
    "thesis": Recipe("the thesis's setting, last step", thesis_setting, "last"),
}
NERVE_RECIPES = {
    "ours": OURS,
    "thesis": Recipe("the thesis's setting, last step", thesis_nerve_setting, "last"),
}

DENSITY_RECIPES = {
    "ours": Recipe("the row's recipe, last step", as_row, "last"),
    "slides": Recipe("the slides' training, best epoch on the validation exams", as_in_the_slides),
}


def differences(
    rows: Iterable[tuple[str, TaskSpec, TaskSpec]],
) -> list[dict[str, Any]]:
    """Return every option in which our row differs from the published setting's.

    Args:
        rows: of each variant its name, the row under the publication's recipe and under ours.

    Returns:
        Entries of option, published, ours and the names that have these two values.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for name, published, ours in rows:
        theirs, mine = plain(published.as_dict()), plain(ours.as_dict())
        for option in mine:
            compared = option.startswith(COMPARED) and option not in PER_RUN
            if compared and theirs[option] != mine[option]:
                values = (option, str(theirs[option]), str(mine[option]))
                found.setdefault(values, []).append(name)
    return [
        {"option": option, "published": theirs, "ours": mine, "rows": names}
        for (option, theirs, mine), names in found.items()
    ]
