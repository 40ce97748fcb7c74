"""What a process gives up before it reads a file: other files, the network, memory, time.

Landlock (Linux 5.13) has no module in the standard library; its three system calls are made through
ctypes. Where the kernel has less of it, less is given up; memory and time are limited all the same.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
from collections.abc import Iterable
from pathlib import Path

MOST_FILES = 256  # open at once
# numbers of the system calls; the same on every machine
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVS, _DEATH_SIGNAL = 38, 1  # of prctl
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# write, remove a folder, a file; make a folder, a file, a link
_CHANGE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12
_TRUNCATE = 1 << 14
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # version: how many rights on files it knows
_TCP = 0b11  # bind, connect: from version 4
_SCOPES = 0b11  # abstract sockets, signals: from version 6

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """Return the version of Landlock that the kernel has; 0 for none."""
    return max(int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)), 0)


def end_with_parent(signal_number: int) -> None:
    """Have this process ended by a signal when the thread that forked it ends."""
    _libc.prctl(_DEATH_SIGNAL, signal_number, 0, 0, 0)


def limit_memory(budget: int) -> None:
    """Allow `budget` bytes beyond the address space in use, files as large, and no core dump."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, used + budget),
        (resource.RLIMIT_FSIZE, budget),
        (resource.RLIMIT_NOFILE, MOST_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(kind, most)
    try:  # of all processes this one is to go first where memory ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        pass


def limit_seconds(seconds: float) -> None:
    """Allow so much time of all processors together."""
    _lower(resource.RLIMIT_CPU, int(seconds) + 1)


def _lower(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


class Confinement:
    """The rules under which a process is to go on, collected and then enforced for good."""

    def __init__(self) -> None:
        self.version = landlock_version()
        self._rules = -1
        if not self.version:
            return
        known = _RIGHTS[min(self.version, max(_RIGHTS))]
        self._handled = (1 << known) - 1
        fields = [self._handled, _TCP if self.version >= 4 else 0]
        if self.version >= 6:
            fields.append(_SCOPES)
        size = 8 if self.version < 4 else 8 * len(fields)
        attributes = struct.pack(f"<{len(fields)}Q", *fields)[:size]
        self._rules = int(
            _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
        )

    def allow_reading(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        """Allow to read files, and folders with all below them; missing ones are passed over."""
        for path in paths:
            self._allow(path, _READ_FILE | _READ_FOLDER)

    def allow_changing(self, folder: str | os.PathLike[str]) -> None:
        """Allow to read, write, make and remove files below a folder."""
        self._allow(folder, _READ_FILE | _READ_FOLDER | _CHANGE | _TRUNCATE)

    def _allow(self, path: str | os.PathLike[str], rights: int) -> None:
        if self._rules < 0:
            return
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError):
            return
        try:
            if not os.path.isdir(path):
                rights &= _READ_FILE
            rule = struct.pack("<Qi", rights & self._handled, place)
            _libc.syscall(_ADD_RULE, self._rules, _PATH_BENEATH, rule, ctypes.c_uint32(0))
        finally:
            os.close(place)

    def enforce(self) -> None:
        """Give up, for this process and all that it starts, whatever was not allowed."""
        if self._rules < 0:
            return
        _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        failed = _libc.syscall(_RESTRICT_SELF, self._rules, ctypes.c_uint32(0))
        os.close(self._rules)
        self._rules = -1
        if failed:
            raise OSError(ctypes.get_errno(), "Landlock cannot be enforced")
