"""Checks of passwords: later after each wrong one, one at a time, right ones remembered."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from monailabel_app.web import passwords
from monailabel_app.web.passwords import BackOff, Passwords, TooManyTriesError
from monailabel_app.web.users import Users


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "REFUSAL_SECONDS", 0)


@pytest.fixture
def users() -> Users:
    users = Users.empty()
    users.set("anna", "annotator", "correct horse")
    users.set("bert", "annotator", "battery staple")
    return users


def test_the_wait_begins_after_some_failures_doubles_and_ends():
    clock = Clock()
    back_off = BackOff(free=3, within=60, longest=10, clock=clock)
    waits = []
    for _ in range(8):
        back_off.failed("x")
        waits.append(back_off.wait("x"))
        clock.now += waits[-1]
    assert waits == [0, 0, 1, 2, 4, 8, 10, 10]
    assert back_off.wait("y") == 0
    clock.now += 71
    assert back_off.failed("x") == 1  # forgotten
    back_off.failed("x")
    back_off.passed("x")
    assert back_off.failed("x") == 1


def test_failures_of_so_many_are_remembered_and_no_more():
    back_off = BackOff(kept=100)
    for number in range(1000):
        back_off.failed(number)
    assert len(back_off._failures) == 100 and back_off.failed(999) == 2


def test_who_guesses_waits_without_a_check_and_others_do_not(users, monkeypatch):
    clock, refusals, checks = Clock(), [], []
    checked = Users.by_password
    monkeypatch.setattr(
        Users, "by_password", lambda *given: checks.append(given[1]) or checked(*given)
    )
    gate = Passwords(lambda *refused: refusals.append(refused), clock)

    async def work() -> None:
        for _ in range(5):
            assert not await gate.check(users, "anna", "wrong", "10.0.0.1")
        with pytest.raises(TooManyTriesError, match="try again in 1 s"):
            await gate.check(users, "anna", "correct horse", "10.0.0.1")
        assert len(checks) == 5 and refusals == [("anna", "10.0.0.1", 5)]
        assert await gate.check(users, "anna", "correct horse", "10.0.0.2")
        assert await gate.check(users, "bert", "battery staple", "10.0.0.1")
        assert await gate.check(users, "anna", "correct horse", "10.0.0.1")  # known by now
        assert len(checks) == 7
        clock.now += 1
        assert not await gate.check(users, "anna", "wrong", "10.0.0.1")
        with pytest.raises(TooManyTriesError, match="try again in 2 s"):
            await gate.check(users, "anna", "wrong", "10.0.0.1")

    asyncio.run(work())


def test_guesses_that_wait_for_their_turn_together_are_no_more_than_those_after_each_other(
    users, monkeypatch
):
    checks = []
    monkeypatch.setattr(Users, "by_password", lambda *given: checks.append(given[1]))
    gate = Passwords(clock=Clock())

    async def work() -> None:
        guesses = (gate.check(users, "anna", f"wrong {n}", "10.0.0.1") for n in range(20))
        found = await asyncio.gather(*guesses, return_exceptions=True)
        assert found[:5] == [False] * 5
        assert all(isinstance(error, TooManyTriesError) for error in found[5:])
        assert len(checks) == 5

    asyncio.run(work())


def test_a_name_that_many_machines_try_is_checked_once_a_second(users, monkeypatch):
    monkeypatch.setattr(Users, "by_password", lambda *given: None)
    gate = Passwords(clock=Clock())

    async def work() -> None:
        for number in range(50):
            assert not await gate.check(users, "anna", "wrong", f"10.0.0.{number}")
        with pytest.raises(TooManyTriesError):
            await gate.check(users, "anna", "wrong", "10.0.1.1")
        assert not await gate.check(users, "bert", "wrong", "10.0.1.1")

    asyncio.run(work())


def test_few_wait_for_a_check_and_fewer_of_one_machine(users, monkeypatch):
    monkeypatch.setattr(Users, "by_password", lambda *given: time.sleep(0.01))
    monkeypatch.setattr(passwords, "MOST_WAITING", 5)
    monkeypatch.setattr(passwords, "MOST_OF_AN_ADDRESS", 3)
    gate = Passwords()

    async def ask(number: int, address: str) -> str:
        try:
            return str(await gate.check(users, f"name{number}", "wrong", address))
        except TooManyTriesError:
            return "later"

    async def work() -> list[str]:
        asked = [ask(number, "a") for number in range(4)] + [ask(9, "b"), ask(8, "c"), ask(7, "d")]
        return await asyncio.gather(*asked)

    assert asyncio.run(work()) == ["False"] * 3 + ["later"] + ["False"] * 2 + ["later"]


def test_a_right_password_is_remembered_until_it_changes(users):
    gate = Passwords()

    async def ask(password: str) -> bool:
        return await gate.check(users, "anna", password, "")

    assert asyncio.run(ask("correct horse"))
    users.set("anna", "annotator", "another horse")
    assert not asyncio.run(ask("correct horse")) and asyncio.run(ask("another horse"))


def test_an_unknown_name_takes_as_long_as_a_known_one(users):
    took: dict[str, list[float]] = {"anna": [], "nobody": []}
    for _ in range(7):
        for name, seconds in took.items():
            start = time.thread_time()  # whatever else the machine does meanwhile
            assert users.by_password(name, "wrong password") is None
            seconds.append(time.thread_time() - start)
    known, unknown = map(statistics.median, took.values())
    assert 0.4 < known / unknown < 2.5  # of about 50 ms; without a hash it is 10 us


def test_a_refusal_comes_late_and_an_answer_at_once(users, monkeypatch):
    monkeypatch.setattr(passwords, "REFUSAL_SECONDS", 0.3)
    gate = Passwords()

    def seconds(password: str) -> float:
        start = time.monotonic()
        asyncio.run(gate.check(users, "anna", password, ""))
        return time.monotonic() - start

    seconds("correct horse")
    # the machine itself may hold one up
    assert min(seconds("correct horse") for _ in range(3)) < 0.2 and seconds("wrong") > 0.3
