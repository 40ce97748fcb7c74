"""Whether an image file can be read, and answered by a task, with the reason where it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError
from lib.image import by
from lib.io.facts import dicom_facts
from lib.io.read import check_readable, image_size
from lib.tasks.image_kind import MAMMOGRAPHY, ImageKind
from lib.tasks.spec import TaskSpec


@dataclass(frozen=True)
class Look:
    """What a look at a file found.

    Attributes:
        size: from the header, x first, as `lib.io.read.image_size` returns it; empty with an error.
        error: why the file cannot be read; empty if nothing speaks against it.
        whole: whether the file was read to its end; else its header alone.
        modality: of a DICOM file; empty for others.
        over_time: whether the frames of a DICOM file are a loop.
    """

    size: tuple[int, ...] = ()
    error: str = ""
    whole: bool = False
    modality: str = ""
    over_time: bool = False

    @property
    def kind(self) -> ImageKind:
        """What tasks the file is for; of an unreadable one nothing is known."""
        if not self.size:
            return ImageKind()
        if len(self.size) == 3:
            return ImageKind(self.modality, "loop" if self.over_time else "3d")
        return ImageKind(self.modality, "mammogram" if self.modality in MAMMOGRAPHY else "2d")


def look_at(path: Path, whole: bool) -> Look:
    """Look at a file: at its header, or at all of it.

    Args:
        whole: whether to read it to the end, as only that finds all that are truncated.
    """
    try:
        size = image_size(path)
        if len(size) not in (2, 3):
            raise InputError(
                f"{path.name}: {by(size)} pixels along {len(size)} axes, expected an image or a "
                f"volume; export a single time point"
            )
        modality, over_time = dicom_facts(path)
        if whole:
            check_readable(path)
    except InputError as error:
        return Look(error=str(error), whole=True)
    except OSError as error:
        return Look(error=f"{path.name}: cannot be read ({error.strerror}); copy it again")
    except Exception as error:  # one odd file must not keep the others from being counted
        return Look(error=f"{path.name}: cannot be read ({error}); export it again", whole=True)
    return Look(size, whole=whole, modality=modality, over_time=over_time)


def unfit(look: Look, name: str, task: TaskSpec) -> str:
    """Return why a task cannot answer a file; empty if nothing speaks against it.

    Args:
        name: of the file.
    """
    if look.error:
        return look.error
    size, spec = look.size, task.input
    if task.image_dims == 3 and len(size) == 2:
        return (
            f"{name}: a 2D image of {by(size)} pixels, '{task.name}' answers volumes; serve a 2D "
            f"task too, or join slices with `import stack` or `import dicom`"
        )
    if task.exam is not None and len(size) == 3:
        return (
            f"{name}: a volume or loop of {by(size)} pixels, '{task.name}' answers mammograms; "
            f"serve a task for volumes too, or export single images"
        )
    if min(size[:2]) < spec.min_side:
        return (
            f"{name}: {by(size)} pixels, expected at least {spec.min_side} rows and columns; use "
            f"the image at its full size"
        )
    if math.prod(size) > spec.max_pixels:
        return (
            f"{name}: {by(size)} pixels, expected at most {spec.max_pixels} in all; crop or tile "
            f"the image"
        )
    return ""


def unfit_for_all(look: Look, name: str, tasks: Iterable[TaskSpec]) -> str:
    """Return why none of `tasks` can answer a file, by the first; empty if one can.

    Without tasks, return why the file cannot be read.
    """
    reasons = [unfit(look, name, task) for task in tasks] or [look.error]
    return reasons[0] if all(reasons) else ""
