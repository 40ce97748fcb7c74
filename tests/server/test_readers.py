"""Several readers on a real server: both labels after a restart, put back, compared, trained on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_support import MODEL, QUICK, Server, assert_refused, discs, read_png, write_png

from monailabel_app.web.users import Users

SIZE = 64, 64
SAVES = 200  # of both readers together


def mask(shift: int) -> np.ndarray:
    return np.roll((discs(*SIZE) > 100).astype(np.uint8), shift, axis=1)


def send(server: Server, image: str, file: Path, **sent: object) -> None:
    """Save a label as 3D Slicer does, who sends `sent` with it."""
    with open(file, "rb") as content:
        answer = server.put(
            "/datastore/label",
            params={"image": image, "tag": "final"},
            data={"params": json.dumps(sent)},
            files={"label": (file.name, content)},
            headers={"User-Agent": "Slicer/5.8", **server.headers},
        )
    assert answer.ok, answer.text


def versions(server: Server, image: str) -> list[dict[str, Any]]:
    answer = server.get("/datastore/label/versions", params={"image": image})
    assert answer.ok, answer.text
    return answer.json()["versions"]


def final(server: Server, image: str) -> np.ndarray:
    return read_png(server.get("/datastore/label", params={"label": image, "tag": "final"}).content)


def write_images(server: Server) -> None:
    for index in range(6):
        write_png(server.studies / f"cell_{index}.png", discs(*SIZE))


@pytest.fixture(scope="module")
def own(launch: Callable[..., Server]) -> Server:
    return launch(write_images)


def restart(server: Server, **conf: str) -> None:
    server.stop()
    server.conf.update(conf)
    server.start()


def test_nothing_is_lost_in_two_hundred_saves_of_two_readers_at_once(own, tmp_path):
    files = [
        write_png(tmp_path / f"{value}.png", np.full(SIZE, value, np.uint8))
        for value in range(1, SAVES // 2 + 1)
    ]

    def save(reader: str) -> Callable[[Path], None]:
        return lambda file: send(own, "cell_5", file, client_id=reader, value=file.stem)

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(save(name), file) for file in files for name in ("anna", "bert")]
        for job in jobs:
            job.result()
    found = versions(own, "cell_5")
    assert [one["version"] for one in found] == list(range(1, SAVES + 1))
    sent = Counter((one["reader"], one["info"]["value"]) for one in found)
    assert sent == Counter((name, file.stem) for file in files for name in ("anna", "bert"))
    assert (final(own, "cell_5") == int(found[-1]["info"]["value"])).all()
    for one in found[::37]:
        query = {"image": "cell_5", "version": one["version"]}
        content = own.get("/datastore/label/version", params=query).content
        assert (read_png(content) == int(one["info"]["value"])).all()


def test_both_labels_are_there_after_a_restart_and_training_takes_what_was_chosen(own, tmp_path):
    for index in range(4):
        for reader, shift in (("anna", 0), ("bert", 4)):
            file = write_png(tmp_path / f"{reader}.png", mask(shift))
            send(own, f"cell_{index}", file, client_id=reader)
    cases = {}
    for choice in ("latest", "consensus", "each"):
        restart(own, readers=choice)
        for index in range(4):
            found = versions(own, f"cell_{index}")
            assert [(one["reader"], one["client"]) for one in found] == [
                ("anna", "Slicer/5.8"),
                ("bert", "Slicer/5.8"),
            ]
            assert np.array_equal(final(own, f"cell_{index}"), mask(4))
        answer = own.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
        assert answer.ok, answer.text
        result = answer.json()
        cases[choice] = result["training_cases"] + result["validation_cases"]
    assert cases == {"latest": 5, "consensus": 5, "each": 10}  # cell_5 has two readers too


def test_readers_are_compared(own, tmp_path):
    report = own.get("/agreement", params={"image": "cell_0", "task": MODEL}).json()
    (row,) = report["masks"]["images"]
    both = 2 * (mask(0) & mask(4)).sum() / (mask(0).sum() + mask(4).sum())
    assert row["readers"] == ["anna", "bert"]
    assert row["dice"] == {"nuclei": pytest.approx(both)} and 0 < row["kappa"] < both
    everything = own.get("/agreement").json()
    (pair,) = everything["masks"]["pairs"]
    assert pair["readers"] == ["anna", "bert"] and pair["dice"]["foreground"]["n"] == 5
    assert everything["densities"] == {"exams": [], "pairs": []}
    assert_refused(own.get("/agreement?image=cell_9"), 404, "unknown image 'cell_9'")
    assert_refused(own.get("/agreement?task=nuclei_vhlrh"), 404, "did you mean")


def test_an_earlier_version_is_put_back(own, tmp_path):
    query = {"image": "cell_0", "version": 1, "client_id": "chief"}
    made = own.post("/datastore/label/restore", params=query).json()
    assert (made["reader"], made["restored_by"], made["restored_from"]) == ("anna", "chief", 1)
    assert np.array_equal(final(own, "cell_0"), mask(0))
    assert [one["reader"] for one in versions(own, "cell_0")] == ["anna", "bert", "anna"]
    refused = own.post("/datastore/label/restore?image=cell_0&version=9")
    assert_refused(refused, 404, "no version 9", "1, 2, 3")
    assert_refused(own.get("/datastore/label/versions?image=../x"), 400, "plain name")
    assert_refused(own.get("/datastore/label/version?image=cell_4&version=1"), 404, "none")


def test_what_only_the_server_fills_in_cannot_be_sent(own, tmp_path):
    file = write_png(tmp_path / "label.png", mask(2))
    send(own, "cell_4", file, client_id="cleo", restored_by="chief", restored_from=3, client="x")
    (one,) = versions(own, "cell_4")
    assert (one["restored_by"], one["restored_from"], one["client"]) == ("", 0, "Slicer/5.8")


def test_the_reader_is_who_logged_in_and_only_annotators_put_back(own, tmp_path):
    users, headers = Users.empty(), {}
    for name, role in (("doris", "annotator"), ("otto", "user")):
        users.set(name, role, f"password of {name}")
        headers[name] = {"Authorization": f"Bearer {users.new_token(name)}"}
    users.write(tmp_path / "users.json")
    own.headers = headers["doris"]
    restart(own, users=str(tmp_path / "users.json"))
    send(own, "cell_1", write_png(tmp_path / "label.png", mask(2)), client_id="anna", user="anna")
    assert [one["reader"] for one in versions(own, "cell_1")] == ["anna", "bert", "doris"]
    own.headers = headers["otto"]
    assert len(versions(own, "cell_1")) == 3 and own.get("/agreement?image=cell_1").ok
    answer = own.post("/datastore/label/restore?image=cell_1&version=1")
    assert answer.status_code == 403
    own.headers = headers["doris"]
    assert own.post("/datastore/label/restore?image=cell_1&version=1").ok
    assert versions(own, "cell_1")[-1]["restored_by"] == "doris"
    for path in ("/agreement", "/datastore/label/versions?image=cell_1"):
        assert own.get(path, headers={}).status_code == 401
    assert "Traceback" not in own.log
