"""The text of a study's page in Markdown, from its report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]
YES, NO, NONE = "✓", "✗", "-"


def text(
    report: Report, pictures: Mapping[str, str], json_name: str, missing: Sequence[str] = ()
) -> str:
    """Return the page.

    Args:
        pictures: file names of "loss", "mean_iou" and "panel", as far as they were drawn.
        json_name: file of the report, beside the page.
        missing: what could not be drawn.
    """
    iou_table, pixel_table = report["tables"]
    parts = [
        f"# {report['study']}: {report['title']}, measured again",
        f"Written by `python -m monailabel_app reproduce {report['study']}` from "
        f"[{json_name}]({json_name}); change nothing here by hand.",
        "## Outcome",
        *_outcome(report),
        f"## {iou_table}: mean IoU",
        "Two-class mean IoU over all pixels of the test images, with the 95 % bootstrap interval "
        "over images, or the standard deviation over seeds. *Implied* is the mean IoU that the "
        f"printed accuracy, precision and recall of {pixel_table} leave possible. The loss is the "
        "mean of training after the last validation but one; what the publication averages is not "
        "said.",
        _iou_table(report),
        f"## {pixel_table}: accuracy, precision, recall",
        "In per cent, over all pixels of the test images.",
        _pixel_table(report),
        "## More figures",
        "Not in the publication. AP50: objects matched at IoU 0.5. Patches per second: a whole "
        "training with reading and validations, on the machine below.",
        _more_table(report),
        "## Curves and masks",
        *_pictures(pictures, missing),
        "## What differs from the published setting",
        *_differences(report),
        "## How it was measured",
        _how(report),
    ]
    return "\n\n".join(parts) + "\n"


def _outcome(report: Report) -> list[str]:
    """Say plainly what was reached, what was not and what failed."""
    judged = [row for row in report["summary"] if row["judged"]]
    reached = [row for row in judged if row["runs"] and row["reached"] == row["runs"]]
    lines = [f"{len(reached)} of {len(judged)} judged rows reach the figure asked for."]
    for row in judged:
        if row in reached or row["failed"] == row["runs"]:
            continue
        bound = _variant(report, row)["bound"]
        lines.append(
            f"- **Not reached: {_title(row)}**: {bound['metric']} "
            f"{_value(row['figures'], bound['metric'])}, asked for {bound['value']:.4f} "
            f"({bound['origin']}); {row['reached']} of {row['runs']} runs reach it."
        )
    for row in report["summary"]:
        if row["collapse_expected"] and row["figures"]:
            ours = row["figures"]["mean_iou"]["mean"]
            printed = _variant(report, row)["printed"]["mean_iou"]
            lines.append(
                f"- {_title(row)}: the publication reports a collapse ({printed:.4f}); here "
                f"{ours:.4f}, foreground IoU {row['figures']['fg_iou']['mean']:.4f}."
            )
    for run in report["runs"]:
        if run["status"] == "failed":
            lines.append(
                f"- **Failed: {_title(run)}, seed {run['seed']}**: {run['error']}: {run['reason']}"
            )
    absent = [
        v["name"]
        for v in report["variants"]
        if not any(row["variant"] == v["name"] for row in report["summary"])
    ]
    if absent:
        lines.append(f"- Not run: {', '.join(absent)}.")
    if report["left_out"]:
        lines.append(
            f"- Left out, as they are of other images or steps: {', '.join(report['left_out'])}."
        )
    return [lines[0], "\n".join(lines[1:])] if lines[1:] else lines


def _iou_table(report: Report) -> str:
    head = ["variant", "task", "setting", "printed", "implied", "ours", "asked for", "reached"]
    head += ["loss, printed", "loss, ours"]
    rows = []
    for row in report["summary"]:
        variant = _variant(report, row)
        bound = variant["bound"]
        asked = f"{bound['metric']} {bound['value']:.4f}" if bound and row["judged"] else NONE
        if bound and row["judged"] and bound["metric"] == "mean_iou":
            asked = f"{bound['value']:.4f}"
        rows.append(
            [
                row["variant"],
                f"`{row['task']}`",
                row["recipe"],
                _number(variant["printed"]["mean_iou"]),
                _number(variant["implied_mean_iou"]),
                _value(row["figures"], "mean_iou", row["interval"]),
                asked,
                _reached(row),
                _number(variant["printed"]["loss"]),
                _value(row["last_loss"], "loss"),
            ]
        )
    return _table(head, rows, left=3)


def _pixel_table(report: Report) -> str:
    names = ("accuracy", "precision", "recall")
    head = ["variant", "setting"]
    head += [f"{name}, {whose}" for name in names for whose in ("printed", "ours")]
    rows = []
    for row in report["summary"]:
        printed = _variant(report, row)["printed"]
        cells = [row["variant"], row["recipe"]]
        for name in names:
            cells += [_number(printed[name], 100, 2), _value(row["figures"], name, None, 100, 2)]
        rows.append(cells)
    return _table(head, rows, left=2)


def _more_table(report: Report) -> str:
    head = ["variant", "setting", "fg IoU", "fg Dice", "AP50", "mean IoU, mean over images"]
    head += ["parameters", "steps", "patches/s", "minutes"]
    rows = []
    for row in report["summary"]:
        figures = row["figures"]
        seconds, speed = row["training_seconds"], row["patches_per_second"]
        rows.append(
            [
                row["variant"],
                row["recipe"],
                *(_value(figures, name) for name in ("fg_iou", "fg_dice", "ap50")),
                _value(row["mean_over_images"], "mean_iou"),
                f"{row['parameters']:,}" if row["parameters"] else NONE,
                ", ".join(map(str, row["steps"])) or NONE,
                NONE if speed is None else f"{speed:.0f}",
                NONE if seconds is None else f"{seconds / 60:.1f}",
            ]
        )
    return _table(head, rows, left=2)


def _pictures(pictures: Mapping[str, str], missing: Sequence[str]) -> list[str]:
    captions = {
        "loss": "Mean training loss since the last validation. Losses of different definition are "
        "not comparable with each other.",
        "mean_iou": "Two-class mean IoU of the validation images, which are none of the test "
        "images.",
        "panel": "Two test images, their ground truth and the mask of every run of the first seed.",
    }
    shown = [f"![{captions[name]}]({file})\n\n{captions[name]}" for name, file in pictures.items()]
    return [*shown, *missing]


def _differences(report: Report) -> list[str]:
    stated = [list(map(str, entry)) for entry in report["differences"]["stated"]]
    blocks = [_table(["what", "publication", "here"], stated, left=3)]
    options = report["differences"]["options"]
    if options:
        everyone = {row["task"] for row in report["summary"] if row["recipe"] == "ours"}
        rows = [
            [
                f"`{entry['option']}`",
                entry["published"],
                entry["ours"],
                "all" if set(entry["rows"]) == everyone else ", ".join(entry["rows"]),
            ]
            for entry in options
        ]
        blocks += [
            f"Options of the row in which the setting *ours* differs from the setting "
            f"*{report['published_recipe']}*, read from the rows that were trained:",
            _table(["option", report["published_recipe"], "ours", "rows"], rows, left=4),
        ]
    titles = "; ".join(f"*{name}*: {title}" for name, title in report["recipes"].items())
    return [*blocks, f"Settings: {titles}."]


def _how(report: Report) -> str:
    data, machine = report["data"], report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [f"Publication: {report['source']}."]
    for source, parts in data["sources"].items():
        name = f"of `{data['name']}`" if source == "studies" else f"phantoms ({source})"
        lines.append(
            f"Images: {parts['images']} labelled ones {name}; {parts['test']} tested on (hash of "
            f"the id below {data['test_share']}), {parts['validation']} choose the step, "
            f"{parts['training']} trained on; fingerprints {parts['training_fingerprint']} and "
            f"{parts['test_fingerprint']} (test)."
        )
    steps, seeds = (", ".join(map(str, report[name])) for name in ("steps", "seeds"))
    lines += [
        f"Steps: {steps}; seeds: {seeds}.",
        f"Machine: {machine['name']}, {machine['cores']} cores, {machine['threads']} threads.",
        f"Versions: {versions}; {report['created']}.",
        f"Command: `{report['command']}`; the page again from the kept figures: `--page-only`.",
    ]
    return "  \n".join(lines)


def _variant(report: Report, row: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(v for v in report["variants"] if v["name"] == row["variant"])
    return found


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['variant']} ({row['recipe']})"


def _reached(row: Mapping[str, Any]) -> str:
    if row["failed"] == row["runs"]:
        return f"{NO} failed"
    if not row["judged"]:
        return NONE
    mark = YES if row["reached"] == row["runs"] else NO
    return mark if row["runs"] == 1 else f"{mark} {row['reached']}/{row['runs']}"


def _number(value: float | None, scale: float = 1, digits: int = 4) -> str:
    return NONE if value is None else f"{value * scale:.{digits}f}"


def _value(
    figures: Mapping[str, Mapping[str, float]],
    name: str,
    intervals: Mapping[str, Sequence[float]] | None = None,
    scale: float = 1,
    digits: int = 4,
) -> str:
    """Return a figure with its interval over images, or its deviation over seeds."""
    if name not in figures:
        return NONE
    shown = _number(figures[name]["mean"], scale, digits)
    if "sd" in figures[name]:
        return f"{shown} ± {_number(figures[name]['sd'], scale, digits)}"
    if intervals and name in intervals:
        low, high = (_number(bound, scale, digits) for bound in intervals[name])
        return f"{shown} ({low} to {high})"
    return shown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """Return a Markdown table, its first `left` columns aligned to the left."""
    rule = ["---" if place < left else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
