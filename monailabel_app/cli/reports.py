"""How `evaluate` and `train` show the figures of a report."""

from __future__ import annotations

import click

from lib.data.case import Evaluation, Report


def show_report(evaluation: Evaluation, report: Report) -> None:
    """Print the figures of a report, and name on standard error what could not be answered."""
    for line in evaluation.lines(report):
        click.echo(line)
    for id, cause in report.as_dict().get("failed", {}).items():
        click.echo(f"not answered: {id}: {cause}", err=True)
