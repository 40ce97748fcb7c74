"""Whether an image is one of those that a task is for. Nothing here imports torch."""

from __future__ import annotations

from lib.errors import InputError
from lib.tasks.image_kind import DIMENSION_WORDS, MODALITY_WORDS, ImageKind
from lib.tasks.spec import TaskSpec

_ONE = {"2d": "a single image", "loop": "a loop", "3d": "a volume", "mammogram": "a mammogram"}


class MisfitError(InputError):
    """An image of a modality that a task is not for (HTTP 400)."""


def refusal(task: TaskSpec, kind: ImageKind) -> str:
    """Return why a task must not answer an image of another modality; empty if it may.

    What cannot be told is never refused, and nothing is for a task that is not strict.
    """
    return _other_modality(task, kind) if task.strict else ""


def misfit(task: TaskSpec, kind: ImageKind) -> str:
    """Return why an image is none of those that a task is for; empty if it is one.

    That is another modality, strict or not, or other dimensions than those of the task.
    """
    if reason := _other_modality(task, kind):
        return reason
    if not kind.dimensions or not task.dimensions or kind.dimensions in task.dimensions:
        return ""
    if not kind.modality and kind.dimensions == "3d" and "loop" in task.dimensions:
        return ""  # nothing tells whether it is a volume or a loop
    *others, last = (DIMENSION_WORDS[one] for one in task.dimensions)
    shown = f"{', '.join(others)} and " if others else ""
    return f"'{task.name}' answers {shown}{last}, this is {_ONE[kind.dimensions]}"


def _other_modality(task: TaskSpec, kind: ImageKind) -> str:
    if not kind.modality or not task.modalities or kind.modality in task.modalities:
        return ""
    if kind.dimensions == "mammogram" and "mammogram" in task.dimensions:
        return ""  # films are scanned by devices of other modalities too
    return f"'{task.name}' answers {_of_modalities(task)}, this is {kind.modality}"


def require_fit(task: TaskSpec, kind: ImageKind, override: str) -> str:
    """Refuse an image of a modality that a task is not for.

    Args:
        override: what lets the task answer all the same, for the message.

    Returns:
        Why the task is not for that modality, where it is not strict; else empty.

    Raises:
        MisfitError: it is refused.
    """
    if reason := refusal(task, kind):
        raise MisfitError(
            f"{reason}; choose a model for {kind.modality}, or give {override} to have it "
            f"answered all the same"
        )
    return _other_modality(task, kind)


def told(task: TaskSpec, kind: ImageKind) -> bool:
    """Tell whether what is known of an image counts for a task, see `TaskSpec.strict`."""
    return bool(kind.modality) and task.strict


def preference(task: TaskSpec, kind: ImageKind) -> int:
    """Return the rank of a task among those that fit an image, 0 for what it was made for."""
    order = list(task.dimensions)
    return order.index(kind.dimensions) if kind.dimensions in order else len(order)


def _of_modalities(task: TaskSpec) -> str:
    names = "/".join(task.modalities)
    words = dict.fromkeys(MODALITY_WORDS.get(one, "") for one in task.modalities)
    word = next(iter(words)) if len(words) == 1 else ""
    return f"{word} ({names})" if word else names
