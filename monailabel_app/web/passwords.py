"""Checks of passwords that cost others nothing: one at a time, and ever later after wrong ones."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from monailabel_app.web.users import LONGEST_NAME, Users

MOST_WAITING = 64  # checks that wait for their turn,
MOST_OF_AN_ADDRESS = 32  # so that one machine leaves room for others
_MOST_REMEMBERED = 1000  # right passwords
_BUSY_SECONDS = 2
REFUSAL_SECONDS = 0.5  # before a refusal is sent: who guesses in a loop leaves the server free


class TooManyTriesError(Exception):
    """A password is not checked now.

    Attributes:
        seconds: after which it may be tried again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong passwords; try again in {max(1, round(seconds))} s")
        self.seconds = max(1, round(seconds))


class BackOff:
    """Makes who failed wait: not at first, then twice as long after each failure.

    Args:
        free: failures without a wait.
        within: seconds after which failures are forgotten; the wait comes on top.
        longest: wait, in seconds.
        kept: failures of so many keys are remembered at most, the latest.
        clock: returns seconds.
    """

    def __init__(
        self,
        free: int = 5,
        within: float = 60.0,
        longest: float = 60.0,
        kept: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.free, self.within, self.longest, self.kept = free, within, longest, kept
        self._clock = clock
        self._failures: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: Hashable) -> float:
        """Return the seconds until the next try; 0 for now."""
        with self._lock:
            count, last = self._failures.get(key, (0, 0.0))
            return max(0.0, last + self._pause(count) - self._clock())

    def failed(self, key: Hashable) -> int:
        """Note a failure; return how many there were lately."""
        with self._lock:
            count, last = self._failures.pop(key, (0, 0.0))
            now = self._clock()
            if now - last > self.within + self._pause(count):
                count = 0
            self._failures[key] = (count + 1, now)
            if len(self._failures) > self.kept:
                self._failures.popitem(last=False)
            return count + 1

    def passed(self, key: Hashable) -> None:
        """Forget the failures of a key."""
        with self._lock:
            self._failures.pop(key, None)

    def _pause(self, count: int) -> float:
        return min(2.0 ** min(count - self.free, 30), self.longest) if count >= self.free else 0.0


class Passwords:
    """Checks passwords off the event loop, one at a time: each takes about 50 ms of a core.

    Whoever sends wrong ones for a name waits, without a check; so does, much shorter, whoever sends
    any for a name that many machines try. Right passwords are remembered until they change, so they
    are never checked twice, and never wait.

    Args:
        on_refused: called with name, address and number of failures when a wait begins or doubles.
    """

    def __init__(
        self,
        on_refused: Callable[[str, str, int], None] = lambda name, address, count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._waiting: Counter[str] = Counter()
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._of_pair = BackOff(clock=clock)
        self._of_name = BackOff(free=50, longest=1.0, clock=clock)
        self._on_refused = on_refused

    async def check(self, users: Users, name: str, password: str, address: str) -> bool:
        """Tell whether a password is right, after a while if it is not; called in the event loop.

        Raises:
            TooManyTriesError: not checked, for one of the reasons above or because too many wait.
        """
        try:
            right = await self._in_turn(users, name, password, address)
        except TooManyTriesError:
            await asyncio.sleep(REFUSAL_SECONDS)
            raise
        if not right:
            await asyncio.sleep(REFUSAL_SECONDS)
        return right

    async def _in_turn(self, users: Users, name: str, password: str, address: str) -> bool:
        if users.proof(name, password) in self._right:
            return True
        self._refuse_early(name, address)
        others = self._waiting.total()
        if others >= MOST_WAITING or self._waiting[address] >= MOST_OF_AN_ADDRESS:
            raise TooManyTriesError(_BUSY_SECONDS)
        self._waiting[address] += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._lane, self._check, users, name, password, address
            )
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def _check(self, users: Users, name: str, password: str, address: str) -> bool:
        """Check a password in the lane."""
        self._refuse_early(name, address)  # others failed while this one waited
        key = _pair(name, address)
        if users.by_password(name, password) is None:
            self._of_name.failed(key[0])
            count = self._of_pair.failed(key)
            if count >= self._of_pair.free:
                self._on_refused(name, address, count)
            return False
        self._of_pair.passed(key)
        self._right[users.proof(name, password)] = None
        if len(self._right) > _MOST_REMEMBERED:
            self._right.popitem(last=False)
        return True

    def _refuse_early(self, name: str, address: str) -> None:
        key = _pair(name, address)
        if wait := max(self._of_pair.wait(key), self._of_name.wait(key[0])):
            raise TooManyTriesError(wait)


def _pair(name: str, address: str) -> tuple[str, str]:
    return name[:LONGEST_NAME], address
