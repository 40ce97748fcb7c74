"""Scores that several servers on the same studies measure, each once, and all use."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.tasks.registry import get_task
from lib.uncertainty.informativeness import Informativeness
from lib.weights.store import ModelStore
from monailabel_app.active import records as module
from monailabel_app.active.background import Background, ScoringSettings
from monailabel_app.active.records import Record, Records
from monailabel_app.active.samples import Samples
from monailabel_app.active.worker import Answer
from monailabel_app.studies.datastore import StudiesDatastore

TASK = get_task("nuclei_vhllrhe")
IMAGES = 12


def _record(value: float, passes: int = 0) -> Record:
    return Record("stamp", passes, Informativeness(value, value, 0.0, 0.5, np.zeros(2, np.float32)))


def _opened(file: Path, version: str = "one") -> Records:
    records = Records(file)
    records.open(version)
    return records


def test_what_one_server_adds_another_reads_and_neither_loses_a_line(tmp_path):
    file = tmp_path / "scores.jsonl"

    def add(server: int) -> None:
        records = _opened(file)
        for number in range(30):
            records.add(f"{server}-{number}", _record(number))

    reader = _opened(file)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert len(reader.all()) == len(_opened(file).all()) == 120
    first, *lines = file.read_text().splitlines()
    assert json.loads(first)["version"] == "one" and len(lines) == 120
    before = reader.changes
    _opened(file).add("0-0", _record(77))
    assert reader.get("0-0").measured.disagreement == 77 and reader.changes > before


def test_a_torn_line_of_a_killed_server_spoils_no_other(tmp_path, caplog):
    file = tmp_path / "scores.jsonl"
    one, other = _opened(file), _opened(file)
    one.add("a", _record(1))
    with open(file, "a") as lines:
        lines.write('{"id": "b", "stam')
    assert other.all().keys() == {"a"} and not caplog.records
    other.add("c", _record(3))
    assert one.all().keys() == other.all().keys() == _opened(file).all().keys() == {"a", "c"}
    assert "damaged line" in caplog.text


def test_records_of_other_weights_replace_those_before_at_all_servers(tmp_path):
    file = tmp_path / "scores.jsonl"
    one, other = _opened(file), _opened(file)
    one.add("a", _record(1))
    assert other.get("a")
    other.open("two")
    assert other.all() == {}
    other.add("b", _record(2))
    assert one.all() == {}, "the file is of other weights now"
    one.open("two")
    assert one.all().keys() == {"b"}


def test_samples_that_are_gone_are_left_out_and_the_file_is_written_anew_in_time(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "SPARE_LINES", 5)
    file = tmp_path / "scores.jsonl"
    one, other = _opened(file), _opened(file)
    for id in ("a", "b", "gone"):
        one.add(id, _record(0))
    one.keep({"a", "b"})
    assert one.all().keys() == {"a", "b"} and other.all().keys() == {"a", "b", "gone"}
    for number in range(12):
        one.add("a", _record(number))
    assert len(file.read_text().splitlines()) < 12
    assert other.all().keys() == {"a", "b"} and other.get("a").measured.disagreement == 11
    other.add("c", _record(5))
    assert one.get("c") and other.all().keys() == {"a", "b", "c"}


class _Counting(Background):
    """Measures nothing, and counts what it was asked for by all servers."""

    asked: Counter[str]

    def _ask(self, task, images, passes):
        self.asked[images[0]] += 1
        time.sleep(0.01)
        measured = Informativeness(0.5, 0.5, float(passes), 0.5, np.zeros(2, np.float32))
        return Answer(self.store.served_version(task.name), measured)


@pytest.fixture
def servers(tmp_path) -> list[_Counting]:
    """Two servers on one studies folder and one folder of models, that measure nothing yet."""
    studies, models = tmp_path / "studies", tmp_path / "models"
    studies.mkdir()
    models.mkdir()
    for number in range(IMAGES):
        Image.new("L", (32, 32), number).save(studies / f"image_{number:02}.png")
    (models / f"{TASK.name}.pt").write_bytes(b"weights")
    asked: Counter[str] = Counter()
    found = []
    for _ in range(2):
        store = ModelStore(models, tmp_path / "none")
        samples = Samples(StudiesDatastore(str(studies)))
        settings = ScoringSettings(device="cpu", precision="fp32", enabled="off")
        server = _Counting(samples, {TASK.name: TASK}, store, settings)
        server.asked = asked
        server.quiet.wait = lambda: None
        found.append(server)
    return found


def _measure(server: _Counting, start: threading.Barrier) -> None:
    start.wait()
    while not server._measure_all():
        pass


def test_two_servers_measure_each_sample_once_and_both_have_all(servers):
    for passes in (0, 8):
        if passes:
            servers[0].asked.clear()
            servers[1].request(TASK, "dropout_entropy")
            servers[0].request(TASK, "dropout_entropy")
        start = threading.Barrier(2)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_measure, servers, [start] * 2))
        for server in servers:
            while not server._measure_all():
                pass
        assert set(servers[0].asked.values()) == {1} and len(servers[0].asked) == IMAGES
        for server in servers:
            records = server.records(TASK).all()
            assert len(records) == IMAGES
            assert {record.passes >= passes for record in records.values()} == {True}


def test_what_another_server_measures_is_left_to_it_and_the_rest_is_done(servers):
    one, other = servers
    id = one._missing(TASK, one.samples.fitting(TASK), one.records(TASK), 0)[0][0]
    with other._claim(id).held():
        while not one._measure_all():
            pass
        assert id not in one.asked and len(one.asked) >= IMAGES / 2
    assert one._measure_all() and len(one.records(TASK).all()) == IMAGES
