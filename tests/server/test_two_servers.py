"""Two real servers on one studies folder and one folder of models, as behind one proxy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from server_support import MODEL, QUICK, Server, assert_refused, threshold_weights, write_png

from lib.phantoms.nuclei import write_nuclei_studies

IMAGES, LABELLED = 44, 6  # more than are given out: who asks twice may hold two


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two servers; the weights call bright pixels nuclei."""
    first, second = (Server(tmp_path_factory.mktemp("server")) for _ in range(2))
    second.studies, second.model_dir = first.studies, first.model_dir
    second.conf["model_dir"] = first.conf["model_dir"]
    write_nuclei_studies(first.studies, count=IMAGES, labelled=LABELLED)
    threshold_weights(first.live_file)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Server.start, (first, second)))
    yield [first, second]
    for server in (first, second):
        server.stop()


def _next(server: Server, who: str, strategy: str = "random") -> str:
    answer = server.post(f"/activelearning/{strategy}", json={"client_id": who})
    assert answer.ok, answer.text
    return answer.json().get("id", "")


def test_no_image_is_given_to_two_and_each_server_sees_the_others_labels(servers, tmp_path):
    given: dict[str, str] = {}
    for number in range(6):  # in turns, and again by who asked at the other server
        who = f"reader {number}"
        given[who] = _next(servers[number % 2], who)
        assert _next(servers[(number + 1) % 2], who) not in set(given.values()) - {given[who]}

    def ask(number: int) -> str:
        return _next(servers[number % 2], f"another {number}")

    with ThreadPoolExecutor(6) as pool:
        others = list(pool.map(ask, range(6)))
    every = [*given.values(), *others]
    assert len(set(every)) == len(every) == 12

    for number, image in enumerate(others):
        with Image.open(servers[0].studies / f"{image}.png") as picture:
            empty = np.zeros(picture.size[::-1], np.uint8)
        label = write_png(tmp_path / "label.png", empty)
        assert servers[number % 2].save_label(image, label).ok
        assert "final" in servers[(number + 1) % 2].images()[image]["labels"], "at once"
        again = _next(servers[(number + 1) % 2], f"late {number}")
        assert again not in others, "it is labelled"


def test_weights_that_one_publishes_are_served_by_the_other(servers, tmp_path):
    images = sorted(servers[0].images())
    versions = []
    for threshold, server in zip((0.5, 0.2), servers, strict=True):
        file = threshold_weights(tmp_path / "new.pt", threshold=threshold)
        with open(file, "rb") as content:
            assert server.put(f"/model/{MODEL}", files={"file": content}).ok
        told = [
            one.post(f"/infer/{MODEL}", params={"image": images[0], "output": "json"})
            for one in servers
        ]
        found = [answer.json()["model_version"] for answer in told]
        assert found[0] == found[1]
        versions.append(found[0])
    assert versions[0] != versions[1]


def test_one_trains_at_a_time_and_the_other_is_told_who(servers):
    one, other = servers
    many = {**QUICK, "max_epochs": 10_000}
    assert one.post(f"/train/{MODEL}", json=many).ok
    try:
        one.wait_for(lambda: (one.model_dir / "runs" / MODEL / "holder.json").exists(), "run")
        refused = other.post(f"/train/{MODEL}", json=QUICK)
        assert_refused(
            refused, refused.status_code, "is being trained already", "by process", " on "
        )
        assert refused.status_code in (409, 429)
        shown = other.get("/viewer/training").json()["running"]
        assert [row["model"] for row in shown] == [MODEL] or not shown  # before its first step
    finally:
        assert one.delete("/train/").ok
    other.wait_for(lambda: other.post(f"/train/{MODEL}", json=QUICK).ok, "its turn")
    assert other.wait_for_training("DONE", "ERROR")["status"] == "DONE", other.log[-2000:]
    listed = [server.get(f"/model/info/{MODEL}").json()["versions"] for server in servers]
    assert listed[0] == listed[1] and listed[0][-1]["created"]
