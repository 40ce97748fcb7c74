"""The command line: one module for each verb, which imports what it needs when the verb runs."""

from __future__ import annotations

import errno
import sys
from pkgutil import resolve_name

import click

from lib.errors import DivergedError, InputError, unknown

# module and function of each verb
VERBS = {
    "list": "models:list_tasks",
    "models": "models:models",
    "demo-data": "data:demo_data",
    "import": "data:import_dataset",
    "list-images": "list_images:list_images",
    "train": "train:train",
    "infer": "infer:infer",
    "batch-infer": "batch:batch_infer",
    "evaluate": "evaluate:evaluate",
    "score": "score:score",
    "labels": "labels:labels",
    "agreement": "agreement:agreement",
    "reproduce": "reproduce:reproduce",
    "simulate-active-learning": "simulate:simulate_active_learning",
    "serve": "serve:serve",
    "serve-dicom": "serve_dicom:serve_dicom",
    "user": "user:user",
    "benchmark": "benchmark:benchmark",
}


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
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Segmentation networks for MONAI Label: data, training, inference, evaluation."""


def main(args: list[str] | None = None) -> None:
    """Run the command line; wrong input gives one line on standard error and exit status 2."""
    try:
        cli.main(args=args, prog_name="python -m monailabel_app", standalone_mode=False)
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            sys.exit(_fail(f"no space left on the disk for {error.filename or 'the result'}"))
        sys.exit(_fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")))


def _fail(reason: str, status: int = 2) -> int:
    """Print why a command failed, and return its exit status."""
    click.echo(f"Error: {reason}", err=True)
    return status
