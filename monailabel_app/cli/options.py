"""The options of a verb as one record, the options that verbs share, and how figures are written.

A verb's record states each option once, beside the field that takes its value::

    @dataclass(frozen=True, kw_only=True)
    class ScoreOptions(options.ModelOptions):
        task: str = options.task()
        top: int = options.option("--top", type=click.IntRange(1), default=20)

    @click.command()
    @options.of(ScoreOptions)
    def score(chosen: ScoreOptions) -> None: ...
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lib.data.reader_choice import LATEST, READERS
from lib.errors import InputError
from lib.files import write_json
from lib.tasks.spec import TaskSpec
from lib.weights.backend_names import BACKENDS, default_backend
from monailabel_app.config import MODEL_DIR

if TYPE_CHECKING:  # every verb's help would load numpy
    from lib.data.studies import Item

Record = TypeVar("Record")

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
IMAGE = click.Path(path_type=Path)  # a file, or the folder of an OME-Zarr


def argument(*names: str, **settings: Any) -> Any:
    """Return a field of a record that takes an argument, see `click.argument`."""
    return dataclasses.field(metadata={"click": click.argument(*names, **settings)})


def option(*names: str, **settings: Any) -> Any:
    """Return a field of a record that takes an option, see `click.option`; a default is shown."""
    decorator = click.option(*names, **{"show_default": True, **settings})
    return dataclasses.field(metadata={"click": decorator})


def of(record: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Add the options that a record states to a command, which is called with the record.

    The help shows the fields of the record before those of the records that it inherits from.
    """
    fields = {field.name: field for field in dataclasses.fields(record)}  # type: ignore[arg-type]
    names = [name for owner in record.__mro__ for name in vars(owner).get("__annotations__", ())]

    def decorate(function: Callable[[Record], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            function(record(**values))

        for name in reversed(names):
            command = fields[name].metadata["click"](command)
        return command

    return decorate


def _in_existing_folder(
    ctx: click.Context, option: click.Parameter, file: Path | None
) -> Path | None:
    """Refuse a file in a folder that does not exist, before hours of work are done."""
    if file is not None and not file.parent.is_dir():
        raise InputError(
            f"folder '{file.parent}' for {option.opts[0]} does not exist; make it first"
        )
    return file


def _is_there(ctx: click.Context, option: click.Parameter, name: str) -> str:
    """Refuse a GPU where there is none: only a server, which viewers ask so, takes the CPU then."""
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError(
                f"{option.opts[0]} cuda: no CUDA device is found here; use cpu, or auto for the "
                f"best there is"
            )
    return name


flag = partial(option, is_flag=True)
positive = partial(option, type=click.IntRange(1))  # a whole number
task = partial(argument, "task")
studies = partial(
    option, "--studies", type=FOLDER, required=True, help="Folder of images and labels."
)
weights = partial(option, "--weights", type=FILE, help="Weights; by default those that are served.")
models = partial(
    option,
    "--models",
    type=FOLDER,
    envvar="UNETVNET_MODELS",
    default=MODEL_DIR,
    show_default=False,
    help="Folder of the served weights and their versions; UNETVNET_MODELS names another default.",
)
out = partial(option, "--out", type=FOLDER)
init_from = partial(option, "--init-from", type=FILE, help="Weights to start from; default random.")
device = partial(option, "--device", default="auto", callback=_is_there, help="cpu, cuda, cuda:N.")
precision = partial(
    option,
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Number format; auto takes a shorter one where the hardware gains from it.",
)
backend = partial(
    option,
    "--backend",
    type=click.Choice(list(BACKENDS)),
    default=default_backend,
    show_default="auto",
    help="What computes on CPUs; auto takes OpenVINO where it is installed.",
)
flips = partial(flag, "--flips", help="Average over mirrored copies.")
diameter = partial(
    option,
    "--diameter",
    type=float,
    default=0.0,
    show_default="estimated",
    help="Typical diameter of the objects in pixels, for tasks that resample images for it.",
)
any_modality = partial(flag, "--any-modality", help="DICOM of modalities it is not for, too.")
seed = partial(option, "--seed", type=click.IntRange(0), default=0)
split = partial(
    option,
    "--split",
    type=click.Choice(["all", "validation"]),
    default="all",
    help="All labelled images, or those that training holds out.",
)
readers = partial(
    option,
    "--readers",
    type=click.Choice(list(READERS)),
    default=LATEST,
    help="Where several readers labelled an image: the last label, one label made of those of all "
    "readers, or the label of each.",
)
processes = partial(positive, "--processes", default=1)
at_once = partial(positive, default=None, show_default="one for 4 cores, at most 4")
jobs = partial(at_once, "--at-once", "--jobs", "jobs")
steps = partial(positive, "--steps")
epochs = partial(positive, "--epochs")
learning_rate = partial(option, "--learning-rate", type=float)
batch_size = partial(positive, "--batch-size", help="Patches per step, over all processes.")
patch_size = partial(option, "--patch-size", help="Sides of a patch in pixels: 256, or 32x64x64.")
channel = partial(
    option,
    "--channel",
    default="",
    show_default=False,
    help="Channel to read, by name or number from 1; default that of channels.csv.",
)
port = partial(option, "--port", type=click.IntRange(1, 65535), default=8000)
conf = partial(option, "--conf", nargs=2, multiple=True, metavar="KEY VALUE")
verbose = partial(flag, "--verbose", help="Show the server's log of every request.")
page = partial(option, "--page", type=FILE, callback=_in_existing_folder)
json_file = partial(
    option,
    "--json",
    "json_file",
    type=FILE,
    callback=_in_existing_folder,
    help="Write the figures to this file.",
)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The weights to answer with, and what they run on."""

    weights: Path | None = weights()
    models: Path = models()
    device: str = device()
    precision: str = precision()
    backend: str = backend()


@dataclass(frozen=True, kw_only=True)
class SizeOptions:
    """Changes to the size of a task; None keeps the row's value."""

    longest_side: int | None = option(
        "--longest-side", type=click.IntRange(16), help="Resample images: cheaper, coarser."
    )
    channels: str | None = option(
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


def in_channel(items: Sequence[Item], channel: str, task: TaskSpec) -> list[Item]:
    """Return `items` to be read in the channel that was asked for; as they are if there is none.

    Raises:
        InputError: a channel for a task on exams.
    """
    check_channel(channel, task)
    return [replace(item, channel=channel) for item in items] if channel else list(items)


def check_channel(channel: str, task: TaskSpec) -> None:
    """Raise `InputError` for a channel if `task` is on exams."""
    if channel and task.exam is not None:
        raise InputError(
            f"--channel is for segmentation; '{task.name}' takes mammograms, leave it away"
        )


def save_json(file: Path | None, value: Mapping[str, Any]) -> None:
    """Write `value` to `file`, if there is one."""
    if file is not None:
        write_json(file, value)


def say_passed_over(studies: Path) -> None:
    """Print what of a studies folder is not used because of where it lies or what it is."""
    from lib.data.passed_over import find_passed_over

    for sentence in find_passed_over(studies).sentences:
        click.echo(f"Note: {sentence}")


def show_left_out(reasons: Mapping[str, str]) -> None:
    """Say on standard error which labels are left out, and why."""
    for id, reason in reasons.items():
        click.echo(f"label of '{id}' left out: {reason}", err=True)


def how_many_at_once(asked: int | None) -> int:
    """Return how many trainings to run at the same time."""
    from benchmarks.harness.processes import choose_at_once

    return asked or choose_at_once()


def command_line() -> str:
    """Return the command as typed, for the record; folders are reduced to their names."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return " ".join(["python -m monailabel_app", *words])
