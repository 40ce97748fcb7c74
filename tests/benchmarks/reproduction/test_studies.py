"""Published studies run again: resumable, one failing run apart, judged by the printed figures."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.campaign import Execution
from benchmarks.harness.processes import Job, run_in_processes
from benchmarks.reproduction import campaign as campaigns
from benchmarks.reproduction import run as runs_module
from benchmarks.reproduction.campaign import reproduce
from benchmarks.reproduction.pages.panel import choose_panel
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.published.catalogue import STUDIES, get_study
from benchmarks.reproduction.published.recipes import NUCLEI_RECIPES, differences, thesis_setting
from benchmarks.reproduction.splits import hash_split
from benchmarks.reproduction.study import Bound, Printed, Variant
from lib.data.studies import in_validation
from lib.data.targets import make_target
from lib.errors import InputError, NotFoundError
from lib.segmentation.instances import separate
from lib.tasks.image_spec import AugmentSpec
from lib.tasks.registry import TASKS
from lib.training.loop import fit
from lib.weights.checkpoint import load_checkpoint

THESIS_NUCLEI = STUDIES["thesis-nuclei"]
QUICK = Execution("cpu", "fp32", progress=False, command="a test")
PATCH = (("patch_size", 32), ("batch_size", 2))


@pytest.fixture
def study(task, monkeypatch):
    """A study of two variants with small networks, the second expected to collapse."""
    for name in ("tiny_a", "tiny_b"):
        monkeypatch.setitem(TASKS, name, replace(task, name=name))
    printed = Printed(loss=0.1, mean_iou=0.9, accuracy=0.95, precision=0.9, recall=0.9)
    low, high = ((Bound("mean_iou", value, "Tab. 2"),) for value in (0.0, 1.0))
    return replace(
        THESIS_NUCLEI,
        variants=(
            Variant(name="A", task="tiny_a", printed=printed, bounds=low),
            Variant(
                name="B",
                task="tiny_b",
                printed=printed,
                bounds=(Bound("mean_iou", 1.0, "Tab. 2"),),
                recipes=("thesis", "ours"),
            ),
        ),
    )


@pytest.fixture
def ask(study, tmp_path):
    """Return a function that makes a campaign of 4 steps."""

    def make(variants="all", **changes):
        plain = {"steps": 4, "execution": QUICK, "changes": PATCH, "data_name": "phantoms"}
        plain |= {"study": study, "out": tmp_path / "out"}
        plain["variants"] = tuple(study.choose(variants))
        return Campaign(**{**plain, **changes})

    return make


def _quiet(line: str) -> None:
    pass


def test_the_study_has_the_printed_figures_and_its_rows():
    printed = {variant.name: variant.printed for variant in THESIS_NUCLEI.variants}
    assert printed["VHLLRHe"] == Printed(
        loss=0.2114, mean_iou=0.9173, accuracy=0.98196, precision=0.94045, recall=0.903635
    )
    assert printed["U3CLR"].recall == pytest.approx(0.861195)
    bounds = {variant.name: variant.bounds for variant in THESIS_NUCLEI.variants}
    assert bounds["VCR"] == (Bound("accuracy", 0.977037, "Tab. 3"),)
    assert bounds["HUV"] == (Bound("mean_iou", 0.8864, "Tab. 2"),)
    assert bounds["VDLRHe"][0].value == 0.90
    judged = [variant for variant in THESIS_NUCLEI.variants if variant.bounds]
    assert len(judged) == 8
    assert {variant.task for variant in judged} <= set(TASKS)


def test_accuracy_precision_and_recall_imply_the_two_class_mean_iou():
    implied = {v.name: v.printed.implied_mean_iou for v in THESIS_NUCLEI.variants}
    for variant in THESIS_NUCLEI.variants:
        if variant.name in ("U3CLR", "U5HLLR", "HUV", "VHLLRHe", "VDLRHe"):
            assert implied[variant.name] == pytest.approx(variant.printed.mean_iou, abs=1e-4)
    assert implied["VCR"] == pytest.approx(0.8929, abs=1e-4), "which Tab. 2 prints of VCLR"
    assert implied["U-Net 2015"] is None


def test_the_thesis_recipe_has_the_thesis_values():
    row = thesis_setting(TASKS["nuclei_vhllrhe"])
    training = row.training
    assert (training.optimizer, training.learning_rate, training.schedule) == (
        *("adam", 1e-4, "constant"),
    )
    assert (training.batch_size, training.patch_size, training.gradient_clip) == (1, 256, 0)
    assert (training.early_stop_patience, training.weight_decay) == (0, 0)
    assert row.target.gap == 1
    assert row.augment == AugmentSpec(flips=True)
    assert row.network == TASKS["nuclei_vhllrhe"].network
    assert training.loss == TASKS["nuclei_vhllrhe"].training.loss
    assert NUCLEI_RECIPES["thesis"].weights == "last"
    assert (row.output.separation, row.output.gap) == ("components", row.target.gap)


def test_differences_are_read_from_the_rows():
    rows = [TASKS["nuclei_vhllrhe"], TASKS["nuclei_huv"]]
    found = {
        entry["option"]: entry
        for entry in differences([(row.name, thesis_setting(row), row) for row in rows])
    }
    assert found["target.gap"]["published"] == "1"
    assert found["training.learning_rate"]["published"] == "0.0001"
    assert found["training.batch_size"]["rows"] == ["nuclei_vhllrhe", "nuclei_huv"]
    assert "training.steps" not in found
    assert "training.loss" not in found


def test_what_was_eroded_between_neighbours_grows_back():
    label = np.zeros((24, 24), dtype=np.int32)
    label[4:14, 2:10], label[4:14, 10:20], label[17:22, 3:8] = 1, 2, 3
    eroded = make_target(label, thesis_setting(TASKS["nuclei_huv"]).target)[0]
    assert (eroded != (label > 0)).sum() >= 20
    output = thesis_setting(TASKS["nuclei_huv"]).output
    objects = separate(eroded > 0, output)
    assert ((objects > 0) == (label > 0)).all()
    assert len(np.unique(objects)) == 4
    assert not separate(np.zeros((5, 5), bool), output).any()


def test_the_test_part_is_never_trained_on_nor_chooses_the_step(items):
    split = hash_split(items, THESIS_NUCLEI)
    assert {item.id for item in split.test} == {i.id for i in items if in_validation(i.id, 0.3)}
    training = {item.id for item in split.training}
    assert split.validation_ids < training
    assert not training & {item.id for item in split.test}
    few = hash_split(items[:3], THESIS_NUCLEI)
    assert [few.as_dict()[part] for part in ("test", "validation", "training")] == [1, 1, 1]
    with pytest.raises(InputError, match="2 labelled images in 2 groups leave none for the test"):
        hash_split(items[:2], THESIS_NUCLEI)


def test_a_study_is_trained_tested_and_judged(ask, items, tmp_path):
    report = reproduce(ask(), items, _quiet)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(
        json.dumps(report)
    )
    names = [(run["variant"], run["recipe"], run["status"]) for run in report["runs"]]
    assert names == [("A", "ours", "done"), ("B", "thesis", "done"), ("B", "ours", "done")]
    assert [run["reached"] for run in report["runs"]] == [True, False, False]
    run = report["runs"][0]
    assert {"mean_iou", "accuracy", "precision", "recall", "ap50"} <= set(run["pooled"])
    assert set(run["intervals"]) == set(run["pooled"])
    assert run["history"]["step"] == [1, 2, 3, 4]
    assert len(run["history"]["loss"]) == len(run["history"]["mean_iou"]) == 4
    assert run["parameters"] > 1000
    assert run["patches_per_second"] > 0
    assert run["command"] == "a test"
    assert {"name", "cores", "threads"} <= set(run["machine"])
    assert "images" not in run
    parts = report["data"]["sources"]["studies"]
    assert (parts["images"], parts["test"] + parts["validation"] + parts["training"]) == (8, 8)
    assert report["seeds"] == [0]
    assert report["steps"] == [4]


def test_the_last_step_is_tested_under_the_thesis_recipe(ask, items, tmp_path):
    report = reproduce(ask("tiny_b", recipe="thesis", changes=()), items, _quiet)
    weights = report["runs"][0]["weights"]
    assert (weights["chosen"], weights["step"], weights["file"]) == ("last", 4, "best.pt")
    folder = tmp_path / "out" / report["runs"][0]["folder"]
    assert folder.name == "tiny_b-thesis-seed0"
    assert load_checkpoint(folder / "best.pt").provenance["step"] == 4
    assert report["runs"][0]["identity"]["task"]["training"]["batch_size"] == 1


def test_a_finished_run_is_read_and_not_repeated(ask, items, monkeypatch):
    first = reproduce(ask("tiny_a"), items, _quiet)

    def refuse(*args):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(runs_module, "fit", refuse)
        again = reproduce(ask("tiny_a"), items, _quiet)
    assert again["runs"] == first["runs"]
    other = reproduce(ask("tiny_a", steps=2, seeds=(0, 1)), items, _quiet)
    assert [run["steps"] for run in other["runs"]] == [2, 2]
    assert other["summary"][0]["figures"]["mean_iou"].keys() == {"mean", "sd"}
    assert other["summary"][0]["reached"] == 2


def test_a_failing_run_is_reported_and_the_others_go_on(ask, items, monkeypatch):
    from lib.errors import DivergedError

    def fit_or_fail(task, *args):
        if task.name == "tiny_a":
            raise DivergedError("the loss of 'tiny_a' is no longer finite at step 3")
        return fit(task, *args)

    monkeypatch.setattr(runs_module, "fit", fit_or_fail)
    lines = []
    report = reproduce(ask(recipe="ours"), items, lines.append)
    assert [run["status"] for run in report["runs"]] == ["failed", "done"]
    assert report["runs"][0]["error"] == "DivergedError"
    assert "no longer finite at step 3" in report["runs"][0]["reason"]
    assert report["summary"][0]["failed"] == 1
    assert any("failed: the loss of 'tiny_a'" in line for line in lines)
    monkeypatch.setattr(runs_module, "fit", fit)
    report = reproduce(ask(recipe="ours"), items, _quiet)
    assert [run["status"] for run in report["runs"]] == ["done", "done"]


def test_runs_on_other_images_are_left_out_and_named(ask, items):
    reproduce(ask("tiny_a"), items, _quiet)
    report = reproduce(ask("tiny_b", recipe="ours"), items[:-1], _quiet)
    assert [run["variant"] for run in report["runs"]] == ["B"]
    assert report["left_out"] == ["tiny_a-ours-seed0"]


def test_a_run_whose_process_dies_is_reported(ask, items, monkeypatch):
    def die(work, at_once, on_end, on_poll):
        for job in work:
            on_end(job.name, -9)

    monkeypatch.setattr(campaigns, "run_in_processes", die)
    report = reproduce(ask("tiny_a", jobs=2), items, _quiet)
    assert report["runs"][0]["reason"] == "its process ended with status -9"


def test_processes_run_at_once_and_one_that_fails_takes_none_with_it():
    ended = {}
    work = [Job(f"run{status}", sys.exit, (status,)) for status in (0, 3, 0)]
    work[2] = replace(work[2], name="run2")
    run_in_processes(work, 2, lambda name, status: ended.update({name: status}))
    assert ended == {"run0": 0, "run3": 3, "run2": 0}


def test_a_call_waits_for_those_it_comes_after_and_those_behind_it_do_not():
    order = []
    work = [
        Job("slow", time.sleep, (2,)),
        Job("needs slow", sys.exit, (0,), frozenset({"slow"})),
        Job("free", sys.exit, (0,)),
    ]
    run_in_processes(work, 2, lambda name, status: order.append(name))
    assert order == ["free", "slow", "needs slow"]


def test_names_of_variants_recipes_and_studies_are_looked_up(ask, items):
    assert get_study("thesis-nuclei") is STUDIES["thesis-nuclei"]
    with pytest.raises(NotFoundError, match="unknown study 'thesis-nucle': did you mean"):
        get_study("thesis-nucle")
    chosen = THESIS_NUCLEI.choose("VCR, nuclei_huv,nuclei_vcr")
    assert [variant.name for variant in chosen] == ["VCR", "HUV"]
    with pytest.raises(NotFoundError, match="unknown variant 'nuclei_hub': did you mean 'nuclei_h"):
        THESIS_NUCLEI.choose("nuclei_hub")
    with pytest.raises(InputError, match="no variant given"):
        THESIS_NUCLEI.choose(" ")
    with pytest.raises(NotFoundError, match="unknown recipe 'thesys': did you mean 'thesis'"):
        reproduce(ask(recipe="thesys"), items, _quiet)


def test_the_panel_has_an_image_of_each_kind(tmp_path: Path):
    from lib.data.studies import list_items
    from lib.phantoms.nuclei import write_nuclei_studies

    write_nuclei_studies(tmp_path, 3, 3)
    chosen = choose_panel(list_items(tmp_path, labelled=True))
    assert {kind: item.id.split("_")[0] for kind, item in chosen.items()} == {
        "fluorescence": "fluorescence",
        "stained": "histology",
    }
