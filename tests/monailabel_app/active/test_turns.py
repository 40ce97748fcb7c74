"""Turns: clients take them in turn, batches come last, and nobody waits without end."""

from __future__ import annotations

import threading

import pytest

from monailabel_app.active.turns import TOTAL_FACTOR, QueueFullError, Turn, Turns


def _granted(turns: list[Turn]) -> list[int]:
    return [number for number, turn in enumerate(turns) if turn.granted.done()]


def test_another_client_is_next_however_many_requests_of_one_wait():
    turns = Turns(slots=1, per_client=100)
    many = [turns.ask("a") for _ in range(50)]
    other = turns.ask("b")
    assert _granted(many) == [0] and not other.granted.done()
    turns.end(many[0])
    assert other.granted.done() and _granted(many) == [0]
    turns.end(other)
    assert _granted(many) == [0, 1]


def test_clients_take_turns():
    turns = Turns(slots=1, per_client=100)
    running = turns.ask("x")
    queue = {client: [turns.ask(client) for _ in range(3)] for client in "abc"}
    order = []
    for _ in range(9):
        turns.end(running)
        ((client, running),) = [
            (client, turn)
            for client, own in queue.items()
            for turn in own
            if turn.granted.done() and not turn.over
        ]
        order.append(client)
    assert "".join(order) == "abcabcabc"


def test_who_calls_himself_by_many_names_at_one_address_delays_nobody_elsewhere():
    turns = Turns(slots=1, per_client=4)
    many = [turns.ask(f"here {number}", "here") for number in range(turns.per_home + 1)]
    with pytest.raises(QueueFullError, match="8 requests of 'here'"):
        turns.ask("here again", "here")
    other = turns.ask("there a", "there")
    turns.end(many[0])
    assert other.granted.done() and _granted(many) == [0]
    turns.end(other)
    assert _granted(many) == [0, 1]


def test_batches_come_behind_all_requests():
    turns = Turns(slots=1, per_client=10)
    running, done = turns.ask("a"), threading.Event()

    def batch() -> None:
        with turns.slot():
            done.set()

    thread = threading.Thread(target=batch)
    thread.start()
    next_ = turns.ask("b")
    turns.end(running)
    assert next_.granted.done() and not done.wait(0.1)
    turns.end(next_)
    thread.join(60)
    assert done.is_set()


def test_a_slot_is_that_of_the_request_and_is_free_when_the_model_has_run():
    turns = Turns(slots=1, per_client=10)
    turn = turns.ask("a")
    turns.hold(turn)
    with turns.slot():
        assert not turns.ask("b").granted.done()
    assert turn.over
    turns.end(turn)  # again, as at the end of the request
    assert not turns.ask("c").granted.done()  # the one slot is b's


def test_too_many_requests_of_one_client_or_of_all_are_refused_with_the_seconds_to_wait():
    turns = Turns(slots=1, per_client=2)
    for client in "abcdefg"[: TOTAL_FACTOR + 1]:
        turns.ask(client)
        turns.ask(client)
        if client == "a":
            turns.ask(client)  # one of them runs
            with pytest.raises(QueueFullError, match="2 requests of yours") as full:
                turns.ask(client)
            assert full.value.retry_seconds >= 1
        if turns.waiting == turns.total:
            break
    with pytest.raises(QueueFullError, match="8 requests of all clients"):
        turns.ask("z")


def test_a_place_that_is_given_up_is_skipped():
    turns = Turns(slots=1, per_client=10)
    running, gone, stays = turns.ask("a"), turns.ask("b"), turns.ask("c")
    turns.end(gone)
    turns.end(running)
    assert stays.granted.done() and not gone.granted.done() and turns.waiting == 0
