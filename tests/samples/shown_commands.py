"""The commands that the documents show, and whether the program would take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click

from lib.tasks.registry import TASKS
from monailabel_app.cli import cli
from monailabel_app.config import OPTIONS
from monailabel_app.web.access import find_row

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
COMMANDS = ("sh", "bash")
NOT_COMMANDS = (
    "text",
    "csv",
    "yaml",
    "python",
    "js",
    "json",
    "nginx",
    "toml",
    "mermaid",
    "{toctree}",
)
# programs that are not ours; their words are not looked at
OTHERS = frozenset(
    ". cd docker export git jq monailabel pip srun sudo tensorboard torchrun python".split()
)
_FENCE = re.compile(r"^(<!-- run -->\n)?```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`((?:python -m monailabel_app|unetvnet|make) [^`]+)`(?!`)")
_LONGER_MARK = "..."  # words left out
_STANDS_FOR = re.compile(r"[A-Z_]{1,}|.*\.\.\..*|\$.*|<.*>")


class Block(NamedTuple):
    """A fenced block: where it stands, its language, its text, and whether tests run it."""

    page: Path
    language: str
    text: str
    run: bool


def blocks() -> list[Block]:
    """Return all fenced blocks of the pages."""
    return [
        Block(page, language, text, bool(run))
        for page in PAGES
        for run, language, text in _FENCE.findall(page.read_text())
    ]


def shown(page: Path) -> list[str]:
    """Return the commands of a page, of its blocks and within its sentences."""
    text = page.read_text()
    found = [
        line
        for block in blocks()
        if block.page == page and block.language in COMMANDS and "#!" not in block.text
        for line in lines_of(block.text)
    ]
    prose = _FENCE.sub("", text)
    return found + [" ".join(words.split()) for words in _INLINE.findall(prose)]


def lines_of(script: str) -> Iterator[str]:
    """Yield the commands of a script, one by one; `&&` parts two."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        start = 0
        for end in [*(at for at, word in enumerate(words) if word == "&&"), len(words)]:
            if part := words[start:end]:
                yield shlex.join(part)
            start = end + 1


def fault(command: str) -> str:
    """Return why a command would not be taken; empty if it would, or is not ours to tell."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return str(error)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:3] == ["python", "-m", "monailabel_app"]:
        return _cli_fault(words[3:])
    if words[:1] == ["unetvnet"]:
        return _cli_fault(words[1:])
    if words[:1] == ["make"]:
        return _make_fault(words[1:])
    if words[:1] == ["curl"]:
        return _curl_fault(words[1:])
    if words[:2] == ["monailabel", "start_server"]:
        return _conf_fault(words)
    return "" if words and words[0] in OTHERS else f"unknown program {words[:1]}"


def _conf_fault(words: list[str]) -> str:
    named = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--conf"]
    wrong = [name for name in named if name not in OPTIONS and not _STANDS_FOR.fullmatch(name)]
    return f"no --conf {wrong}" if wrong else ""


def _cli_fault(words: list[str]) -> str:
    """Have click parse the words of one of our commands, and check choices and numbers."""
    has_own = "--task-file" in words
    if words[:1] == ["--task-file"]:
        words = words[2:]
    if not words or words[0].startswith("-") or _STANDS_FOR.fullmatch(words[0]):
        return ""
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    if command is None:
        return f"no command {words[0]}"
    inner = click.Context(command, info_name=words[0], parent=context)
    given = [word for word in words[1:] if word != _LONGER_MARK]
    for at in [at for at, word in enumerate(given) if word == "--task-file"]:
        del given[at : at + 2]
    try:
        values, others, _ = command.make_parser(inner).parse_args(given)
        for parameter in command.get_params(inner):
            value = values.get(parameter.name)
            if value and not _stands_for(value):
                parameter.type_cast_value(inner, value)
    except click.UsageError as error:
        return error.format_message()
    if others:
        return f"too many words: {others}"
    task = values.get("task")
    if isinstance(task, str) and not (has_own or _STANDS_FOR.fullmatch(task) or task in TASKS):
        return f"no task {task}"
    return _conf_fault(words)


def _stands_for(value: object) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(_STANDS_FOR.fullmatch(str(one)) for one in values)


@cache
def _makefile() -> str:
    return (REPOSITORY / "Makefile").read_text()


def _make_fault(words: list[str]) -> str:
    for word in words:
        name, is_variable, _ = word.partition("=")
        known = rf"^(export )?{name} \?=" if is_variable else rf"^{name}:"
        if not re.search(known, _makefile(), re.MULTILINE):
            return f"nothing in the Makefile is called {name}"
    return ""


def _curl_fault(words: list[str]) -> str:
    """Look the request up in the table of routes."""
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    addresses = [
        match[1]
        for word in words
        if (match := re.fullmatch(r"(?:(?:http://)?[\w.]+:\d+|\$SERVER|http://[\w.:]+)(/.*)", word))
    ]
    if len(addresses) != 1:
        return f"expected one address, found {addresses}"
    path = addresses[0].partition("?")[0]
    return "" if find_row(method, path) else f"no route {method} {path}"
