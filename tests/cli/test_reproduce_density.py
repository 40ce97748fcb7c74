"""`reproduce density` and `evaluate --plots`: folders as published, going on, pages, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import STANDARD_VIEWS
from lib.tasks.registry import TASKS

CPU = ("--device", "cpu", "--precision", "fp32")
# patients whose hashes put two into each of two folds
PATIENTS = ("6c613a14b80a8591", "0f1e2d3c4b5a6978", "1a2b3c4d5e6f7081", "9f8e7d6c5b4a3928")
ACR = "3124"


@pytest.fixture(autouse=True)
def tiny(exam_task, monkeypatch):
    """The row for four classes has small networks."""
    monkeypatch.setitem(TASKS, "density_birads", replace(exam_task, name="density_birads"))


def _inbreast(folder, exam_studies, kind):
    """Write four exams in the published layout; PNG as 8 bits and 1024 pixels high."""
    images = folder / ("AllDICOMs" if kind == "dcm" else "AllPNGs")
    images.mkdir(parents=True)
    lines, number = ["Patient ID;Laterality;View;Acquisition date;File Name;ACR"], 20586908
    for place, (patient, acr) in enumerate(zip(PATIENTS, ACR, strict=True)):
        for view in STANDARD_VIEWS[::3] if kind == "png" else STANDARD_VIEWS:
            side, projection = view.name.split("-")
            name = f"{number}_{patient}_MG_{side}_{projection.replace('MLO', 'ML')}_ANON.{kind}"
            source = exam_studies / f"exam_{place:03d}_{view.name}.dcm"
            if kind == "dcm":
                (images / name).write_bytes(source.read_bytes())
            else:
                pixels = read_mammogram(source).pixels.astype(np.float32)
                grey = np.rint(pixels / pixels.max() * 255).astype(np.uint8)
                wide = round(1024 * grey.shape[1] / grey.shape[0])
                PillowImage.fromarray(grey).resize((wide, 1024)).save(images / name)
            lines.append(f"removed;{side};{projection};201001;{number};{acr}")
            number += 26
    (folder / "INbreast.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("kind", ["dcm", "png"])
def test_inbreast_as_published_is_imported_cross_validated_and_reported(
    cli, exam_studies, tmp_path, kind
):
    source = _inbreast(tmp_path / "INbreast", exam_studies, kind)
    words = ("reproduce", "density", "--studies", source, "--out", tmp_path / "out", *CPU)
    words += ("--task", "density_birads", "--sizes", "40", "--folds", 2, "--epochs", 1)
    ended = cli(*words, "--json", tmp_path / "density.json")
    assert ended.status == 0, ended.err
    assert "4 exams of 4 patients: 1 A, 1 B, 1 C, 1 D" in ended.err
    report = json.loads((tmp_path / "density.json").read_text())
    (row,) = report["summary"]
    assert (row["task"], row["size"], row["folds"], row["failed"]) == ("density_birads", 40, 2, 0)
    assert row["levels"]["exam"]["cases"] == 4
    assert row["levels"]["view"]["cases"] == (16 if kind == "dcm" else 8)
    assert set(row["by_view"]) == {
        view.name for view in STANDARD_VIEWS[:: 1 if kind == "dcm" else 3]
    }
    assert "exams" not in json.dumps(list(row["levels"])), "rows of patients stay in the runs"
    page = (tmp_path / "density.md").read_text()
    assert "### `density_birads`, setting *ours*, 2 folds" in page
    for name in ("sizes", "reliability", "confusion"):
        assert (tmp_path / f"density_{name}.png").is_file()
        assert f"(density_{name}.png)" in page
    if kind == "dcm":
        ended = cli(*words)
        assert ended.status == 0, ended.err
        assert "density: 0 of 2 runs to do" in ended.err
        again = cli("reproduce", "density", "--out", tmp_path / "out", "--page-only")
        assert again.status == 0, again.err


def test_requests_that_do_not_fit_the_study_are_refused(cli, exam_studies, studies, tmp_path):
    density = ("reproduce", "density", "--studies", exam_studies, "--out", tmp_path / "o")
    cli(*density, "--sizes", "big").assert_refused("--sizes 'big'", "expected pixels, as in 250")
    cli(*density, "--steps", 1, "--epochs", 1).assert_refused("--steps or --epochs, not both")
    cli(*density, "--task", "density_birad").assert_refused("did you mean 'density_birads'")
    nuclei = ("reproduce", "thesis-nuclei", "--studies", studies, "--out", tmp_path / "o")
    cli(*nuclei, "--sizes", "64").assert_refused("--sizes is for studies with several input sizes")
    cli(*nuclei, "--folds", 3).assert_refused("--folds is for studies with cross-validation")
    empty = tmp_path / "empty"
    empty.mkdir()
    cli("reproduce", "density", "--studies", empty, "--out", tmp_path / "p").assert_refused(
        "neither a studies folder with labels/final/, nor INbreast", "import inbreast|mini_mias"
    )


def test_evaluate_draws_its_figures_where_asked(cli, exam_studies, tmp_path, exam_weights):
    words = ("evaluate", "density_birads", "--studies", exam_studies, "--weights", exam_weights)
    ended = cli(*words, *CPU, "--plots", tmp_path / "plots", "--json", tmp_path / "score.json")
    assert ended.status == 0, ended.err
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == ["density_birads_confusion.png", "density_birads_reliability.png"]
    report = json.loads((tmp_path / "score.json").read_text())
    assert list(report["by_breast"]) == ["L", "R"]
    assert len(report["exams"]) == len(list_exams(exam_studies))
