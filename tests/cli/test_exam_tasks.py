"""The verbs on tasks that answer on mammography exams: data, train, folds, evaluate, infer."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.io.read import read_image
from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint

TASK = "tiny_density"
CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(autouse=True)
def tiny(exam_task, monkeypatch):
    """The table has a density row with small networks."""
    monkeypatch.setitem(TASKS, TASK, replace(exam_task, name=TASK))


@pytest.fixture
def weights(exam_weights, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(exam_weights.read_bytes())
    return path


def test_help_names_the_losses_that_there_are(cli):
    from lib.classification.losses import CLASS_LOSSES
    from lib.segmentation.losses import LOSSES

    shown = " ".join(cli("train", "--help").out.split())
    assert f"segmentation and interactive: {', '.join(LOSSES)}" in shown
    assert f"classification: {', '.join(CLASS_LOSSES)}" in shown


def test_demo_data_makes_exams_of_four_views(cli, tmp_path):
    ended = cli("demo-data", tmp_path / "in", "--kind", "mammograms", "--count", 2, "--labelled", 1)
    assert ended.status == 0, ended.err
    assert "8 views of 2 exams" in ended.out and "1 of the exams with labels" in ended.out
    exams = list_exams(tmp_path / "in")
    assert [len(exam.views) for exam in exams] == [4, 4]
    assert sorted(exam.density is None for exam in exams) == [False, True]


def test_train_writes_weights_with_the_story_of_the_exams(cli, exam_studies, tmp_path, models):
    ended = cli(
        *("train", TASK, "--studies", exam_studies, "--out", tmp_path / "run", *CPU),
        *("--epochs", 1, "--input-size", "40x32", "--loss", "squared_emd", "--publish"),
        *("--class-weights", "none", "--schedule", "plateau", "--optimizer", "plain_sgd"),
        *("--models", models, "--json", tmp_path / "run.json"),
    )
    assert ended.status == 0, ended.err
    assert "always the commonest class scores" in ended.out and "kept aside" in ended.out
    checkpoint = load_checkpoint(tmp_path / "run" / "best.pt")
    assert checkpoint.spec["input"]["size"] == (40, 32)
    assert checkpoint.spec["training"]["loss"] == "squared_emd"
    report = json.loads((tmp_path / "run.json").read_text())
    assert len(report["training_ids"]) + len(report["validation_ids"]) == 48
    words = "--studies", exam_studies, "--weights", tmp_path / "run" / "best.pt"
    ended = cli("evaluate", TASK, *words, *CPU)
    assert ended.status == 0, ended.err
    assert "quadratic kappa" in ended.out


def test_folds_pool_the_answers_on_all_exams(cli, exam_studies, tmp_path):
    ended = cli(
        *("train", TASK, "--studies", exam_studies, "--out", tmp_path / "run", *CPU),
        *("--epochs", 1, "--folds", 2, "--keep", "last", "--json", tmp_path / "run.json"),
    )
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["weights"] == "last"
    pooled = report["pooled"]
    assert pooled["levels"]["exam"]["cases"] == 12
    assert pooled["about"]["patients"] == 12
    sides = [set(run["training_ids"]) & set(run["validation_ids"]) for run in report["runs"]]
    assert sides == [set(), set()]


def test_evaluate_scores_exams_and_writes_their_rows(cli, exam_studies, tmp_path, weights):
    words = ("evaluate", TASK, "--studies", exam_studies, "--weights", weights, *CPU)
    ended = cli(*words, "--json", tmp_path / "score.json")
    assert ended.status == 0, ended.err
    assert "tiny_density on 12 exams of exams (all)" in ended.out
    report = json.loads((tmp_path / "score.json").read_text())
    assert report["about"]["weights"] == "weights.pt"
    assert len(report["about"]["weights_sha256"]) == 64
    assert report["about"]["input_size"] == 48
    assert {row["truth"] for row in report["exams"]} <= set("ABCD")
    ended = cli(*words, "--split", "validation", "--json", tmp_path / "held.json")
    assert ended.status == 0, ended.err
    held = json.loads((tmp_path / "held.json").read_text())
    assert 0 < len(held["exams"]) < 12


def test_infer_answers_each_exam_with_json_and_its_dense_tissue(
    cli, exam_studies, tmp_path, weights
):
    files = sorted(exam_studies.glob("exam_00[01]_*.dcm"))
    out = tmp_path / "out"
    ended = cli(
        *("infer", TASK, *files, "--out", out, "--weights", weights, *CPU),
        *("--json", tmp_path / "all.json"),
    )
    assert ended.status == 0, ended.err
    report = json.loads((tmp_path / "all.json").read_text())
    assert len(report["exams"]) == 2 and report["failed"] == {}
    row = report["exams"][0]
    assert row["views_used"] == ["R-CC", "L-CC", "R-MLO", "L-MLO"]
    assert (out / f"{row['exam']}.json").is_file()
    value = TASKS[TASK].labels[row["class"]]
    for name, file in row["dense_tissue"].items():
        label = np.asarray(PillowImage.open(out / file))
        assert set(np.unique(label)) <= {0, value}
        assert f"_{name}_dense" in file
        assert 0 <= row["views"][name]["percent_density"] <= 100


def test_infer_shows_where_each_view_was_looked_at(cli, exam_studies, tmp_path, weights):
    files = [exam_studies / f"exam_000_{view}.dcm" for view in ("R-CC", "L-CC")]
    out = tmp_path / "out"
    words = ("infer", TASK, *files, "--out", out, "--weights", weights, *CPU)
    ended = cli(*words, "--saliency", "both")
    assert ended.status == 0, ended.err
    (answer,) = out.glob("*.json")
    told = json.loads(answer.read_text())["saliency"]
    assert {name: list(methods) for name, methods in told.items()} == {
        name: ["gradcam", "gradient"] for name in ("R-CC", "L-CC")
    }
    for file, methods in zip(files, told.values(), strict=True):
        size = read_mammogram(file).pixels.shape
        for written in methods.values():
            assert np.asarray(PillowImage.open(out / written["overlay"])).shape == (*size, 3)
            assert read_image(out / written["scalar"]).pixels.shape == size


def test_segmentation_tasks_refuse_saliency(cli, studies, tmp_path):
    words = ("infer", "nuclei", studies / "nucleus_0.png", "--out", tmp_path / "o")
    cli(*words, "--saliency", "both").assert_refused("--saliency", "'nuclei'", "segmentation")
    assert not (tmp_path / "o").exists()


def test_infer_names_files_that_are_no_view_and_answers_the_others(
    cli, exam_studies, tmp_path, weights
):
    stray = tmp_path / "holiday.png"
    PillowImage.fromarray(np.zeros((32, 32), np.uint8)).save(stray)
    view = exam_studies / "exam_000_L-CC.dcm"
    ended = cli("infer", TASK, view, stray, "--out", tmp_path / "o", "--weights", weights, *CPU)
    assert ended.status == 2
    assert "holiday.png: neither tags nor name state its exam and view" in ended.err
    assert "from L-CC" in ended.out


def test_what_is_for_segmentation_is_refused(cli, exam_studies, studies, tmp_path, weights):
    view = exam_studies / "exam_000_L-CC.dcm"
    answer = ("infer", TASK, view, "--out", tmp_path / "o", "--weights", weights)
    cli(*answer, "--flips").assert_refused("--flips is for segmentation")
    cli(*answer, "--result", "mask").assert_refused("--result and --format are for segmentation")
    cli("train", "nuclei", "--studies", studies, "--input-size", 64).assert_refused(
        "--input-size is for tasks on exams; 'nuclei' takes --patch-size"
    )
    cli("train", TASK, "--studies", exam_studies, "--input-size", "8x8x8").assert_refused(
        "expected one side or two"
    )
    cli("train", TASK, "--studies", exam_studies, "--input-size", 8).assert_refused(
        "must have at least 32 rows and columns, found 8"
    )
    cli("train", TASK, "--studies", studies).assert_refused("no labelled exams in")


def test_mini_mias_is_imported_and_is_data_for_the_tasks(cli, tmp_path):
    source = tmp_path / "mias"
    (source / "images").mkdir(parents=True)
    lines = ["file,patient,side,view,density_FGD"]
    down, across = np.mgrid[:64, :64]
    for number, tissue in ((1, "F"), (2, "F"), (3, "D"), (4, "D")):
        away = 63 - across if number % 2 else across
        film = np.where((down - 32) ** 2 + away**2 < 900, 150, 10).astype(np.uint8)
        PillowImage.fromarray(film).save(source / "images" / f"mdb{number:03d}.png")
        lines.append(f"mdb{number:03d}.png,{(number + 1) // 2},,MLO,{tissue}")
    (source / "labels.csv").write_text("\n".join(lines) + "\n")
    ended = cli("import", "mini_mias", source, tmp_path / "studies")
    assert ended.status == 0, ended.err
    assert "4 images of 2 exams of 2 patients: 1 D, 1 F" in ended.out
    from lib.classification.cases import list_views

    views = list_views(tmp_path / "studies", TASKS["density_a_vs_d"], labelled=True)
    assert [item.view.name for item in views] == ["R-MLO", "L-MLO"] * 2


def test_a_folder_with_a_table_is_imported(cli, exam_studies, tmp_path):
    source = tmp_path / "clinic"
    source.mkdir()
    for view in ("R-CC", "L-CC"):
        file = exam_studies / f"exam_000_{view}.dcm"
        (source / file.name).write_bytes(file.read_bytes())
    table = tmp_path / "densities.csv"
    table.write_text("file,density\nexam_000_R-CC.dcm,C\n")
    ended = cli("import", "density", source, tmp_path / "studies", "--table", table)
    assert ended.status == 0, ended.err
    assert "2 images of 1 exams of 1 patients: 1 C" in ended.out
    cli("import", "inbreast", source, tmp_path / "x", "--table", table).assert_refused(
        "--table is for `import density|coco`"
    )


def test_inbreast_is_imported(cli, exam_studies, tmp_path):
    source = tmp_path / "inbreast"
    (source / "AllDICOMs").mkdir(parents=True)
    file = exam_studies / "exam_000_R-CC.dcm"
    name = "20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm"
    (source / "AllDICOMs" / name).write_bytes(file.read_bytes())
    (source / "INbreast.csv").write_text(
        "File Name;Laterality;View;Acquisition date;ACR\n20586908;R;CC;201001;3\n"
    )
    ended = cli("import", "inbreast", source, tmp_path / "studies")
    assert ended.status == 0, ended.err
    assert "1 images of 1 exams of 1 patients: 1 C" in ended.out
