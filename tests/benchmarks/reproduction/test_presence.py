"""Studies of what is often absent: variants of one row, initial weights, the always-empty mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.campaign import Execution
from benchmarks.reproduction import initial_weights
from benchmarks.reproduction.campaign import reproduce
from benchmarks.reproduction.pages.segmentation_text import text
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.sources import study_items
from benchmarks.reproduction.splits import always_empty, hash_split
from benchmarks.reproduction.study import Printed
from lib.data.studies import list_items
from lib.datasets.importers import IMPORTERS
from lib.errors import InputError
from lib.io.labels import read_label
from lib.phantoms.ultrasound.studies import write_nerve_phantoms
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint, save_checkpoint

BUSI, THESIS_NERVE = STUDIES["busi"], STUDIES["thesis-nerve"]
ROW = "nerve_vhllrhe"
QUICK = Execution("cpu", "fp32", progress=False, command="a test")


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory):
    """Four subjects of three frames in the published layout."""
    folder = tmp_path_factory.mktemp("data") / "kaggle"
    write_nerve_phantoms(folder, subjects=4, frames=3, size=(48, 64), contradictions=0)
    return folder


@pytest.fixture(scope="module")
def frames(kaggle, tmp_path_factory):
    studies = tmp_path_factory.mktemp("data") / "studies"
    IMPORTERS["nerve"].run(kaggle, studies)
    return list_items(studies, labelled=True)


@pytest.fixture
def small(monkeypatch):
    """Narrow the networks of the row and of the thesis's nuclei, keep all else of them."""
    for name in (ROW, "nuclei_vhllrhe"):
        row = TASKS[name]
        network = replace(
            row.network, kernel_size=3, channels=(4, 8), convolutions=(1, 1), norm="none"
        )
        input = replace(row.input, longest_side=0)
        monkeypatch.setitem(TASKS, name, replace(row, network=network, input=input))
    monkeypatch.setattr("benchmarks.reproduction.sources.NUCLEI", 4)


@pytest.fixture
def ask(small, tmp_path):
    def make(variants="all", study=THESIS_NERVE, **changes):
        plain = {"steps": 2, "execution": QUICK, "data_name": "phantoms"}
        plain["changes"] = (("patch_size", 16), ("batch_size", 2))
        plain |= {"study": study, "out": tmp_path / "out"}
        plain["variants"] = tuple(study.choose(variants))
        return Campaign(**{**plain, **changes})

    return make


def _quiet(line: str) -> None:
    pass


def test_the_nerve_study_has_the_figures_of_table_4():
    rows = [
        (moment.loss, moment.mean_iou, moment.steps, variant.name)
        for variant in THESIS_NERVE.variants
        for moment in (variant.printed, *variant.other_steps)
        if variant.task == ROW
    ]
    assert sorted(rows) == [
        (0.1386, 0.4937, 25000, "Dice_Lr1e3"),
        (0.1386, 0.4937, 25000, "Dice_Lr1e4"),
        (0.2432, 0.6038, 25321, "From_Prior"),
        (0.2537, 0.6105, 25000, "No_Prior"),
        (0.2983, 0.4954, 20015, "No_Prior"),
        (0.2989, 0.4940, 30000, "No_Prior"),
        (0.3024, 0.4937, 20423, "From_Prior"),
        (0.3084, 0.4937, 30000, "From_Prior"),
        (0.9042, 0.5825, 25000, "Dice_Lr1e5"),
    ]
    assert THESIS_NERVE.variants[0].printed == Printed(loss=0.2537, mean_iou=0.6105, steps=25000)


def test_variants_of_one_row_differ_in_recipe_and_have_runs_of_their_own(ask):
    runs = ask(steps=None).runs()
    assert len({run.folder for run in runs}) == len(runs) == 11
    assert runs[-2].name == f"{ROW}-dice_lr1e5-ours-seed0"
    assert (runs[-1].task.name, runs[-1].recipe) == ("nerve_lite", "ours")
    dice = {run.variant: run.task.training for run in runs if run.variant.startswith("Dice")}
    assert {name: recipe.learning_rate for name, recipe in dice.items()} == {
        **{"Dice_Lr1e3": 1e-3, "Dice_Lr1e4": 1e-4, "Dice_Lr1e5": 1e-5},
    }
    assert {recipe.loss for recipe in dice.values()} == {"dice"}
    assert {run.task.training.steps for run in runs} == {THESIS_NERVE.steps}
    ours, published = (THESIS_NERVE.row(THESIS_NERVE.variants[0], r) for r in ("ours", "thesis"))
    assert ours == TASKS[ROW]
    assert published.network == TASKS["nuclei_vhllrhe"].network
    assert (published.training.batch_size, published.training.learning_rate) == (1, 1e-4)
    assert published.target.maps == ("foreground",)
    known = THESIS_NERVE.row(THESIS_NERVE.variants[-1], "thesis").network
    assert known == replace(TASKS["nerve_lite"].network, out_channels=1, pooled_channels=0)


def test_variants_of_one_row_are_chosen_by_name_or_all_by_the_row():
    names = [variant.name for variant in THESIS_NERVE.choose("dice_lr1e5, From_Prior")]
    assert names == ["Dice_Lr1e5", "From_Prior"]
    of_the_row = [variant for variant in THESIS_NERVE.variants if variant.task == ROW]
    assert len(of_the_row) == 5 and THESIS_NERVE.choose(ROW) == of_the_row


def test_the_always_empty_mask_scores_what_a_collapsed_network_does(frames):
    figures = always_empty(frames)
    labels = [read_label(item.label) for item in frames]
    share = np.mean([label.mean() for label in labels])
    assert figures["mean_iou"] == pytest.approx((1 - share) / 2)
    absent = np.mean([not label.any() for label in labels])
    assert figures["dice_kaggle"] == pytest.approx(absent)
    assert 0.3 < absent < 0.7
    assert (figures["dice_positive"], figures["presence_auc"], figures["found"]) == (0, 0.5, 0)


def test_the_nerve_study_runs_end_to_end_with_priors(ask, frames, tmp_path):
    report = reproduce(ask("No_Prior,From_Prior"), frames, _quiet)
    assert [(run["variant"], run["recipe"], run["status"]) for run in report["runs"]] == [
        *[("No_Prior", "thesis", "done"), ("No_Prior", "ours", "done")],
        *[("From_Prior", "thesis", "done"), ("From_Prior", "ours", "done")],
    ]
    assert "prior" not in report["runs"][0]
    prior = report["runs"][3]["prior"]
    assert prior["weights"] == "a run on 4 phantoms of nuclei"
    assert (prior["task"], prior["step"], prior["tensors_fresh"]) == (f"{ROW}_prior", 1, [])
    assert (tmp_path / "out" / report["runs"][3]["folder"] / "prior" / "best.pt").is_file()
    assert {"dice_kaggle", "presence_auc"} <= set(report["summary"][1]["figures"])
    assert report["data"]["split_by"] == "group"
    sizes = report["data"]["sources"]["studies"]
    assert (sizes["images"], sizes["groups"], sizes["test"] % 3) == (12, 4, 0)
    assert report["panel"].keys() <= {"nerve", "empty"}

    page = text(report, {}, "report.json")
    assert "| always the empty mask | - | - | - |" in page
    assert "From_Prior (ours), seed 0, starts from a run on 4 phantoms of nuclei" in page
    assert f"{sizes['test_groups']} of 4 groups" in page
    again = reproduce(ask("No_Prior,From_Prior"), frames, _quiet)
    assert again["runs"] == report["runs"]


def test_weights_are_taken_as_given_else_as_shipped_if_they_fit(ask, frames, tmp_path, task):
    first = reproduce(ask("No_Prior", recipe="thesis"), frames, _quiet)
    weights = tmp_path / "out" / first["runs"][0]["folder"] / "best.pt"
    shipped = ask("From_Prior", recipe="thesis", shipped=weights)
    run = reproduce(shipped, frames, _quiet)["runs"][1]
    assert run["prior"]["weights"] == "best.pt"
    assert (run["prior"]["task"], run["prior"]["tensors_fresh"]) == (ROW, [])
    foreign = save_checkpoint(
        tmp_path / "foreign.pt", replace(load_checkpoint(weights), weights={}, task="nuclei")
    )
    chosen = initial_weights.choose_initial_weights(TASKS[ROW], None, foreign, tmp_path / "nuclei")
    assert chosen.file is None
    assert chosen.task.key_metric == "mean_iou"

    given = ask("From_Prior", recipe="thesis", shipped=weights, initial_weights=foreign)
    report = reproduce(given, frames, _quiet)
    assert "do not fit task 'nerve_vhllrhe': 0 of" in report["runs"][1]["reason"]


def test_other_weights_to_start_from_are_another_run(ask, frames, tmp_path):
    ran = reproduce(ask("No_Prior", recipe="thesis", seeds=(0, 1)), frames, _quiet)
    one, two = (tmp_path / "out" / run["folder"] / "best.pt" for run in ran["runs"])
    starts = []
    for weights in (one, two, two):
        report = reproduce(
            ask("From_Prior", recipe="thesis", initial_weights=weights), frames, _quiet
        )
        starts.append(report["runs"][2])
    assert starts[0]["pooled"] != starts[1]["pooled"]
    assert starts[0]["seconds"]["steps_timed"] == starts[1]["seconds"]["steps_timed"] == 2
    assert starts[1] == starts[2]


def test_weights_to_start_from_are_refused_where_they_cannot_be_used(ask, frames, tmp_path):
    with pytest.raises(InputError, match="--prior 'a.pt' is of no use: none of the chosen"):
        reproduce(ask("No_Prior", initial_weights=tmp_path / "a.pt"), frames, _quiet)
    with pytest.raises(InputError, match="a.pt: no such weights file"):
        reproduce(ask("From_Prior", initial_weights=tmp_path / "a.pt"), frames, _quiet)


def test_a_set_as_published_is_imported_once(kaggle, tmp_path):
    calls = []

    def counted(source, studies):
        calls.append(source)
        return IMPORTERS["nerve"].run(source, studies)

    out = tmp_path / "studies"
    items = study_items(kaggle, counted, out)
    assert len(items) == 12
    assert {item.group for item in items} == {f"subject_{number}" for number in (1, 2, 3, 4)}
    assert study_items(kaggle, counted, out) == items
    assert calls == [kaggle]
    assert study_items(out, counted, tmp_path / "other") == items, "is a studies folder already"
    (out / "groups.csv").unlink()
    assert study_items(kaggle, counted, out) == items, "what was interrupted is done again"
    assert calls == [kaggle, kaggle]
    with pytest.raises(InputError, match="holds other images than .*; choose another --out"):
        study_items(kaggle / "train", counted, out)


def test_a_set_of_another_layout_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="is not ultrasound-nerve-segmentation: expected train"):
        study_items(tmp_path, IMPORTERS["nerve"].run, tmp_path / "out")


def test_the_shares_of_a_study_decide_its_parts(frames):
    wide = replace(THESIS_NERVE, test_share=0.1, val_share=0.9)
    narrow = replace(wide, val_share=0.1)
    counts = [len(hash_split(frames, study).validation_ids) for study in (wide, narrow)]
    assert counts[0] > counts[1] > 0
    groups = {item.id: item.group for item in frames}
    split = hash_split(frames, wide)
    tested = {item.group for item in split.test}
    held = {groups[id] for id in split.validation_ids}
    trained = {item.group for item in split.training if item.id not in split.validation_ids}
    assert not (tested & held or tested & trained or held & trained)
    assert (BUSI.test_share, BUSI.val_share) == (0.2, 0.15)
