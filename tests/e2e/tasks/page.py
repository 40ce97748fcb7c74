"""docs/tasks.md: a table of each task, from the measured and the counted figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.pages import render, write_page

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "docs" / "results" / "tasks.json"
PAGE = ROOT / "docs" / "tasks.md"
FOLDER = Path(__file__).parent
COUNTED = FOLDER / "counted.json"
TASKS = {
    "density": "From nothing to an own density model",
    "nuclei": "Correct a nucleus",
    "still": "First lesion in a still, without any model",
}
STEPS = {
    "open": "Open it from the list",
    "class": "First class of an exam",
    "classes": "Classes of seven more exams",
    "train": "Train",
    "own": "Answer of the own model",
    "answer": "Answer of the model",
    "label": "First label",
    "correct": "Correct by a click",
    "save": "Save",
    "reopen": "Open it again, to correct",
}
PANELS = {
    "now": "this panel",
    "before": "before",
    "monailabel": "MONAI Label in OHIF",
    "monailabel_slicer": "MONAI Label in Slicer",
    "nninteractive_ohif": "nnInteractive in OHIF",
    "nninteractive_napari": "nnInteractive in napari",
}


def load() -> dict[str, Any]:
    """Read the measured figures: by panel and task, with what was run where."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def write(results: Mapping[str, Any]) -> None:
    """Write the page."""
    write_page(PAGE, text(results))


def text(results: Mapping[str, Any]) -> str:
    """Return the page of the figures."""
    counted = json.loads(COUNTED.read_text())
    panels = {**results, **{name: counted["panels"][name]["tasks"] for name in counted["panels"]}}
    tasks = []
    for task, title in TASKS.items():
        columns = {name: panels.get(name, {}).get(task, {}).get("steps", {}) for name in PANELS}
        steps = [step for step in STEPS if any(step in column for column in columns.values())]
        rows = [
            [STEPS[step], *(_cell(one.get(step)) for one in columns.values())] for step in steps
        ]
        rows.append(["all steps", *(_total(one, steps) for one in columns.values())])
        reasons = _reasons(columns)
        tasks.append({"title": title, "rows": rows, "reasons": reasons, "name": task})
    return render(
        FOLDER / "page.md.j2",
        heads=["step", *PANELS.values()],
        tasks=tasks,
        runs={name: list(results[name].values())[-1] for name in results},
        sources=counted["panels"],
        first_label_dice=results.get("now", {}).get("still", {}).get("first_label_dice"),
        names=PANELS,
    )


def actions(step: Mapping[str, Any] | None) -> int | None:
    """Return the clicks, drags and keys of a step; None where it is impossible."""
    if step is None or "impossible" in step:
        return None
    return int(step["clicks"]) + int(step.get("drags", 0)) + int(step.get("keys", 0))


def _cell(step: Mapping[str, Any] | None) -> str:
    if step is None:
        return ""
    count = actions(step)
    if count is None:
        return "-"
    return f"{count} ({step['seconds']:.1f} s)" if "seconds" in step else f"{count}"


def _total(steps: Mapping[str, Any], names: list[str]) -> str:
    if not steps:
        return ""
    counts = [actions(steps.get(name)) for name in names]
    done = sum(count for count in counts if count is not None)
    seconds = [steps[name]["seconds"] for name in names if "seconds" in steps.get(name, {})]
    if None in counts:
        return f"not to its end ({done})"
    return f"{done} ({sum(seconds):.0f} s)" if seconds else f"{done}"


def _reasons(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why steps cannot be done, panel by panel, each reason once."""
    found = []
    for name, steps in columns.items():
        why: dict[str, list[str]] = {}
        for step, row in steps.items():
            if "impossible" in row:
                why.setdefault(row["impossible"], []).append(STEPS[step].lower())
        found += [f"{PANELS[name]}: {', '.join(of)}: {reason}" for reason, of in why.items()]
    return found


if __name__ == "__main__":
    write(load())
