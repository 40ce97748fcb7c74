"""The page of a study, made from a report by hand: numbers in their cells, failures said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from benchmarks.reproduction.pages.figures import compare, panel_images
from benchmarks.reproduction.pages.page import write_page
from benchmarks.reproduction.pages.segmentation_text import text
from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.report import assemble
from lib.plots import MAX_BYTES

THESIS_NUCLEI = STUDIES["thesis-nuclei"]
FIGURES = {
    "mean_iou": 0.92345,
    "fg_iou": 0.87,
    "bg_iou": 0.97,
    "fg_dice": 0.9312,
    "accuracy": 0.98123,
    "precision": 0.9456,
    "recall": 0.9234,
    "ap50": 0.8011,
}


def _run(variant, task, recipe="ours", seed=0, **figures):
    pooled = {**FIGURES, **figures}
    return {
        "folder": f"{task}-{recipe}-seed{seed}",
        "variant": variant,
        "task": task,
        "recipe": recipe,
        "seed": seed,
        "source": "studies",
        "identity": {
            "training_data": "aa",
            "test_data": "bb",
            "task": {"training": {"steps": 20}},
        },
        "pooled": pooled,
        "intervals": {name: [value - 0.01, value + 0.01] for name, value in pooled.items()},
        "mean_over_images": pooled,
        "validation": pooled,
        "parameters": 123456,
        "steps": 20,
        "patches_per_second": 456.7,
        "seconds": {"training": 90.0},
        "images": [{"id": "one"}],
        "history": {"step": [10, 20], "loss": [0.5, 0.25], "mean_iou": [0.8, 0.9]},
    }


@pytest.fixture
def report():
    failed = _run("U5HLLR", "nuclei_u5hllr")
    failed = {name: failed[name] for name in list(failed)[:7]}
    failed |= {"error": "DivergedError", "reason": "the loss is no longer finite at step 7"}
    outcomes = [
        _run("VHLLRHe", "nuclei_vhllrhe"),
        _run("HUV", "nuclei_huv", mean_iou=0.88),
        _run("VCR", "nuclei_vcr", seed=0, accuracy=0.9780),
        _run("VCR", "nuclei_vcr", seed=1, accuracy=0.9760),
        _run("VDLRHe", "nuclei_vdlrhe", "thesis", mean_iou=0.4312, fg_iou=0.0),
        _run("VDLRHe", "nuclei_vdlrhe"),
        failed,
    ]
    parts = {"images": 90, "test": 30, "validation": 12, "training": 48}
    parts |= {"training_fingerprint": "aa", "test_fingerprint": "bb"}
    head = {
        "data": {"name": "dsb", "test_share": 0.3, "sources": {"studies": parts}},
        "panel": {"fluorescence": "one", "stained": "two"},
        "machine": {"name": "A GPU", "cores": 16, "threads": 8},
        "versions": {"python": "3.11", "torch": "2.15"},
        "command": "python -m monailabel_app reproduce thesis-nuclei",
        "created": "2026-01-01T00:00:00Z",
    }
    return assemble(THESIS_NUCLEI, head, outcomes)


def _cells(content: str, section: str, variant: str) -> list[list[str]]:
    """Return the cells of a variant's lines in a section's table."""
    part = content.split(f"## {section}")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith(f"| {variant} |")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_printed_figures_stand_beside_ours(report):
    content = text(report, {}, "report.json")
    assert _cells(content, "Tab. 2", "VHLLRHe") == [
        [
            *("VHLLRHe", "`nuclei_vhllrhe`", "ours", "0.9173", "0.9173"),
            *("0.9234 (0.9134 to 0.9335)", "0.9173", "✓", "0.2114", "0.2500"),
        ]
    ]
    assert _cells(content, "Tab. 3", "VHLLRHe") == [
        ["VHLLRHe", "ours", "98.20", "98.12", "94.05", "94.56", "90.36", "92.34"]
    ]
    more = ["0.8700", "0.9312", "0.8011", "0.9234", "123,456", "20", "457", "1.5"]
    assert _cells(content, "More figures", "VHLLRHe") == [["VHLLRHe", "ours", *more]]


def test_what_was_not_reached_or_failed_is_said_plainly(report):
    content = text(report, {}, "report.json")
    assert _cells(content, "Tab. 2", "HUV")[0][5:8] == ["0.8800 (0.8700 to 0.8900)", "0.8864", "✗"]
    assert _cells(content, "Tab. 2", "VCR")[0][6:8] == ["accuracy 0.9770", "✗ 1/2"]
    assert _cells(content, "Tab. 2", "U5HLLR")[0][7] == "✗ failed"
    assert _cells(content, "Tab. 2", "VDLRHe")[0][6:8] == ["-", "-"]
    assert _cells(content, "Tab. 2", "VDLRHe")[1][6:8] == ["0.9000", "✓"]
    outcome = content.split("## Outcome")[1].split("\n## ")[0]
    assert "2 of 5 judged rows reach the figure asked for" in outcome
    assert "**Not reached: HUV (ours)**: mean_iou 0.8800, asked for 0.8864 (Tab. 2)" in outcome
    assert "1 of 2 runs reach it" in outcome
    assert "**Failed: U5HLLR (ours), seed 0**: DivergedError: the loss is no longer" in outcome
    assert "reports a collapse (0.5255); here 0.4312, foreground IoU 0.0000" in outcome
    assert "Not run: U3CLR, VHLR, VCLR, default model, U-Net 2015, V-Net 2016" in outcome


def test_several_seeds_show_their_spread(report):
    cells = _cells(text(report, {}, "report.json"), "Tab. 3", "VCR")[0]
    assert cells[3] == "97.70 ± 0.14"


def test_the_differences_name_option_and_both_values(report):
    content = text(report, {}, "report.json").split("## What differs")[1]
    assert "| `target.gap` | 1 | 0 | all |" in content
    assert "| library | TensorFlow | PyTorch |" in content


def test_the_pictures_are_small_and_linked(report, tmp_path):
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 280)) > 0.5).astype(np.uint8)
    arrays = {f"{kind}_truth": truth for kind in report["panel"]}
    arrays["fluorescence_image"] = rng.integers(0, 255, (300, 280), dtype=np.uint8)
    arrays["stained_image"] = rng.integers(0, 255, (300, 280, 3), dtype=np.uint8)
    np.savez(tmp_path / "panel.npz", **arrays)
    for run in report["runs"]:
        (tmp_path / run["folder"]).mkdir()
        np.savez(tmp_path / run["folder"] / "panel.npz", one=truth, two=1 - truth)
    page = tmp_path / "thesis.md"
    assert write_page(report, tmp_path, page, tmp_path / "report.json") == []
    content = page.read_text()
    for name in ("loss", "mean_iou", "panel"):
        picture = tmp_path / f"thesis_{name}.png"
        assert f"({picture.name})" in content
        assert picture.stat().st_size < MAX_BYTES
        assert min(PillowImage.open(picture).size) > 200


def test_without_matplotlib_the_page_is_written_and_says_so(report, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "benchmarks.reproduction.pages.figures")
    monkeypatch.delattr("benchmarks.reproduction.pages.figures", raising=False)
    missing = write_page(report, tmp_path, tmp_path / "page.md", tmp_path / "report.json")
    assert len(missing) == 1
    assert missing[0].startswith("no pictures: matplotlib")
    assert missing[0] in (tmp_path / "page.md").read_text()


def test_a_panel_without_arrays_is_said(report, tmp_path):
    missing = write_page(report, tmp_path, tmp_path / "page.md", tmp_path / "report.json")
    assert missing == ["no panel of masks: their arrays are not in the folder of the runs"]
    assert panel_images(tmp_path, report["panel"]) == {}


def test_errors_of_a_mask_are_coloured():
    mask, truth = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 1, 0]])
    right, extra, missed, nothing = compare(mask, truth)[0]
    assert right.tolist() == [255, 255, 255]
    assert nothing.tolist() == [0, 0, 0]
    assert extra.tolist() != missed.tolist()
