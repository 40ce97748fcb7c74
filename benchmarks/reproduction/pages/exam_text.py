"""The text of the page of a study on exams in Markdown, from its report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.tables import NONE, number, table
from benchmarks.reproduction.pages.cells import Report
from benchmarks.reproduction.pages.segmentation_text import differences_section

CASES = {
    "R-CC": "R-CC",
    "L-CC": "L-CC",
    "R-MLO": "R-MLO",
    "L-MLO": "L-MLO",
    "view": "all views",
    "R": "right breast",
    "L": "left breast",
    "breast": "both breasts",
    "exam": "exam",
}
FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "kappa": "quadratic kappa",
    "auc": "AUC",
    "calibration_error": "calibration error",
    "likelihood": "likelihood",
}
CAPTIONS = {
    "sizes": "Accuracy by input size, with 95 % intervals over patients; what is printed has none.",
    "reliability": "Reliability: accuracy of the exams against the probability of their answered "
    "class, in bins; grey bars and numbers are cases.",
    "confusion": "Exams of each true class by answered class: cases, share of the true class, 95 % "
    "interval over patients.",
    "roc": "ROC curve of the exams, tasks of two classes.",
}

Row = Mapping[str, Any]


def exam_text(
    report: Report, pictures: Mapping[str, str], json_name: str, missing: Sequence[str] = ()
) -> str:
    """Return the page.

    Args:
        pictures: file names by `CAPTIONS`, as far as they were drawn.
        json_name: file of the report, beside the page.
        missing: what could not be drawn.
    """
    parts = [
        f"# {report['study']}: {report['title']}, measured again",
        *filter(None, [report.get("note")]),
        f"Written by `python -m monailabel_app reproduce {report['study']}` from "
        f"[{json_name}]({json_name}); change nothing here by hand.",
        "## Outcome",
        _outcome(report),
        "## Accuracy by input size",
        "In per cent of the cases, with the 95 % bootstrap interval over patients. A breast is the "
        "mean of its views, compared with the exam's class; the exam is by the task's rule. "
        "*Printed*: test accuracy of the publication, on its own exams.",
        *_size_tables(report),
        "## More figures",
        "Not in the publication. Likelihood: geometric mean of the probability of the true class.",
        _figure_table(report),
        "## Confusion of the exams",
        *_confusions(report),
        "## Pictures",
        *(f"![{CAPTIONS[name]}]({file})\n\n{CAPTIONS[name]}" for name, file in pictures.items()),
        *missing,
        "## Trainings",
        _training_table(report),
        "## What differs from the published setting",
        *differences_section(report),
        "## How it was measured",
        _how(report),
    ]
    return "\n\n".join(parts) + "\n"


def measured(report: Report) -> list[Row]:
    """Return the rows of the summary that have figures."""
    return [row for row in report["summary"] if "levels" in row]


def title(row: Row) -> str:
    """Return the name of a row of the summary."""
    seed = f", seed {row['seed']}" if row["seed"] else ""
    return f"{row['variant']} ({row['recipe']}{seed})"


def typical(report: Report) -> list[Row]:
    """Return a row for each task and setting: the slides' best size, else the nearest run.

    The size is not chosen by our figures, which would flatter; of several seeds the first counts.
    """
    best: dict[tuple[str, str], Row] = {}
    for row in measured(report):
        key = row["task"], row["recipe"]
        if key not in best or _away(report, row) < _away(report, best[key]):
            best[key] = row
    return list(best.values())


def _away(report: Report, row: Row) -> tuple[int, int]:
    own = report["own_sizes"][row["task"]]
    return abs(row["size"] - own), row["seed"]


def case_figures(row: Row, name: str) -> Mapping[str, Any] | None:
    """Return the figures of a key of `CASES`; None where no view was answered."""
    for group in ("levels", "by_view", "by_breast"):
        if name in row[group]:
            found: Mapping[str, Any] = row[group][name]
            return found
    return None


def _outcome(report: Report) -> str:
    lines = []
    for row in report["summary"]:
        if "levels" not in row:
            lines.append(f"- **No figures: {title(row)}**: {row['failed']} folds failed.")
            continue
        exam = row["levels"]["exam"]
        right = _with_interval(exam, "accuracy", 100, 1)
        text = (
            f"- {title(row)}: {right} % of {exam['cases']} exams right; always the "
            f"commonest class {100 * row['commonest']:.1f} %"
        )
        if "exam" in row["printed"]:
            text += f"; printed {100 * row['printed']['exam']:.1f} %"
        if row["failed"] or row["runs"] < row["folds"]:
            text += f"; **{row['runs'] - row['failed']} of {row['folds']} folds**"
        if row["failed"]:
            text += f", {row['failed']} failed"
        if row["not_answered"]:
            text += f"; {len(row['not_answered'])} exams could not be answered"
        lines.append(text + ".")
    lines += [
        f"- **Failed: {run['variant']} ({run['recipe']}), seed {run['seed']}, fold "
        f"{run['fold'][0]}**: {run['error']}: {run['reason']}"
        for run in report["runs"]
        if run["status"] == "failed"
    ]
    if report["left_out"]:
        lines.append(f"- Left out, as they are of other exams: {', '.join(report['left_out'])}.")
    return "\n".join(lines)


def _size_tables(report: Report) -> list[str]:
    """Return a heading and a table for each task, setting and seed, a column for each size."""
    blocks: list[str] = []
    groups: dict[tuple[str, str, int, int], list[Row]] = {}
    for row in measured(report):
        key = row["task"], row["recipe"], row["seed"], row["folds"]
        groups.setdefault(key, []).append(row)
    for (task, recipe, seed, folds), rows in groups.items():
        told = f"### `{task}`, setting *{recipe}*, {folds} folds"
        blocks.append(told + (f", seed {seed}" if seed else ""))
        lines = []
        for name, shown in CASES.items():
            found = [case_figures(row, name) for row in rows]
            if not any(found):
                continue
            printed = [number(row["printed"].get(name), 100, 1) for row in rows]
            if any(cell != NONE for cell in printed):
                lines.append([shown, "printed", *printed])
            ours = [_with_interval(f, "accuracy", 100, 1) if f else NONE for f in found]
            lines.append([shown, "ours", *ours])
        sizes = [f"{row['size']} px" for row in rows]
        blocks.append(table(["accuracy, %", "", *sizes], lines, left=2))
    return blocks


def _figure_table(report: Report) -> str:
    head = ["task", "setting", "size", "cases", *FIGURES.values()]
    lines = []
    for row in measured(report):
        for level in ("exam", "breast", "view"):
            found = row["levels"][level]
            lines.append(
                [
                    f"`{row['task']}`",
                    row["recipe"] + (f", seed {row['seed']}" if row["seed"] else ""),
                    str(row["size"]),
                    f"{found['cases']} {level}s",
                    *(_with_interval(found, name, 1, 3) for name in FIGURES),
                ]
            )
    return table(head, lines, left=2)


def _confusions(report: Report) -> list[str]:
    """Return a table for each of `typical`, whose rows are the true classes."""
    blocks = []
    for row in typical(report):
        exam, names = row["levels"]["exam"], row["classes"]
        shares = exam["confusion_shares"]
        lines = []
        for true, name in enumerate(names):
            cells = [f"true {name}"]
            for answered in range(len(names)):
                share, low, high = (
                    f"{100 * shares[key][true][answered]:.0f}" for key in ("share", "low", "high")
                )
                count = exam["confusion"][true][answered]
                cells.append(f"{count} ({share} %, {low} to {high})" if count else "0")
            lines.append(cells)
        sure = row["sure"]
        told = f"{title(row)}. Without need of a reader: {sure['exams']} exams"
        if sure["exams"]:
            told += f" ({100 * sure['share']:.0f} %), {100 * sure['accuracy']:.1f} % of them right"
        blocks += [f"{told}.", table(["", *(f"answered {name}" for name in names)], lines, left=1)]
    return blocks


def _training_table(report: Report) -> str:
    head = ["task", "setting", "size", "seed", "folds", "parameters", "steps"]
    head += ["minutes, longest fold", "temperature"]
    lines = []
    for row in measured(report):
        low, high = min(row["temperatures"]), max(row["temperatures"])
        lines.append(
            [
                f"`{row['task']}`",
                row["recipe"],
                str(row["size"]),
                str(row["seed"]),
                f"{row['runs'] - row['failed']} of {row['folds']}",
                f"{row['parameters']:,}",
                " to ".join(map(str, dict.fromkeys((row["steps"][0], row["steps"][-1])))),
                f"{max(row['training_seconds']) / 60:.1f}",
                f"{low:.2f} to {high:.2f}",
            ]
        )
    return table(head, lines, left=2)


def _how(report: Report) -> str:
    data, machine = report["data"], report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [f"Publication: {report['source']}."]
    for row in typical(report):
        about = row["about"]
        lines.append(
            f"Exams, {title(row)}: {about['exams']} of {about['patients']} patients in "
            f"`{data['name']}`, each answered by the training that held its patient out; "
            f"{100 * data['validation_share_of_the_others']:.0f} % of the other patients were kept "
            f"from training too, for the temperature and, under *slides*, the epoch."
        )
    lines += [
        f"Seeds: {', '.join(map(str, report['seeds']))}.",
        f"Machine: {machine['name']}, {machine['cores']} cores, {machine['threads']} threads.",
        f"Versions: {versions}; {report['created']}.",
        f"Command: `{report['command']}`; the page again from the kept figures: `--page-only`.",
    ]
    return "  \n".join(lines)


def _with_interval(found: Mapping[str, Any], name: str, scale: float, digits: int) -> str:
    low, high = (number(bound, scale, digits) for bound in found["intervals"][name])
    return f"{number(found['figures'][name], scale, digits)} ({low} to {high})"
