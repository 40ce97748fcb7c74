"""The next best image: scores in the background, strategies over them, nobody given another's."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from server_support import MODEL, threshold_weights

from lib.active_learning.strategies import MAP_STRATEGIES, STRATEGIES
from lib.errors import InputError
from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.registry import get_task
from lib.uncertainty.informativeness import Informativeness
from lib.weights.store import ModelStore
from monailabel_app.active.background import Background, ScoringSettings
from monailabel_app.active.quiet import QUIET_SECONDS, Quiet
from monailabel_app.active.records import Record, Records
from monailabel_app.active.reopening import REOPENING
from monailabel_app.active.strategies import ActiveLearning
from monailabel_app.config import AppConfig
from monailabel_app.studies.datastore import StudiesDatastore

DENSITY = "density_birads"
SEGMENTATION = list(MAP_STRATEGIES)


@dataclass
class Site:
    """A studies folder, models and the active learning of a server over them."""

    folder: Path
    models: tuple[str, ...] = (MODEL,)

    def __post_init__(self) -> None:
        (self.folder / "models").mkdir()
        self.store = ModelStore(self.folder / "models", self.folder / "none")
        self.datastore = StudiesDatastore(str(self.folder / "studies"))
        self.restart()

    def restart(self) -> None:
        tasks = {name: get_task(name) for name in self.models}
        settings = ScoringSettings(device="cpu", precision="fp32", enabled="off")
        self.active = ActiveLearning(self.datastore, tasks, self.store, settings)
        self.active.rankings.patience = 60  # on a busy machine too, the first ranking is used
        self.strategies = self.active.strategies()

    def next(self, strategy: str, who: str = "anna", **request: str) -> dict:
        return self.active.next(self.strategies[strategy], {"client_id": who, **request})

    @property
    def records(self) -> Records:
        return self.active.background.records(get_task(self.models[0]))

    def write_scores(self, **disagreement: float) -> None:
        """Keep scores as if they had been measured, with features that tell images apart."""
        for index, (id, value) in enumerate(disagreement.items()):
            features = np.eye(len(disagreement), dtype=np.float32)[index]
            measured = Informativeness(value, value, value, 0.2, features)
            self.records.add(id, Record("", 8, measured))


def _write_images(folder: Path, count: int, side: int = 32) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        pixels, _ = nuclei_phantom(index, rows=side, columns=side, nuclei=3)
        Image.fromarray(pixels).save(folder / f"image_{index:02}.png")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of 24 small images without labels."""
    _write_images(tmp_path / "studies", 24)
    site = Site(tmp_path)
    threshold_weights(site.store.published_path(MODEL))
    return site


def test_every_strategy_of_the_served_kinds_is_offered_with_its_models(site):
    assert list(site.strategies) == [*SEGMENTATION, *REOPENING]
    for name in SEGMENTATION:
        info = site.strategies[name].info()
        assert info == {"description": STRATEGIES[name].description, "config": {"model": [MODEL]}}
    for name in REOPENING:
        assert site.strategies[name].info()["config"] == {"model": [MODEL], "id": ""}


@pytest.mark.parametrize("strategy", SEGMENTATION)
def test_twenty_who_ask_at_once_are_given_twenty_different_images(site, strategy):
    site.write_scores(**{f"image_{n:02}": n / 100 for n in range(10)})
    with ThreadPoolExecutor(20) as pool:
        given = list(pool.map(lambda n: site.next(strategy, f"reader {n}")["id"], range(20)))
    assert len(set(given)) == 20
    assert {site.next(strategy, f"reader {n}")["id"] for n in range(20, 24)}.isdisjoint(given)


def test_the_best_measured_image_is_given_with_its_scores(site):
    site.write_scores(image_03=0.2, image_07=0.9, image_11=0.5)
    sample = site.next("uncertainty", "anna")
    assert sample["id"] == "image_07" and sample["model"] == MODEL
    assert sample["scores"]["disagreement"] == 0.9
    assert sample["model_version"] == site.records.version
    assert Path(sample["path"]) == site.datastore.folder / "image_07.png"
    assert site.next("uncertainty", "bert")["id"] == "image_11"
    assert site.next("uncertainty", "anna")["id"] == "image_07", "it is still hers"


def test_without_scores_any_image_is_given_at_once(site):
    start = time.monotonic()
    given = {site.next("combined", f"reader {n}")["id"] for n in range(5)}
    assert len(given) == 5 and time.monotonic() - start < 10
    site.active.leases.drop(given)
    site.write_scores(image_03=0.2)
    site.restart()
    assert site.next("combined", "a")["id"] == "image_03"
    assert "scores" not in site.next("combined", "b"), "the only measured one is taken"


def test_a_labelled_image_is_not_given_and_its_neighbour_is_free_again(site, tmp_path):
    site.write_scores(image_03=0.2, image_07=0.9)
    first = site.next("uncertainty")["id"]
    label = tmp_path / "label.png"
    Image.fromarray(np.ones((32, 32), dtype=np.uint8)).save(label)
    site.datastore.save_label(first, str(label), "final", {})
    site.active.saved(first)
    assert site.next("uncertainty")["id"] == "image_03"


def test_a_strategy_that_does_not_fit_the_model_or_an_unknown_model_is_named(tmp_path):
    _write_images(tmp_path / "studies", 2)
    site = Site(tmp_path, (MODEL, DENSITY))
    with pytest.raises(InputError, match=f"'margin' is not for '{MODEL}'.*uncertainty"):
        site.next("margin", model=MODEL)
    with pytest.raises(InputError, match="unknown model 'nuclej'"):
        site.next("random", model="nuclej")
    assert site.next("margin")["model"] == DENSITY, "the first that it is for"


def test_models_that_follow_clicks_have_the_strategies_of_those_that_do_not(tmp_path):
    _write_images(tmp_path / "studies", 2)
    site = Site(tmp_path, ("nuclei_click",))
    assert {"random", "first", "uncertainty", "diversity"} <= set(site.strategies)
    assert "margin" not in site.strategies
    assert site.next("first", model="nuclei_click")["id"] == "image_00"


def test_an_exam_is_one_sample(tmp_path):
    write_exams(tmp_path / "studies", seed=3, exams=3, scale=0.02, labelled=0.34)
    site = Site(tmp_path, (DENSITY,))
    site.store.published_path(DENSITY).write_bytes(b"weights")
    samples = site.active.samples.all(get_task(DENSITY))
    names = {id.rsplit("_", 1)[0] for id in site.datastore.list_images()}
    assert len(samples) == len(names) == 3 and {len(own) for own in samples.values()} == {4}
    unlabelled = site.active.samples.unlabelled(get_task(DENSITY))
    assert len(unlabelled) == 2
    low, high = unlabelled
    site.write_scores(**{low: 0.1, high: 0.8})
    given = [site.next("margin", who) for who in ("anna", "bert")]
    assert [one["exam"] for one in given] == [high, low]
    assert all(one["id"] in unlabelled[one["exam"]] for one in given)


def test_records_survive_a_restart_and_a_torn_line_and_go_with_their_version(site):
    site.write_scores(image_03=0.2, image_07=0.9)
    version, file = site.records.version, site.records.file
    assert file.parent == site.datastore.shared_folder
    with open(file, "a") as lines:
        lines.write('{"id": "image_08", "stamp"')
    site.restart()
    found = site.records.all()
    assert site.records.version == version
    assert {id: one.measured.disagreement for id, one in found.items()} == {
        "image_03": 0.2,
        "image_07": 0.9,
    }
    assert np.array_equal(found["image_07"].measured.features, [0, 1])
    threshold_weights(site.store.published_path(MODEL), threshold=0.4)
    assert site.records.all() == {} and site.records.version != version
    site.write_scores(image_01=0.5)
    first, *lines = file.read_text().splitlines()
    assert json.loads(first)["version"] == site.records.version and len(lines) == 1


def test_a_background_process_measures_what_is_new_or_changed(site, tmp_path):
    for index in range(3, 24):
        site.datastore.remove_image(f"image_{index:02}")
    (site.datastore.folder / "image_02.png").write_bytes(b"no picture")
    task = get_task(MODEL)
    settings = ScoringSettings(device="cpu", precision="fp32", enabled="on", niceness=0)
    background = Background(site.active.samples, {MODEL: task}, site.store, settings)
    background.quiet.wait = lambda: None

    def measure() -> dict[str, Record]:
        while not background._measure_all():
            pass
        return background.records(task).all()

    try:
        first = measure()
        assert set(first) == {"image_00", "image_01", "image_02"}
        assert first["image_02"].measured is None and "image_02" in first["image_02"].error
        assert 0 < first["image_00"].measured.foreground < 1
        assert first["image_00"].passes == 0 and first["image_00"].measured.entropy == 0
        assert measure() == first, "nothing is measured twice"
        label = tmp_path / "label.png"
        Image.fromarray(np.zeros((32, 32), dtype=np.uint8)).save(label)
        site.datastore.save_label("image_00", str(label), "final", {})
        second = measure()
        assert second["image_00"].measured.foreground == 0, "that of the label"
        assert second["image_01"] is first["image_01"]
        background.request(task, "dropout_entropy")
        third = measure()
        assert third["image_01"].measured.entropy > 0
        threshold_weights(site.store.published_path(MODEL), threshold=0.3)
        fourth = measure()
        assert fourth["image_01"].measured.foreground > first["image_01"].measured.foreground
        assert background.records(task).version == site.store.served_version(MODEL)
    finally:
        background._stop_worker()


@pytest.mark.parametrize(
    ("given", "read"), [("auto", "auto"), ("ON", "on"), ("true", "on"), ("off", "off")]
)
def test_scoring_is_on_off_or_auto(given, read):
    assert AppConfig.from_conf({"scoring": given}).scoring == read
    with pytest.raises(InputError, match="--conf scoring sometimes: expected .*'sometimes'"):
        AppConfig.from_conf({"scoring": "sometimes"})


def test_the_background_waits_for_requests_but_not_for_ever():
    quiet = Quiet()
    with quiet.request():
        start = time.monotonic()
        quiet.wait(patience=0.4)
        assert 0.3 < time.monotonic() - start < 30
        start = time.monotonic()
    quiet.wait(patience=60)
    assert QUIET_SECONDS <= time.monotonic() - start < 30, "a moment of quiet after the last"
    waits = []
    for _ in range(3):  # the machine itself may hold one up
        start = time.monotonic()
        quiet.wait(patience=60)
        waits.append(time.monotonic() - start)
    assert min(waits) < QUIET_SECONDS / 2
