"""Active learning played through: fair, resumable, and honest about what it shows."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from training_samples import with_recipe

from benchmarks.active_learning import campaign
from benchmarks.active_learning import rounds as play
from benchmarks.active_learning.campaign import simulate
from benchmarks.active_learning.page import write_page
from benchmarks.active_learning.protocol import Protocol, fixed_steps, split_samples
from benchmarks.active_learning.report import gain_over, holm, labels_needed, summarise, verdicts
from benchmarks.harness.campaign import Execution
from lib.classification.cases import list_views
from lib.data.studies import list_items
from lib.errors import InputError
from lib.phantoms.nuclei import nuclei_phantom

QUICK = Execution("cpu", "fp32", progress=False, command="the command")
STRATEGIES = ("random", "uncertainty", "combined")


def _protocol(task, out: Path, **changes) -> Protocol:
    plain = {"strategies": STRATEGIES, "counts": (2, 4), "seeds": (0, 1), "test_share": 0.3}
    plain |= {"task": fixed_steps(task, steps=3), "out": out, "execution": QUICK}
    return Protocol(**{**plain, **changes})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Return 14 small labelled images."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for number in range(14):
        image, label = nuclei_phantom(number, rows=32, columns=32, nuclei=4)
        PillowImage.fromarray(image).save(folder / "images" / f"nucleus_{number}.png")
        PillowImage.fromarray(label).save(folder / "labels" / f"nucleus_{number}.png")
    return list_items(folder, True)


@pytest.fixture(scope="module")
def small(task):
    return replace(task, training=replace(task.training, batch_size=2))


@pytest.fixture(scope="module")
def played(many, small, tmp_path_factory):
    """Return the folder, the report and what was said of a whole small simulation."""
    out, said = tmp_path_factory.mktemp("sim"), []
    return out, simulate(_protocol(small, out), many, said.append), said


def test_no_image_of_the_test_part_is_ever_labelled(played, many, small, tmp_path):
    _, report, _ = played
    samples = split_samples(many, _protocol(small, tmp_path))
    tested = {item.id for item in samples.test}
    assert report["data"]["test"] == len(tested) > 0
    for seed in report["seeds"]:
        for curve in seed["curves"].values():
            assert [point["labels"] for point in curve] == [2, 4]
            assert set(curve[0]["ids"]) <= set(curve[1]["ids"]) <= set(samples.pool)
            assert not tested & set(curve[1]["ids"])


def test_strategies_of_a_seed_share_the_first_model_and_seeds_do_not(played):
    out, report, _ = played
    first = [{tuple(c[0]["ids"]) for c in seed["curves"].values()} for seed in report["seeds"]]
    assert [len(each) for each in first] == [1, 1]
    assert first[0] != first[1]
    trained = sorted(path.parent.name for path in out.glob("*/result.json"))
    assert len(trained) == 2 * (1 + len(STRATEGIES) + 1)


def test_groups_are_not_separated(many, small, tmp_path):
    paired = [replace(item, group=f"g{place // 2}") for place, item in enumerate(many)]
    samples = split_samples(paired, _protocol(small, tmp_path))
    kept = {item.key for own in samples.pool.values() for item in own}
    assert not kept & {item.key for item in samples.test}


def test_a_finished_simulation_trains_nothing_again(played, many, small, monkeypatch):
    out, report, _ = played

    def refuse(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(play, "fit", refuse)
    again = simulate(_protocol(small, out), many, lambda line: None)
    assert again["strategies"] == report["strategies"]


def test_a_killed_simulation_goes_on_and_ends_alike(played, many, small, tmp_path, monkeypatch):
    _, report, _ = played
    train, done = play.fit, []

    def fail(*args):
        if len(done) == 4:
            raise RuntimeError("power cut")
        done.append(args)
        return train(*args)

    with monkeypatch.context() as patch:
        patch.setattr(play, "fit", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            simulate(_protocol(small, tmp_path), many, lambda line: None)
    again = simulate(_protocol(small, tmp_path), many, lambda line: None)
    for name, row in report["strategies"].items():
        assert again["strategies"][name]["labels_needed"] == pytest.approx(row["labels_needed"])
    assert again["all_labels"] == pytest.approx(report["all_labels"])


def test_played_in_parts_by_several_processes_it_ends_alike(
    played, many, small, tmp_path, monkeypatch
):
    _, report, _ = played

    def run_here(work, at_once, on_end):
        """Do what processes would, without their start."""
        for job in pickle.loads(pickle.dumps(work)):
            job.call(*job.args)
            on_end(job.name, 0)

    monkeypatch.setattr(campaign, "run_in_processes", run_here)
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    said = []
    protocol = _protocol(small, tmp_path, seeds=(0,), strategies=("random",), jobs=2)
    again = simulate(protocol, many, said.append)
    assert said[1:] == [
        f"seed 0, {part}: ended, 0" for part in ("first labels", "all labels", "random")
    ], "all was found after them, nothing trained"
    curve, before = (one["seeds"][0]["curves"]["random"] for one in (again, report))
    assert [point["ids"] for point in curve] == [point["ids"] for point in before]
    scores = [point["score"] for point in before]
    assert [point["score"] for point in curve] == pytest.approx(scores, abs=1e-3)


def test_only_what_is_missing_is_given_to_processes(played, many, small, monkeypatch):
    out, _, _ = played
    given = []
    monkeypatch.setattr(campaign, "run_in_processes", lambda work, *args: given.extend(work))
    protocol = _protocol(small, out, strategies=(*STRATEGIES, "diversity"), seeds=(0, 1, 2))
    player = play.Player(protocol, split_samples(many, protocol), lambda line: None)
    campaign.play_in_processes(player)
    assert [work.name for work in given] == [
        "seed 2, first labels",
        "seed 2, all labels",
        "seed 2, uncertainty",
        "seed 2, combined",
        *(f"seed {seed}, diversity" for seed in (0, 1, 2)),
        "seed 2, random",
    ]
    assert given[2].after == {"seed 2, first labels"} and not given[1].after


def test_other_labels_or_steps_are_trained_anew(played, many, small, monkeypatch):
    out, _, _ = played
    samples = split_samples(many, _protocol(small, out))
    player = play.Player(_protocol(small, out), samples, lambda line: None)
    stored = json.loads((out / "seed0-start-2" / "result.json").read_text())
    assert player.train("seed0-start-2", stored["ids"], 0).figures == stored["figures"]
    monkeypatch.setattr(play, "fit", lambda *args: pytest.fail("as wanted"))
    others = [id for id in samples.pool if id not in stored["ids"]][:2]
    with pytest.raises(pytest.fail.Exception, match="as wanted"):
        player.train("seed0-start-2", others, 0)


def test_rounds_may_go_on_from_the_weights_before(many, small, tmp_path):
    protocol = _protocol(small, tmp_path, continued=True, seeds=(0,), strategies=("random",))
    simulate(protocol, many, lambda line: None)
    identity = json.loads((tmp_path / "seed0-random-4" / "result.json").read_text())["identity"]
    first = json.loads((tmp_path / "seed0-start-2" / "result.json").read_text())["identity"]
    assert identity["from"] == first


def test_an_exam_is_labelled_as_a_whole(exam_studies, exam_task, tmp_path):
    task = with_recipe(exam_task, schedule="constant")
    views = list_views(exam_studies, task, True)
    protocol = _protocol(task, tmp_path, strategies=("random", "margin"), seeds=(0,), counts=(3, 5))
    report = simulate(protocol, views, lambda line: None)
    exams = {view.sample for view in views}
    chosen = report["seeds"][0]["curves"]["margin"][-1]["ids"]
    assert len(chosen) == 5 and set(chosen) <= exams
    assert report["protocol"]["metric"] == "exam_kappa"


def test_the_page_tells_protocol_table_and_verdicts(played, tmp_path):
    _, report, _ = played
    page = write_page(report, tmp_path / "page.md", "figures.json")
    content = page.read_text()
    assert "| random |" in content and "| combined |" in content
    assert "`the command`, [JSON](figures.json)" in content
    assert "does not beat random" in content, "two seeds cannot show that"
    assert "combined: median " in content and "counts as reached with 4: " in content
    assert (tmp_path / "page.png").stat().st_size > 5000


def test_what_cannot_be_played_fairly_is_refused(small, tmp_path):
    with pytest.raises(InputError, match="lack 'random': add it"):
        _protocol(small, tmp_path, strategies=("diversity",))
    with pytest.raises(InputError, match="must grow over 2 rounds"):
        _protocol(small, tmp_path, counts=(4, 4))
    with pytest.raises(InputError, match="unknown strategy 'margin'"):
        _protocol(small, tmp_path, strategies=("random", "margin"))
    task = with_recipe(small, schedule="plateau")
    with pytest.raises(InputError, match="without a look at the test set"):
        _protocol(task, tmp_path)


def test_more_labels_than_the_pool_has_are_refused(many, small, tmp_path):
    with pytest.raises(InputError, match="the last round has 40 labels, the pool"):
        split_samples(many, _protocol(small, tmp_path, counts=(2, 40)))


# --- figures -------------------------------------------------------------------------------------


def test_labels_needed_lie_on_the_line_between_rounds():
    assert labels_needed([4, 8, 16, 100], [0.2, 0.4, 0.6, 0.8], 0.5) == 12
    assert labels_needed([4, 8, 100], [0.2, 0.4, 0.8], 0.6) == pytest.approx(54)
    assert labels_needed([4, 8, 100], [0.7, 0.4, 0.8], 0.6) == 4


def test_five_seeds_of_five_can_be_significant_and_four_cannot():
    ours, theirs = np.array([5.0, 6, 7, 8, 9]), np.array([1.0, 2, 3, 5, 4])
    found = gain_over(ours, theirs)
    assert found["p"] == pytest.approx(1 / 32)
    assert found["better_in"] == found["of"] == 5
    assert found["interval"][0] <= found["mean"] <= found["interval"][1]
    assert gain_over(ours[:4], theirs[:4])["p"] == pytest.approx(1 / 16)
    assert gain_over(theirs, ours)["p"] == pytest.approx(1)
    assert gain_over(ours, ours)["p"] == 1


def test_holm_grows_with_the_tests():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )


def _seed(seed: int, random: list[float], better: list[float]) -> dict:
    def curve(scores):
        return [{"labels": n, "score": s} for n, s in zip((4, 8, 16), scores, strict=True)]

    curves = {"random": curve(random), "diversity": curve(better)}
    return {"seed": seed, "curves": curves, "all": {"labels": 100, "score": 0.8}}


def _report(seeds: list[dict]) -> dict:
    table = summarise(seeds, 100, 0.95)
    return {"strategies": table, "protocol": {"target": 0.95}, "data": {"pool": 100}}


def test_a_strategy_that_wins_in_every_seed_is_said_to_need_fewer_labels():
    seeds = [_seed(n, [0.4, 0.5, 0.6 + n / 100], [0.4, 0.7, 0.79]) for n in range(5)]
    report = _report(seeds)
    row = report["strategies"]["diversity"]
    assert row["in_rounds"] == 5 and report["strategies"]["random"]["in_rounds"] == 0
    assert row["labels_needed_mean"] < 16
    assert "**diversity** needs fewer labels than random" in verdicts(report)[0]


def test_what_lies_beyond_the_rounds_counts_no_more_than_the_last_round():
    seeds = [_seed(n, [0.4, 0.5, 0.6], [0.4, 0.7, 0.79]) for n in range(5)]
    report = _report(seeds)
    row, base = report["strategies"]["diversity"], report["strategies"]["random"]
    assert base["labels_needed_median"] > 16
    saved = 16 - row["labels_needed_median"]
    assert row["labels_saved_in_rounds"]["mean"] == pytest.approx(saved)
    assert row["labels_saved"]["mean"] > saved
    assert row["labels_saved_in_rounds"]["p"] == pytest.approx(1 / 32)


def test_a_strategy_that_loses_once_is_not():
    seeds = [_seed(n, [0.4, 0.5, 0.6], [0.4, 0.7, 0.79]) for n in range(4)]
    seeds.append(_seed(4, [0.4, 0.79, 0.79], [0.4, 0.5, 0.5]))
    assert "does not beat random" in verdicts(_report(seeds))[0]


def test_a_simulation_may_start_from_weights_as_a_server_does(many, small, tmp_path):
    out = tmp_path / "first"
    protocol = _protocol(small, out, strategies=("random",), seeds=(0,), continued=True)
    simulate(protocol, many)
    weights = out / "seed0-start-2" / "best.pt"
    later = replace(protocol, out=tmp_path / "later", init_from=weights)
    report = simulate(later, many)
    assert report["protocol"]["init_from"] == "best.pt"
    starts = {
        file.parent.name.split("-")[1]: "init" in json.loads(file.read_text())["identity"]
        for file in later.out.glob("*/result.json")
    }
    # a later round goes on from the one before
    assert starts == {"start": True, "random": False, "all": True}
    page = write_page(report, tmp_path / "page.md", "a.json").read_text()
    assert "(the first from the weights best.pt)" in page
    assert simulate(later, many)["seeds"] == report["seeds"], "what was played is found again"
