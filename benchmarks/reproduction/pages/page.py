"""The page of a study, from its report and the masks its runs kept; nothing is trained for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduction.pages.exam_text import exam_text, measured
from benchmarks.reproduction.pages.segmentation_text import text
from lib.files import write_atomically

PANEL = "panel.npz"

Images = dict[str, tuple[np.ndarray, np.ndarray]]


def write_page(report: Mapping[str, Any], out: Path, page: Path, json_file: Path) -> list[str]:
    """Write the page and its pictures.

    Args:
        out: folder of the runs, for the masks.
        page: Markdown file; the pictures lie beside it under its name.
        json_file: the report, linked from the page.

    Returns:
        What could not be drawn, a line each.
    """
    if report.get("subject") == "exams":
        pictures, missing = _draw_exams(report, page)
        content = exam_text(report, pictures, json_file.name, missing)
    else:
        pictures, missing = _draw(report, out, page)
        content = text(report, pictures, json_file.name, missing)
    write_atomically(page, lambda file: file.write(content.encode()))
    return missing


def _draw(report: Mapping[str, Any], out: Path, page: Path) -> tuple[dict[str, str], list[str]]:
    """Return the file names of the pictures, by what they show, and what is missing."""
    try:
        from benchmarks.reproduction.pages import figures
    except ImportError as error:
        return {}, [f"no pictures: {error.name or 'matplotlib'} is not installed here"]
    if not any(run["status"] == "done" for run in report["runs"]):
        return {}, ["no pictures: no run has figures"]
    curves = {"loss": "training loss", "mean_iou": "mean IoU, validation images"}
    absent = "always_empty" in report
    if absent:
        curves["dice_kaggle"] = "Kaggle Dice, validation images"
    pictures = {}
    for name, label in curves.items():
        path = page.with_name(f"{page.stem}_{name}.png")
        pictures[name] = figures.draw_curves(path, report, name, label).name
    images = _images(out, report["panel"])
    if not images:
        return pictures, ["no panel of masks: their arrays are not in the folder of the runs"]
    path = page.with_name(f"{page.stem}_panel.png")
    pictures["panel"] = figures.draw_panel(path, images, _masks(out, report), absent).name
    return pictures, []


def _draw_exams(report: Mapping[str, Any], page: Path) -> tuple[dict[str, str], list[str]]:
    """Return the file names of the pictures of a study on exams, and what is missing."""
    try:
        from benchmarks.reproduction.pages.exam_figures import draw_exams
    except ImportError as error:
        return {}, [f"no pictures: {error.name or 'matplotlib'} is not installed here"]
    if not measured(report):
        return {}, ["no pictures: no run has figures"]
    return draw_exams(report, page), []


def _images(out: Path, panel: Mapping[str, str]) -> Images:
    """Return pixels and truth of each kind of image in the panel."""
    arrays = _arrays(out / PANEL)
    return {
        kind: (arrays[f"{kind}_image"], arrays[f"{kind}_truth"])
        for kind in panel
        if f"{kind}_image" in arrays
    }


def _masks(out: Path, report: Mapping[str, Any]) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Return title and masks by kind of every run of the first seed."""
    shown = []
    for run in report["runs"]:
        if run["status"] != "done" or run["seed"] != report["seeds"][0]:
            continue
        arrays = _arrays(out / run["folder"] / PANEL)
        masks = {kind: arrays[id] for kind, id in report["panel"].items() if id in arrays}
        title = run["variant"]
        if run["recipe"] != "ours":
            title += f" ({run['recipe']})"
        if masks:
            shown.append((title, masks))
    return shown


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as content:
            return dict(content)
    except (OSError, ValueError):
        return {}
