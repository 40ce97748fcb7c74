"""Which channel of an image is read, where it has several: the one asked for, never a guess.

``channels.csv`` of a studies folder chooses for its images. Its columns are ``id``, an image's id
or file name or a pattern such as ``*``, and ``channel``, a name or a number from 1::

    id,channel
    plate_7*,Hoechst
    *,DAPI

A row with the very id counts before patterns, and these count in their order.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from lib.errors import InputError
from lib.files import FileStamp, file_stamp, is_young

CHANNELS = "channels.csv"
COLUMNS = ("id", "channel")
RGB = ("red", "green", "blue")
ALPHA = "alpha"
_NUCLEAR = re.compile(
    r"dapi|hoechst|draq\s?[57]|sytox|h2b|nuc(lei|leus|lear|blue|red|green)|propidium|to-?pro|sir-?dna",
    re.IGNORECASE,
)
_DIGITS = 10  # a number of as many is none of a channel
_SHOWN = 12  # most channels named in an error


class SeveralChannelsError(InputError):
    """An image has several channels, and none was chosen.

    Attributes:
        count: number of channels.
    """

    def __init__(self, name: str, channels: Sequence[str]) -> None:
        self.count = len(channels)
        nuclear = [channel for channel in channels if _NUCLEAR.search(channel)]
        hint = f"; for nuclei probably '{nuclear[0]}'" if len(nuclear) == 1 else ""
        super().__init__(
            f"{name}: has {_listed(channels)} and none was chosen; give channel by "
            f"its name or number, or write a row of {CHANNELS} in its folder{hint}"
        )


def choose_channel(name: str, channels: Sequence[str], asked: str) -> int:
    """Return the index of the channel asked for.

    Args:
        name: of the file, for errors.
        channels: the name of each, empty where the file tells none.
        asked: a name, in any case, or a number from 1; a name counts before a number. Empty for no
            choice.

    Raises:
        SeveralChannelsError: nothing was asked for.
        InputError: there is no such channel, or several have this name.
    """
    wanted = asked.strip().casefold()
    if not wanted:
        raise SeveralChannelsError(name, channels)
    found = [n for n, channel in enumerate(channels) if channel.strip().casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = " and ".join(str(n + 1) for n in found)
        raise InputError(
            f"{name}: channels {numbers} are all named '{asked}'; choose one by its number"
        )
    number = int(wanted) if wanted.isdecimal() and len(wanted) < _DIGITS else 0
    if 1 <= number <= len(channels):
        return number - 1
    raise InputError(
        f"{name}: no channel '{asked[:80]}', it has {_listed(channels)}; choose one by its name "
        f"or by its number from 1"
    )


@dataclass(frozen=True)
class Chooser:
    """`choose_channel` for one answer to it: takes a file's name and its channels."""

    asked: str

    def __call__(self, name: str, channels: Sequence[str]) -> int:
        """Return the index of the channel asked for."""
        return choose_channel(name, channels, self.asked)


def channel_choices(channels: Sequence[str]) -> tuple[str, ...]:
    """Return by what each channel is chosen: its name, or its number where that is not its own."""
    names = [channel.strip() for channel in channels]
    folded = [name.casefold() for name in names]
    return tuple(
        name if name and folded.count(name.casefold()) == 1 else str(number)
        for number, name in enumerate(names, start=1)
    )


def channel_name(channels: Sequence[str], index: int) -> str:
    """Return the name of a channel, or its number from 1 where it has none."""
    return channels[index].strip() or str(index + 1)


def channel_tables(path: Path) -> list[Path]:
    """Return where the ``channels.csv`` of an image may lie, that which counts first."""
    compact = path.parent.name == "images"  # images/ beside labels/
    folders = (path.parent, path.parent.parent) if compact else (path.parent,)
    return [folder / CHANNELS for folder in folders]


def listed_channel(path: Path, id: str) -> str:
    """Return the channel that ``channels.csv`` of its studies folder names for an image, else "".

    Raises:
        InputError: a line of the file is not an id and a channel.
    """
    for table in channel_tables(path):
        if not table.is_file():
            continue
        stamp = file_stamp(table)
        rows = _read_table(table) if is_young(stamp) else _read_table_once(table, stamp)
        exact = (channel for name, channel in rows if name in (id, path.name))
        patterns = (
            channel
            for name, channel in rows
            if fnmatchcase(id, name) or fnmatchcase(path.name, name)
        )
        return next(exact, "") or next(patterns, "")
    return ""


@lru_cache(maxsize=64)
def _read_table_once(path: Path, stamp: FileStamp) -> tuple[tuple[str, str], ...]:
    return _read_table(path)


def _read_table(path: Path) -> tuple[tuple[str, str], ...]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    try:
        lines = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]
    except csv.Error as error:
        raise InputError(f"{path.name}: no table ({error}); write it again") from None
    rows = [row for row in lines if any(row)]
    if rows and tuple(cell.lower() for cell in rows[0]) == COLUMNS:
        del rows[0]
    for row in rows:
        if len(row) != len(COLUMNS) or not all(row):
            raise InputError(
                f"{path.name}: found the line '{','.join(row)}', expected an id and a channel, as "
                f"in '*,DAPI'; correct the file"
            )
    return tuple((id, channel) for id, channel in rows)


def _listed(channels: Sequence[str]) -> str:
    """Return the number of channels and their names, for errors."""
    count = f"{len(channels)} channels" if len(channels) > 1 else "one channel"
    if not any(channels):
        return f"{count} without {'names' if len(channels) > 1 else 'a name'}"
    shown = [f"{n} {channel or 'unnamed'}" for n, channel in enumerate(channels[:_SHOWN], start=1)]
    more = ", ..." if len(channels) > _SHOWN else ""
    return f"{count} ({', '.join(shown)}{more})"
