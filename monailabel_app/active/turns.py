"""Who runs a model next: one turn after the other, fairly over the clients.

A client is a user, or an address with its program. However many requests of one client wait, the
next turn goes to the client who had none for the longest time; of several at one address, as a
program may call itself anything, only when it is the turn of the address. What nobody waits for in
front of a screen (batches) comes behind all of these.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from lib.errors import BusyError

TOTAL_FACTOR = 4  # requests that may wait in all, for each that one client may have waiting,
HOME_FACTOR = 2  # and in one home
LONGEST_RETRY_SECONDS = 60
_REMEMBERED = 512  # clients whose last turn is known
_FIRST_GUESS_SECONDS = 1.0


class QueueFullError(BusyError):
    """Too many requests wait already (HTTP 429).

    Attributes:
        retry_seconds: after which it is worth asking again.
    """

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


@dataclass(eq=False)
class Turn:
    """A place in the queue, and then the slot.

    Attributes:
        client: whose it is; empty for work in the background.
        home: where the client is, such as an address; by itself if nothing is known.
        granted: done once the slot is there.
        began: when that was, by `time.monotonic`; 0 before.
        over: whether the slot, or the place, was given up.
    """

    client: str
    home: str = ""
    granted: Future[None] = field(default_factory=Future)
    began: float = 0.0
    over: bool = False


_current: ContextVar[Turn | None] = ContextVar("turn of the request", default=None)


class Turns:
    """The slots in which models run, and the queue for them; threads may use it at once.

    Args:
        slots: how many models run at the same time.
        per_client: requests that one client may have waiting.
    """

    def __init__(self, slots: int, per_client: int) -> None:
        self.slots, self.per_client = slots, per_client
        self.per_home, self.total = HOME_FACTOR * per_client, TOTAL_FACTOR * per_client
        self._guard = threading.Lock()
        self._free = slots
        self._waiting: dict[str, deque[Turn]] = {}
        self._background: deque[Turn] = deque()
        self._last: dict[
            str, int
        ] = {}  # number of the last turn by client and home, the oldest first
        self._given = 0
        self._seconds = _FIRST_GUESS_SECONDS  # that a turn takes, averaged

    def ask(self, client: str, home: str = "") -> Turn:
        """Join the queue; the turn has to be ended with `end`, whatever happens.

        Args:
            home: see `Turn`.

        Raises:
            QueueFullError: the client, its home, or all together, have too many requests waiting.
        """
        turn = Turn(client, home or client)
        with self._guard:
            for whose, count, most in (
                ("yours", len(self._waiting.get(client, ())), self.per_client),
                (f"'{turn.home}'", self._count(turn.home), self.per_home),
                ("all clients", self._count(), self.total),
            ):
                if count >= most:
                    seconds = math.ceil(count * self._seconds / self.slots)
                    raise QueueFullError(
                        f"{count} requests of {whose} wait for a model already; wait for their "
                        f"answers, then ask again",
                        min(max(seconds, 1), LONGEST_RETRY_SECONDS),
                    )
            self._waiting.setdefault(client, deque()).append(turn)
            self._give()
        return turn

    def end(self, turn: Turn) -> None:
        """Give up a slot, or a place in the queue; a second time does nothing."""
        with self._guard:
            if turn.over:
                return
            turn.over = True
            if turn.began:
                self._free += 1
                self._seconds += 0.1 * (time.monotonic() - turn.began - self._seconds)
            elif not turn.client:
                self._background.remove(turn)
            else:
                self._waiting[turn.client].remove(turn)
                if not self._waiting[turn.client]:
                    del self._waiting[turn.client]
            self._give()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot: that of the request that is answered, else one behind all requests."""
        turn = _current.get()
        if turn is None or turn.over:
            turn = Turn("")
            with self._guard:
                self._background.append(turn)
                self._give()
        try:
            turn.granted.result()
            yield
        finally:
            self.end(turn)

    @staticmethod
    def hold(turn: Turn) -> None:
        """Let `slot` use this turn in the current context."""
        _current.set(turn)

    @property
    def waiting(self) -> int:
        """Number of requests that wait, without those in the background."""
        with self._guard:
            return self._count()

    def _count(self, home: str = "") -> int:
        return sum(len(turns) for turns in self._waiting.values() if home in ("", turns[0].home))

    def _give(self) -> None:
        """Give free slots to those who wait; the caller holds the guard."""
        while self._free and (self._waiting or self._background):
            turn = self._next()
            self._free -= 1
            turn.began = time.monotonic()
            turn.granted.set_result(None)

    def _next(self) -> Turn:
        if not self._waiting:
            return self._background.popleft()

        def last_turns(client: str) -> tuple[int, int]:
            home = self._waiting[client][0].home
            return self._last.get(home, 0), self._last.get(client, 0)

        client = min(self._waiting, key=last_turns)
        queue = self._waiting[client]
        turn = queue.popleft()
        if not queue:
            del self._waiting[client]
        self._given += 1
        for name in (client, turn.home):
            self._last.pop(name, None)
            self._last[name] = self._given
        while len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]
        return turn
