"""`--channel` and channels.csv: the same channel in `infer`, `batch-infer`, `evaluate`, `train`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lib.data.studies import list_items
from lib.io.read import read_image

TASK = "nuclei_vhllrhe"
NAMES = ["GFP", "DAPI", "Cy3"]


@pytest.fixture
def stained(studies: Path, tmp_path: Path) -> Path:
    """The phantoms as the second of three channels, with their labels."""
    folder = tmp_path / "stained"
    (folder / "labels/final").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for item in list_items(studies, labelled=True):
        nuclei = read_image(item.image, channel="1").pixels.astype(np.uint16)
        others = noise.integers(0, 255, (2, *nuclei.shape)).astype(np.uint16)
        channels = np.stack([others[0], nuclei, others[1]])
        metadata = {"axes": "CYX", "Channel": {"Name": NAMES}}
        tifffile.imwrite(folder / f"{item.id}.tif", channels, ome=True, metadata=metadata)
        shutil.copy(item.label, folder / "labels/final")
    return folder


@pytest.fixture
def grey(stained: Path, tmp_path: Path) -> Path:
    """The second channel alone, under the same names."""
    folder = shutil.copytree(stained, tmp_path / "grey")
    for path in folder.glob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path)[1], photometric="minisblack")
    return folder


def test_infer_answers_on_the_channel_named_and_says_which(cli, stained, grey, weights, tmp_path):
    common = ("--weights", weights, "--precision", "fp32", "--format", ".png")
    report = tmp_path / "report.json"
    name = "nucleus_0.tif"
    words = ("infer", TASK, stained / name, "--out", tmp_path / "a", *common)
    ended = cli(*words, "--channel", "dapi", "--json", report)
    assert ended.status == 0, ended.err
    assert json.loads(report.read_text())["images"][0]["channel"] == "DAPI"
    assert cli("infer", TASK, grey / name, "--out", tmp_path / "b", *common).status == 0
    found, expected = ((tmp_path / out / "nucleus_0.png").read_bytes() for out in "ab")
    assert found == expected
    ended = cli(*words)
    assert ended.status == 2
    assert "Error: nucleus_0.tif: has 3 channels (1 GFP, 2 DAPI, 3 Cy3) and none" in ended.err
    ended = cli(*words, "--channel", "Hoechst")
    assert "no channel 'Hoechst', it has 3 channels" in ended.err


def _figures(cli, folder: Path, weights: Path, report: Path, *words: object) -> dict:
    common = ("--weights", weights, "--precision", "fp32", "--json", report)
    ended = cli("evaluate", TASK, "--studies", folder, *common, *words)
    assert ended.status == 0, ended.err
    return json.loads(report.read_text())["pooled"]


def test_evaluate_reads_the_channel_of_the_option_or_of_the_folder(
    cli, stained, grey, weights, tmp_path
):
    report = tmp_path / "report.json"
    expected = _figures(cli, grey, weights, report)
    assert _figures(cli, stained, weights, report, "--channel", 2) == expected
    cli("evaluate", TASK, "--studies", stained, "--weights", weights).assert_refused(
        "has 3 channels (1 GFP, 2 DAPI, 3 Cy3) and none was chosen", "for nuclei probably 'DAPI'"
    )
    (stained / "channels.csv").write_text("id,channel\n*,DAPI\n")
    assert _figures(cli, stained, weights, report) == expected
    assert _figures(cli, stained, weights, report, "--channel", "GFP") != expected


def test_train_reads_the_channel_of_the_option_or_of_the_folder(cli, stained, grey, tmp_path):
    short = ("--steps", 2, "--batch-size", 2, "--patch-size", "32", "--device", "cpu")

    def trained(folder: Path, *words: object) -> object:
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        report = tmp_path / "report.json"
        ended = cli(
            "train", TASK, "--studies", folder, "--out", out, "--json", report, *short, *words
        )
        assert ended.status == 0, ended.err
        return json.loads(report.read_text())["metrics"]

    expected = trained(grey)
    assert trained(stained, "--channel", "DAPI") == expected
    (stained / "channels.csv").write_text("*,2\n")
    assert trained(stained) == expected
    assert trained(stained, "--channel", "GFP") != expected


def test_a_batch_in_another_channel_is_made_anew(cli, stained, weights, models):
    shutil.copy(weights, models / f"{TASK}.pt")
    words = ("batch-infer", TASK, "--studies", stained, "--all", "--models", models)
    ended = cli(*words)
    assert (ended.status, "0 images answered, 0 had their answer, 8 failed" in ended.out) == (
        2,
        True,
    )
    assert "8 images answered" in cli(*words, "--channel", "DAPI").out
    assert "0 images answered, 8 had their answer" in cli(*words, "--channel", "dapi").out
    assert "8 images answered, 0 had" in cli(*words, "--channel", "GFP").out
    (stained / "channels.csv").write_text("*,GFP\n")
    assert "0 images answered, 8 had their answer" in cli(*words).out


def test_tasks_on_exams_take_no_channel(cli, tmp_path):
    tmp_path.joinpath("a.png").touch()
    words = ("--channel", "red", "--out", tmp_path)
    cli("infer", "density_birads", tmp_path / "a.png", *words).assert_refused(
        "--channel is for segmentation; 'density_birads' takes mammograms"
    )
