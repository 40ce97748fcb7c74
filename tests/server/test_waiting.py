"""Many requests at once: everybody gets a turn; who asks for too much is told when to return."""

from __future__ import annotations

import http.client
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from server_support import MODEL, Server, threshold_weights, write_png

SLOTS = os.cpu_count() or 1  # models that run at once
QUEUE = CLICKS = max(30, 12 * SLOTS)
IMAGE = "large"


@pytest.fixture(scope="module")
def busy(launch) -> Server:
    """A server whose model takes a while on its image; each client may have `QUEUE` waiting."""

    def prepare(server: Server) -> None:
        server.conf |= {"queue": str(QUEUE), "models": f"{MODEL}"}
        threshold_weights(server.live_file)
        noise = np.random.default_rng(0).integers(0, 255, (128, 128), dtype=np.uint8)
        write_png(server.studies / f"{IMAGE}.png", noise)

    server = launch(prepare)
    server.wait_for_image(IMAGE)
    return server


def _infer(server: Server, program: str = "viewer"):
    begin = time.monotonic()
    answer = server.post(
        f"/infer/{MODEL}",
        params={"image": IMAGE, "output": "json"},
        headers={"User-Agent": program},
    )
    return time.monotonic() - begin, answer


def _answered(many: list[Future]) -> int:
    return sum(future.done() for future in many)


def test_a_first_click_and_cheap_requests_wait_for_nobody_with_many_clicks(busy):
    """Time is told by the clicks that are answered meanwhile: a busy machine slows these too."""
    with ThreadPoolExecutor(CLICKS) as pool:
        many = [pool.submit(_infer, busy) for _ in range(CLICKS)]
        busy.wait_for(lambda: _answered(many) >= 2, "answers", 300)
        for path in ("/info/", f"/model/info/{MODEL}", "/datastore/", "/logs/?lines=5"):
            before = _answered(many)
            assert busy.get(path).ok
            assert _answered(many) - before < 2 * SLOTS + 2, path
        before = _answered(many)
        _, answer = _infer(busy, "another viewer")
        # its own inference beside another one, after at most those that were running
        assert answer.ok and _answered(many) - before < 4 * SLOTS + 2
        assert _answered(many) < CLICKS
        assert {future.result()[1].status_code for future in many} == {200}


def test_more_than_may_wait_are_refused_with_the_seconds_to_wait(busy):
    with ThreadPoolExecutor(QUEUE + 20) as pool:
        answers = [answer for _, answer in pool.map(lambda _: _infer(busy), range(QUEUE + 20))]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert 0 < len(refused) < 20
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert "wait for a model already" in refused[0].json()["detail"]


def test_requests_of_clients_who_have_gone_are_not_answered(busy):
    gone = []
    for _ in range(QUEUE):
        connection = http.client.HTTPConnection("127.0.0.1", busy.port)
        where = f"/infer/{MODEL}?image={IMAGE}&output=json"
        connection.request("POST", where, headers={"User-Agent": "viewer"})
        gone.append(connection)
    time.sleep(0.3)
    for connection in gone:
        connection.close()
    begin = time.monotonic()  # of one more of the same client, who comes behind these
    busy.wait_for(lambda: _infer(busy)[1].ok, "an answer", 300)
    seconds = time.monotonic() - begin
    alone = max(_infer(busy)[0] for _ in range(3))  # on a machine that is as busy now
    assert seconds < QUEUE / SLOTS / 2 * alone + 1
    assert "Traceback" not in busy.log
