"""`reproduce` and `train --folds`: what they write, and that a bare machine can run them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image as PillowImage

from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.study import Bound, Printed, Variant
from lib.phantoms.ultrasound.studies import breast_frame, write_nerve_phantoms
from lib.tasks.registry import TASKS

BARE = """
import sys

ABSENT = ("monailabel", "SimpleITK", "matplotlib", "pydicom", "nibabel", "tensorboard", "psutil")

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
import monailabel_app.cli.reproduce
import benchmarks.reproduction.campaign
from monailabel_app.cli import main
main(["reproduce", "--help"])
"""


@pytest.fixture
def reproduce(cli, task, studies, tmp_path, monkeypatch):
    """Return a function that runs a study of one small variant for 3 steps."""
    recipe = replace(task.training, batch_size=2, patch_size=32)
    monkeypatch.setitem(TASKS, "tiny", replace(task, name="tiny", training=recipe))
    bound = Bound("mean_iou", 0.0, "Tab. 2")
    variant = Variant(name="TINY", task="tiny", printed=Printed(mean_iou=0.5), bounds=(bound,))
    table = replace(STUDIES["thesis-nuclei"], name="tiny-study", variants=(variant,))
    monkeypatch.setitem(STUDIES, "tiny-study", table)

    def run(*words):
        return cli(
            *("reproduce", "tiny-study", "--studies", studies, "--out", tmp_path / "out"),
            *("--steps", 3, "--device", "cpu", "--precision", "fp32"),
            *words,
        )

    return run


def test_reproduce_writes_report_page_and_pictures(reproduce, tmp_path, cli):
    ended = reproduce("--json", tmp_path / "study.json", "--seeds", "0,1")
    assert ended.status == 0, ended.err
    assert "tiny-ours-seed1: mean IoU" in ended.err
    report = json.loads((tmp_path / "study.json").read_text())
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["seeds"] == [0, 1]
    assert str(tmp_path) not in report["command"]
    page = (tmp_path / "study.md").read_text()
    assert "| TINY | `tiny` | ours | 0.5000 |" in page
    assert "✓ 2/2" in page
    for name in ("loss", "mean_iou", "panel"):
        assert (tmp_path / f"study_{name}.png").is_file()

    (tmp_path / "study.md").unlink()
    ended = reproduce("--page-only", "--page", tmp_path / "again.md")
    assert ended.status == 0, ended.err
    again = (tmp_path / "again.md").read_text()
    assert again.replace("again_", "study_").replace("report.json", "study.json") == page


def test_a_failed_run_ends_with_status_2_and_a_page_that_says_why(reproduce, tmp_path, monkeypatch):
    row = TASKS["tiny"]
    training = replace(row.training, learning_rate=1e30, schedule="constant", gradient_clip=0.0)
    monkeypatch.setitem(TASKS, "tiny", replace(row, training=training))
    ended = reproduce()
    assert ended.status == 2
    assert ended.err.strip().splitlines()[-1].startswith("Error: no figures of tiny-ours-seed0")
    page = (tmp_path / "out" / "report.md").read_text()
    assert "**Failed: TINY (ours), seed 0**: DivergedError: the loss of 'tiny'" in page


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--variants", "tinny"), ["unknown variant 'tinny': did you mean 'tiny'"]),
        (("--recipe", "hers"), ["unknown recipe 'hers'", "known: ours, thesis"]),
        (("--seeds", "a"), ["--seeds 'a': expected whole numbers from 0"]),
        (("--seeds", "-1"), ["--seeds '-1'"]),
        (("--jobs", "0"), ["--jobs"]),
        (("--device", "tpu"), ["device 'tpu'"]),
        (("--page", "absent/page.md"), ["folder 'absent' for --page does not exist"]),
        (("--page-only",), ["no report", "run the study first"]),
    ],
)
def test_impossible_requests_are_refused_in_one_line(reproduce, words, expected):
    reproduce(*words).assert_refused(*expected)


def test_a_report_of_another_format_is_refused(reproduce, tmp_path):
    (tmp_path / "old.json").write_text("{}")
    reproduce("--page-only", "--json", tmp_path / "old.json").assert_refused("format None", "again")
    (tmp_path / "old.json").write_text("no report")
    reproduce("--page-only", "--json", tmp_path / "old.json").assert_refused("is not a report")


def _small(monkeypatch, *rows):
    """Narrow the networks of `rows` and shorten their patches."""
    for name in rows:
        row = TASKS[name]
        network = replace(row.network, kernel_size=3, channels=(4, 8), convolutions=(1, 1))
        training = replace(row.training, patch_size=32, batch_size=2)
        monkeypatch.setitem(TASKS, name, replace(row, network=network, training=training))


def test_the_nerve_study_runs_on_a_folder_in_the_published_layout(cli, tmp_path, monkeypatch):
    _small(monkeypatch, "nerve_vhllrhe", "nuclei_vhllrhe")
    monkeypatch.setattr("monailabel_app.cli.reproduce.SHIPPED_MODELS", tmp_path)
    write_nerve_phantoms(tmp_path / "kaggle", subjects=3, frames=3, size=(48, 64))
    names = ("--variants", "No_Prior,Dice_Lr1e4", "--steps", 2, "--device", "cpu")
    ended = cli(
        *("reproduce", "thesis-nerve", "--studies", tmp_path / "kaggle"),
        *("--out", tmp_path / "out", *names),
    )
    assert ended.status == 0, ended.err
    assert (tmp_path / "out" / "studies" / "contradictions.csv").is_file()
    page = (tmp_path / "out" / "report.md").read_text()
    assert "| always the empty mask |" in page
    assert "| Dice_Lr1e4 | thesis | 0.4937 at 25000 | 0.1386 at 25000 |" in page
    assert "Not run: From_Prior, Dice_Lr1e3, Dice_Lr1e5" in page
    for name in ("loss", "mean_iou", "dice_kaggle", "panel"):
        assert (tmp_path / "out" / f"report_{name}.png").is_file()
    again = cli("reproduce", "thesis-nerve", "--out", tmp_path / "out", "--page-only")
    assert again.status == 0, again.err
    assert (tmp_path / "out" / "report.md").read_text() == page


def test_the_lesions_study_runs_on_the_published_set(cli, tmp_path, monkeypatch):
    _small(monkeypatch, "busi_lesion")
    for number in range(9):
        kind = ("benign", "malignant", "normal")[number % 3]
        folder = tmp_path / "busi" / "Dataset_BUSI_with_GT" / kind
        folder.mkdir(parents=True, exist_ok=True)
        frame = breast_frame(number, (48, 64))
        PillowImage.fromarray(frame.image).save(folder / f"{kind} ({number}).png")
        mask = (frame.label > 0) & (kind != "normal")
        PillowImage.fromarray(mask).save(folder / f"{kind} ({number})_mask.png")
    words = ("--steps", 2, "--device", "cpu", "--json", tmp_path / "busi.json")
    ended = cli(
        *("reproduce", "busi", "--studies", tmp_path / "busi", "--out", tmp_path / "out", *words)
    )
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "busi.json").read_text())
    run = report["runs"][0]
    assert set(run["presence"]["intervals"]) >= {"dice_kaggle", "dice_positive", "presence_auc"}
    assert run["seconds"]["training"] > 0
    assert run["machine"]["cores"] > 0
    assert set(report["panel"]) <= {"benign", "malignant", "normal"}
    page = (tmp_path / "busi.md").read_text()
    assert "stands in for the nerve data" in page
    assert "| busi_lesion | ours |" in page


def test_weights_to_start_from_need_a_variant_that_does(reproduce, tmp_path):
    reproduce("--prior", tmp_path / "a.pt").assert_refused("--prior 'a.pt' is of no use")


def test_an_unknown_study_and_missing_images_are_refused(cli):
    cli("reproduce", "thesis-nerv").assert_refused("unknown study 'thesis-nerv'", "thesis-nuclei")
    cli("reproduce", "thesis-nuclei").assert_refused("Missing option '--studies'")


def test_a_machine_without_viewers_and_drawing_can_run_it(run_python):
    ended = run_python("-c", BARE)
    assert ended.returncode == 0, ended.stderr
    assert "thesis-nuclei" in ended.stdout


def test_train_with_folds_holds_each_image_out_once(cli, studies, items, tmp_path):
    words = ("--steps", 1, "--batch-size", 2, "--patch-size", 32, "--folds", 2)
    out = ("--out", tmp_path / "run", "--json", tmp_path / "folds.json")
    train = ("train", "nuclei_u3clr", "--studies", studies, "--device", "cpu", *words, *out)
    ended = cli(*train)
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "folds.json").read_text())
    held = [id for run in report["runs"] for id in run["validation_ids"]]
    assert sorted(held) == sorted(item.id for item in items)
    assert set(report["figures"]["mean_iou"]) == {"mean", "sd"}
    assert (tmp_path / "run" / "fold1" / "best.pt").is_file()
    ended = cli(*train, "--fold", 1)
    assert ended.status == 0, ended.err
    assert [run["fold"] for run in json.loads((tmp_path / "folds.json").read_text())["runs"]] == [1]


def test_impossible_folds_are_refused(cli, studies):
    train = ("train", "nuclei_u3clr", "--studies", studies, "--device", "cpu")
    cli(*train, "--fold", 1).assert_refused("--fold 1 needs --folds K")
    cli(*train, "--folds", 2, "--fold", 2).assert_refused("--fold 2 needs", "K above 2, found 2")
    cli(*train, "--folds", 2, "--publish").assert_refused("--publish and --folds")
    cli(*train, "--folds", 60).assert_refused("8 labelled images are too few for 60 folds")
