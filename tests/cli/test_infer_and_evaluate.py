"""`infer` and `evaluate`: masks over their images, figures with their story."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage

from lib.files import sha256
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.nuclei import nuclei_phantom
from monailabel_app.config import SHIPPED_MODELS

TASK = "nuclei_vhllrhe"
FIGURES = {
    *("mean_iou", "fg_iou", "bg_iou", "fg_dice", "accuracy", "precision", "recall", "ap50", "ap")
}


@pytest.fixture
def infer(cli, weights, tmp_path):
    """Return a function that segments files into `tmp_path / "out"`."""

    def run(*words):
        common = ("--out", tmp_path / "out", "--weights", weights, "--precision", "fp32")
        return cli("infer", TASK, *common, *words)

    return run


def test_good_files_are_segmented_and_bad_ones_named(infer, studies, tmp_path):
    bad, empty = tmp_path / "bad.png", tmp_path / "empty.tif"
    bad.write_text("not a picture")
    empty.touch()
    good = [studies / f"nucleus_{index}.png" for index in range(2)]
    report = tmp_path / "report.json"
    ended = infer(good[0], bad, empty, tmp_path / "absent.png", good[1], "--json", report)
    assert ended.status == 2
    assert "2 of 5 images segmented" in ended.out
    errors = ended.err.strip().splitlines()
    assert [line.split(":")[:2] for line in errors] == [
        ["Error", " bad.png"],
        ["Error", " empty.tif"],
        ["Error", " absent.png"],
    ]
    for file in good:
        label = read_label(tmp_path / "out" / file.name, read_image(file).shape)
        assert label.max() >= 1
    content = json.loads(report.read_text())
    assert [row["file"] for row in content["images"]] == [file.name for file in good]
    first = read_label(tmp_path / "out" / good[0].name)
    assert content["images"][0]["objects"] == int(first.max())
    assert set(content["failed"]) == {str(bad), str(empty), str(tmp_path / "absent.png")}


def test_images_resampled_for_the_size_of_their_objects_are_told(cli, tmp_path):
    for name, factor in (("known", 1), ("large", 6)):
        pixels, _ = nuclei_phantom(3, rows=96, columns=112, nuclei=14)
        size = (112 * factor, 96 * factor)
        PillowImage.fromarray(pixels).resize(size).save(tmp_path / f"{name}.png")
    files, report = (tmp_path / "known.png", tmp_path / "large.png"), tmp_path / "report.json"
    weights = SHIPPED_MODELS / "pretrained_nuclei.pt"
    words = ("--weights", weights, "--out", tmp_path / "out", "--json", report)
    ended = cli("infer", "nuclei", *files, *words)
    assert ended.status == 0, ended.err
    known, large = json.loads(report.read_text())["images"]
    assert "magnification" not in known
    assert 0.1 < large["magnification"] < 0.5
    assert abs(large["objects"] - known["objects"]) <= 2
    assert read_label(tmp_path / "out" / "large.png").shape == (576, 672)


def test_the_size_of_objects_may_be_told(cli, tmp_path):
    pixels, label = nuclei_phantom(3, rows=96, columns=112, nuclei=14)
    studies, report = tmp_path / "studies", tmp_path / "report.json"
    (studies / "labels" / "final").mkdir(parents=True)
    PillowImage.fromarray(pixels).resize((448, 384)).save(studies / "large.png")
    larger = label.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    PillowImage.fromarray(larger).save(studies / "labels" / "final" / "large.png")
    weights = ("--weights", SHIPPED_MODELS / "pretrained_nuclei.pt", "--json", report)
    infer = ("infer", "nuclei", studies / "large.png", *weights, "--out", tmp_path / "out")
    evaluate = ("evaluate", "nuclei", "--studies", studies, *weights)
    assert cli(*infer, "--diameter", 85).status == 0
    (row,) = json.loads(report.read_text())["images"]
    assert row["diameter"] == 85 and 0.28 < row["magnification"] < 0.3
    assert cli(*evaluate, "--diameter", 85).status == 0
    told = json.loads(report.read_text())
    assert told["about"]["diameter"] == 85 and told["pooled"]["ap50"] > 0.7
    assert cli(*evaluate, "--diameter", 12).status == 0
    assert json.loads(report.read_text())["pooled"]["fg_dice"] != told["pooled"]["fg_dice"]
    cli(*infer, "--diameter", "nan").assert_refused("--diameter: expected", "found 'nan'")
    ended = cli(*infer, "--diameter", 449)
    assert ended.status == 2 and "large.png: diameter 449 pixels is more than" in ended.err
    for verb in (infer, evaluate):
        words = (verb[0], TASK, *verb[2:], "--diameter", 66)
        cli(*words).assert_refused(f"--diameter: '{TASK}' resamples no images for it")


@pytest.mark.parametrize("suffix", [".png", "nrrd", ".nii.gz", ".mha", ".tif"])
def test_the_mask_has_the_size_of_the_image_in_every_file_type(infer, tmp_path, suffix):
    image = tmp_path / "odd.bmp"
    pixels = np.random.default_rng(0).integers(0, 255, (33, 47), dtype=np.uint8)
    PillowImage.fromarray(pixels).save(image)
    assert infer(image, "--format", suffix).status == 0
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == f"odd.{suffix.lstrip('.')}"
    assert read_label(written).shape == (33, 47)


@pytest.mark.parametrize("result", ["instances", "mask", "probabilities"])
def test_results_keep_the_geometry_of_the_image(infer, tmp_path, result):
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (40, 48), np.uint8))
    image.SetSpacing((0.3, 0.7))
    image.SetOrigin((-4, 11.5))
    image.SetDirection((0, -1, 1, 0))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    assert infer(tmp_path / "a.nrrd", "--result", result).status == 0
    found = read_image(tmp_path / "out" / "a.nrrd")
    assert found.geometry == read_image(tmp_path / "a.nrrd").geometry
    if result == "mask":
        assert found.pixels.max() <= 1
    assert (found.pixels.dtype == np.float32) == (result == "probabilities")


def test_a_result_never_replaces_an_input_or_another_result(cli, infer, weights, studies, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    image = shutil.copy(studies / "nucleus_0.png", folder / "a.png")
    before = sha256(image)
    ended = cli("infer", TASK, image, "--out", folder, "--weights", weights)
    assert ended.status == 2
    assert "Error: a.png: its result would overwrite" in ended.err
    assert sha256(image) == before
    PillowImage.open(image).save(folder / "a.jpg")
    ended = infer(image, folder / "a.jpg")
    assert ended.status == 2
    assert "1 of 2 images segmented" in ended.out
    assert "Error: a.jpg: its result would overwrite" in ended.err


def test_live_weights_are_used_and_missing_ones_told(cli, weights, studies, tmp_path, models):
    words = ("infer", TASK, studies / "nucleus_0.png", "--out", tmp_path / "out")
    cli(*words, "--models", models).assert_refused(f"'{TASK}' has no weights yet; train it first")
    shutil.copy(weights, models / f"{TASK}.pt")
    assert cli(*words, "--models", models).status == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--format", ".jpg"), "result_extension '.jpg' cannot hold a label image"),
        (("--result", "probabilities", "--format", ".png"), "probabilities cannot be written as"),
        (("--result", "contours"), "'contours' is not one of"),
        (("--device", "tpu"), "device 'tpu'"),
        (("--precision", "int8"), "'int8' is not one of"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(infer, studies, words, expected):
    infer(studies / "nucleus_0.png", *words).assert_refused(expected)


def test_foreign_weights_and_unknown_tasks_are_refused(cli, studies, tmp_path):
    image = studies / "nucleus_0.png"
    (tmp_path / "w.pt").write_bytes(b"not weights")
    words = (image, "--out", tmp_path / "out", "--weights", tmp_path / "w.pt")
    cli("infer", TASK, *words).assert_refused("w.pt: damaged or foreign weights file")
    cli("infer", "nuclei_hu", *words).assert_refused("unknown task", "did you mean 'nuclei_huv'")


@pytest.fixture
def evaluate(cli, weights, studies, tmp_path):
    """Return a function that evaluates and gives the report."""

    def run(*words):
        file = tmp_path / "report.json"
        common = ("--studies", studies, "--weights", weights, "--precision", "fp32")
        ended = cli("evaluate", TASK, *common, "--json", file, *words)
        assert ended.status == 0, ended.err
        return ended, json.loads(file.read_text())

    return run


def test_evaluate_writes_every_figure_and_its_story(evaluate, weights, studies):
    ended, report = evaluate("--seed", 4)
    assert set(report["pooled"]) == set(report["mean_over_images"]) == FIGURES
    for name, (low, high) in report["intervals"].items():
        assert 0 <= low <= report["pooled"][name] <= high <= 1
    assert len(report["images"]) == 8
    assert all(FIGURES | {"id", "rows", "columns", "seconds"} <= set(r) for r in report["images"])
    about = report["about"]
    assert about["seed"] == 4
    assert about["weights_sha256"] == sha256(weights)
    assert about["split"] == "all"
    assert len(about["data"]) == 16
    assert {"python", "torch", "monai", "numpy"} <= set(about["versions"])
    assert about["command"].startswith(f"python -m monailabel_app evaluate {TASK} --studies")
    assert str(studies.parent) not in about["command"]
    assert "two-class mean IoU" in ended.out
    assert f"{report['pooled']['mean_iou']:.4f}" in ended.out


def test_the_weights_beat_an_empty_answer(evaluate):
    _, report = evaluate()
    assert report["pooled"]["mean_iou"] > 0.6


def test_the_same_evaluation_gives_the_same_figures(evaluate):
    one, again = (evaluate()[1] for _ in range(2))
    assert one["pooled"] == again["pooled"]
    assert one["intervals"] == again["intervals"]
    assert one["about"]["data"] == again["about"]["data"]


def test_only_held_out_images_are_evaluated_when_asked(evaluate):
    from lib.data.studies import in_validation

    _, report = evaluate("--split", "validation", "--val-split", 0.3)
    ids = [row["id"] for row in report["images"]]
    assert ids == [f"nucleus_{i}" for i in range(8) if in_validation(f"nucleus_{i}", 0.3)]
    assert report["about"]["split"] == "validation"


def test_what_cannot_be_evaluated_is_refused(cli, studies, weights, tmp_path):
    common = ("--weights", weights, "--studies")
    cli("evaluate", TASK, *common, tmp_path / "absent").assert_refused("absent' does not exist")
    cli("evaluate", TASK, *common, tmp_path).assert_refused("no labelled images in")
    words = ("--split", "validation", "--val-split", "0")
    cli("evaluate", TASK, *common, studies, *words).assert_refused("val_split must lie between")
    cli("evaluate", "nuclei_hu", *common, studies).assert_refused("did you mean 'nuclei_huv'")
    absent = tmp_path / "absent" / "r.json"
    cli("evaluate", TASK, *common, studies, "--json", absent).assert_refused("does not exist")
