"""A verb gets its options as one record, which states each of them once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class _Shared:
    seed: int = options.seed()


@dataclass(frozen=True, kw_only=True)
class _Chosen(_Shared):
    task: str = options.task()
    top: int = options.option("--top", type=click.IntRange(1), default=20)
    json_file: Path | None = options.json_file()


def test_a_command_is_called_with_the_record_of_its_options(tmp_path):
    called = []

    @click.command()
    @options.of(_Chosen)
    def verb(chosen: _Chosen) -> None:
        """Do something."""
        called.append(chosen)

    words = ["nuclei", "--seed", "3", "--json", str(tmp_path / "a.json")]
    assert CliRunner().invoke(verb, words).exit_code == 0
    assert called == [_Chosen(task="nuclei", top=20, json_file=tmp_path / "a.json", seed=3)]
    shown = CliRunner().invoke(verb, ["--help"]).output
    assert "Do something." in shown
    assert shown.index("--top") < shown.index("--json") < shown.index("--seed")
    assert CliRunner().invoke(verb, ["nuclei", "--top", "0"]).exit_code == 2
