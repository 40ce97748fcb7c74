"""The page of what is often absent: the always-empty mask, collapses, several figures asked for."""

from __future__ import annotations

import json

from benchmarks.reproduction.pages.segmentation_text import text
from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.report import assemble

BUSI, THESIS_NERVE = STUDIES["busi"], STUDIES["thesis-nerve"]
ROW = "nerve_vhllrhe"
FIGURES = {"mean_iou": 0.7, "fg_iou": 0.5, "fg_dice": 0.6, "precision": 0.8, "recall": 0.7}
PRESENCE = {"dice_kaggle": 0.73, "dice_positive": 0.69, "presence_auc": 0.86, "found": 0.9}
EMPTY = {"mean_iou": 0.49, "dice_kaggle": 0.6, "dice_positive": 0, "presence_auc": 0.5, "found": 0}


def _run(variant, recipe="ours", presence=PRESENCE, **figures):
    pooled = {**FIGURES, **figures}
    return {
        **{"folder": f"{variant}-{recipe}", "variant": variant, "task": ROW, "recipe": recipe},
        **{"seed": 0, "source": "studies", "parameters": 12, "steps": 20},
        "identity": {"training_data": "a", "test_data": "b", "task": {"training": {"steps": 20}}},
        "pooled": pooled,
        "intervals": {name: [value - 0.01, value + 0.01] for name, value in pooled.items()},
        "mean_over_images": pooled,
        "presence": {
            **presence,
            "images_with": 5,
            "intervals": {name: [value - 0.02, value + 0.02] for name, value in presence.items()},
        },
        "validation": pooled,
        "patches_per_second": 2.0,
        "seconds": {"training": 60.0},
        "history": {"step": [20], "loss": [0.25], "mean_iou": [0.8]},
    }


def _page(study, *outcomes):
    parts = {"images": 9, "test": 3, "validation": 2, "training": 4, "groups": 5, "test_groups": 2}
    parts |= {"training_fingerprint": "a", "test_fingerprint": "b"}
    head = {
        "data": {"name": "set", "test_share": 0.3, "sources": {"studies": parts}},
        "always_empty": EMPTY,
        "panel": {"nerve": "one"},
        "machine": {"name": "A CPU", "cores": 2, "threads": 2},
        "versions": {"python": "3.11"},
        "command": "a test",
        "created": "2026-01-01T00:00:00Z",
    }
    report = json.loads(json.dumps(assemble(study, head, outcomes)))
    return report, text(report, {}, "report.json")


def test_a_collapse_is_named_in_the_table_beside_every_printed_step():
    collapsed = {"dice_kaggle": 0.6, "dice_positive": 0, "presence_auc": 0.5, "found": 0}
    gone = _run("No_Prior", "thesis", collapsed, precision=1, recall=0, mean_iou=0.49)
    report, page = _page(THESIS_NERVE, gone, _run("No_Prior"))
    table = page.split("## Tab. 4")[1].split("\n## ")[0].splitlines()
    baseline, thesis, ours = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table if "| 0." in line
    )
    assert baseline[4:9] == ["0.4900", "0.6000", "0.0000", "0.5000", "0.0000"]
    assert thesis[2] == "0.4954 at 20015, **0.6105** at 25000, 0.4940 at 30000"
    assert thesis[11] == "**collapsed**"
    assert ours[5] == "0.7300 (0.7100 to 0.7500)"
    assert ours[9:12] == ["0.6105", "✓", "no"]
    assert "**Collapsed to the empty mask: No_Prior (thesis), seed 0**" in page
    assert "| `network.pooled_channels` | 0 | 1 | all |" in page
    assert [row["empty"] for row in report["summary"]] == [1, 0]


def test_all_figures_that_are_asked_for_must_be_reached():
    good = {**_run("busi_lesion"), "task": "busi_lesion"}
    report, page = _page(BUSI, good)
    assert report["runs"][0]["reached"] is True
    assert "1 of 1 judged rows reach all figures asked for" in page
    assert "dice_kaggle 0.7200, dice_positive 0.6800, presence_auc 0.8500" in page
    assert "stands in for the nerve data" in page
    assert "printed" not in page
    worse = {**PRESENCE, "presence_auc": 0.84}
    report, page = _page(BUSI, {**_run("busi_lesion", presence=worse), "task": "busi_lesion"})
    assert report["runs"][0]["reached"] is False
    assert "**Not reached: busi_lesion (ours)**: presence_auc 0.8400, asked for 0.8500" in page
    assert "dice_kaggle 0.7300, asked" not in page
