"""The outcome of a study in plain words, from its report alone."""

from __future__ import annotations

from benchmarks.harness.tables import value
from benchmarks.reproduction.pages.cells import Report, bounds_of, title, variant_of


def outcome(report: Report) -> list[str]:
    """Say plainly what was reached, what was not and what failed."""
    judged = [row for row in report["summary"] if row["judged"]]
    reached = [row for row in judged if row["runs"] and row["reached"] == row["runs"]]
    single = all(len(bounds_of(report, row)) == 1 for row in judged)
    what = "the figure" if single else "all figures"
    lines = [f"{len(reached)} of {len(judged)} judged rows reach {what} asked for."]
    for row in judged:
        if row in reached or row["failed"] == row["runs"]:
            continue
        for bound in bounds_of(report, row):
            found = row["figures"].get(bound["metric"], {}).get("mean", -1)
            if found >= bound["value"] and row["runs"] == 1:
                continue
            lines.append(
                f"- **Not reached: {title(row)}**: {bound['metric']} "
                f"{value(row['figures'], bound['metric'])}, asked for {bound['value']:.4f} "
                f"({bound['origin']}); {row['reached']} of {row['runs']} runs reach it."
            )
    for row in report["summary"]:
        if row["collapse_expected"] and row["figures"]:
            ours = row["figures"]["mean_iou"]["mean"]
            printed = variant_of(report, row)["printed"]["mean_iou"]
            lines.append(
                f"- {title(row)}: the publication reports a collapse ({printed:.4f}); here "
                f"{ours:.4f}, foreground IoU {row['figures']['fg_iou']['mean']:.4f}."
            )
    for run in report["runs"]:
        if run.get("empty"):
            lines.append(
                f"- **Collapsed to the empty mask: {title(run)}, seed {run['seed']}**: no pixel "
                f"of any test image is found."
            )
        if run["status"] == "failed":
            lines.append(
                f"- **Failed: {title(run)}, seed {run['seed']}**: {run['error']}: {run['reason']}"
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
