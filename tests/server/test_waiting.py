"""Many requests at once: everybody gets a turn; who asks for too much is told when to return."""

from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from server_support import MODEL, Server, threshold_weights, write_png

QUEUE = 40
CLICKS = 40
IMAGE = "large"


@pytest.fixture(scope="module")
def busy(launch) -> Server:
    """A server whose model takes a while on its image; each client may have `QUEUE` waiting."""

    def prepare(server: Server) -> None:
        server.conf |= {"queue": str(QUEUE), "models": f"{MODEL}"}
        threshold_weights(server.live_file)
        noise = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
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


def test_a_first_click_and_cheap_requests_wait_for_nobody_with_many_clicks(busy):
    alone = min(_infer(busy)[0] for _ in range(3))
    with ThreadPoolExecutor(CLICKS) as pool:
        many = [pool.submit(_infer, busy) for _ in range(CLICKS)]
        time.sleep(2 * alone)
        for path in ("/info/", f"/model/info/{MODEL}", "/datastore/", "/logs/?lines=5"):
            begin = time.monotonic()
            assert busy.get(path).ok
            assert time.monotonic() - begin < 2, path
        seconds, answer = _infer(busy, "another viewer")
        left = sum(not future.done() for future in many)
        assert answer.ok and left > CLICKS / 4
        # its own inference beside another one, after at most one that was running
        assert seconds < 6 * alone + 0.5
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
    alone = min(_infer(busy)[0] for _ in range(3))
    gone = []
    for _ in range(QUEUE):
        connection = http.client.HTTPConnection("127.0.0.1", busy.port)
        connection.request("POST", f"/infer/{MODEL}?image={IMAGE}&output=json")
        gone.append(connection)
    time.sleep(0.3)
    for connection in gone:
        connection.close()
    time.sleep(1.0)
    seconds, answer = _infer(busy)
    assert answer.ok
    assert seconds < max(5 * alone, QUEUE * alone / 8)
    assert "Traceback" not in busy.log
