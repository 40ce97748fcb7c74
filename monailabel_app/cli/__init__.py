"""The command line: one module for each verb, which imports what it needs when the verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

import click

from lib.errors import NO_SPACE, DivergedError, InputError, unknown
from lib.tasks import outside
from monailabel_app import __version__

TASK_FILE = "--task-file"

# module and function of each verb
VERBS = {
    "list": "models:list_tasks",
    "models": "models:models",
    "demo-data": "data:demo_data",
    "import": "data:import_dataset",
    "export-data": "export_data:export_data",
    "list-images": "list_images:list_images",
    "train": "train:train",
    "average": "average:average",
    "infer": "infer:infer",
    "batch-infer": "batch:batch_infer",
    "evaluate": "evaluate:evaluate",
    "familiarity": "familiarity:familiarity",
    "quantize": "quantize:quantize",
    "export-model": "export_model:export_model",
    "import-model": "import_model:import_model",
    "score": "score:score",
    "labels": "labels:labels",
    "agreement": "agreement:agreement",
    "reproduce": "reproduce:reproduce",
    "simulate-active-learning": "simulate:simulate_active_learning",
    "serve": "serve:serve",
    "serve-dicom": "serve_dicom:serve_dicom",
    "user": "user:user",
    "app-path": "app_path:app_path",
    "benchmark": "benchmark:benchmark",
}
# verbs that read files which may come from anywhere
READING = frozenset(
    "import export-data list-images train average infer batch-infer evaluate familiarity quantize "
    "score labels agreement".split()
)


class _Verbs(click.Group):
    """Loads the module of a verb when it is called, so that light verbs stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = resolve_name(f"monailabel_app.cli.{VERBS[cmd_name]}")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            raise unknown("command", args[0], VERBS)
        if READING & set(args[:1]) and not {"-h", "--help"} & set(args):
            from lib.isolation import calls  # imports numpy

            calls.read_in_workers()  # they start while the verb loads
        return super().resolve_command(ctx, args)


def _load_tasks(ctx: click.Context, option: click.Parameter, files: tuple[Path, ...]) -> None:
    """Load the tasks from outside, before a verb reads its choices."""
    outside.load_given()
    outside.load(files)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    TASK_FILE,
    type=click.Path(path_type=Path),
    multiple=True,
    callback=_load_tasks,
    expose_value=False,
    help="Own tasks: a YAML file, or a Python file, which is run. Before or after the command; "
    f"{outside.VARIABLE} names files too.",
)
@click.version_option(__version__, message="unetvnet %(version)s")
def cli() -> None:
    """Segmentation networks for MONAI Label: data, training, inference, evaluation."""


def _task_files_first(words: Sequence[str]) -> list[str]:
    """Return the words with each `TASK_FILE` before the verb, where it is read."""
    first: list[str] = []
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == TASK_FILE:
            first += [word, next(rest, "")]
        else:
            (first if word.startswith(f"{TASK_FILE}=") else others).append(word)
    return first + others


def main(args: list[str] | None = None, program: str = "python -m monailabel_app") -> None:
    """Run the command line; wrong input gives one line on standard error and exit status 2."""
    words = _task_files_first(sys.argv[1:] if args is None else args)
    try:
        cli.main(args=words, prog_name=program, standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.exceptions.NoArgsIsHelpError as help_text:
        help_text.show()
        sys.exit(help_text.exit_code)
    except click.UsageError as error:
        advice = f"; see {error.ctx.command_path} --help" if error.ctx else ""
        sys.exit(_fail(f"{error.format_message().rstrip('.')}{advice}", error.exit_code))
    except click.ClickException as error:
        sys.exit(_fail(error.format_message(), error.exit_code))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(_fail("interrupted; run the command again to go on", 130))
    except (InputError, DivergedError) as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        if error.errno in NO_SPACE:
            sys.exit(_fail(f"no space left on the disk for {error.filename or 'the result'}"))
        sys.exit(_fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))


def _fail(reason: str, status: int = 2) -> int:
    """Print why a command failed, and return its exit status."""
    click.echo(f"Error: {reason}", err=True)
    return status
