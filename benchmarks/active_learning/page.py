"""The page of a simulation, from its report alone: protocol, table, curves, plain words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.active_learning.protocol import BASELINE
from benchmarks.active_learning.report import EXACT
from benchmarks.harness.tables import table
from lib.files import write_atomically

NAMES = {
    "dice_kaggle": "mean over images of the Dice of the foreground (1 for an empty answer where "
    "nothing is, 0 for any other there), on the network's own grid",
    "exam_kappa": "Cohen's kappa, linearly weighted, of exams",
}


def write_page(report: Mapping[str, Any], page: Path, json_name: str) -> Path:
    """Write the Markdown page and, where matplotlib is installed, its curve beside it."""
    picture = ""
    try:
        from benchmarks.active_learning.figures import draw
    except ImportError as error:
        picture = f"No picture: {error.name or 'matplotlib'} is not installed here."
    else:
        path = draw(page.with_suffix(".png"), report)
        picture = f"![Score against labels, mean and 95 % interval over seeds]({path.name})"
    content = text(report, picture, json_name)
    return write_atomically(page, lambda file: file.write(content.encode()))


def text(report: Mapping[str, Any], picture: str, json_name: str) -> str:
    """Return the page."""
    protocol, data = report["protocol"], report["data"]
    recipe, spec = protocol["task"]["training"], protocol["task"]
    whole = report["all_labels"]
    sides = spec["input"]["longest_side"]
    steps = recipe["steps"] * (len(protocol["counts"]) if protocol["continued"] else 1)
    first = f"the weights {name}" if (name := protocol.get("init_from")) else "random weights"
    start = f"the weights of the round before (the first from {first})"
    start = start if protocol["continued"] else first
    lines = [
        f"# Active learning simulated: {spec['name']} on {data['name']}",
        f"`{report['command']}`, [JSON]({json_name}), {report['created']}.",
        f"{data['pool']} samples could be chosen ({data['pool_empty']} of them without a "
        f"structure), {data['test']} were tested on ({data['test_empty']} without), never chosen "
        f"from, of other groups, and used for nothing else: each model is trained from {start} for "
        f"{recipe['steps']} steps of {recipe['batch_size']} patches of {recipe['patch_size']} "
        f"pixels"
        + (f" on images of at most {sides} pixels" if sides else "")
        + f", maps {', '.join(map(str, spec['network']['channels']))}, and the weights of the last "
        f"step are scored. Score: {NAMES[protocol['metric']]}. Seeds "
        f"{', '.join(map(str, protocol['seeds']))} decide the first labels, the initial weights "
        f"and the order of training; the strategies of a seed share the first model.",
        f"With all labels, in {steps} steps, the score is {sum(whole) / len(whole):.4f} "
        f"({min(whole):.4f} to {max(whole):.4f} over the seeds).",
        _table(report),
        "Labels needed are interpolated between rounds, in each seed against its own score with "
        "all labels; where the rounds do not reach it, between the last round and all labels. "
        f"Intervals are 95 % bootstrap over seeds; p is of the {_test(len(whole))} over "
        "seeds, one-sided, and by Holm over the strategies in brackets."
        + "".join(_in_rounds(report)),
        picture,
        "## In words",
        "\n".join(f"- {line}" for line in report["verdicts"]),
        "## Score by labels",
        _scores(report),
    ]
    return "\n\n".join(lines) + "\n"


def _test(seeds: int) -> str:
    if 2**seeds <= EXACT:
        return "exact paired permutation test"
    return f"paired permutation test ({EXACT:,} sign changes drawn)"


def _in_rounds(report: Mapping[str, Any]) -> list[str]:
    """Return sentences on medians, and on what is saved if nothing beyond the rounds counts."""
    table, most = report["strategies"], report["protocol"]["counts"][-1]
    base, told = table[BASELINE], []
    for name, row in table.items():
        gain = row.get("labels_saved_in_rounds")
        if gain is not None:
            low, high = gain["interval"]
            told.append(
                f" {name}: median {row['labels_needed_median']:.1f} labels, random "
                f"{base['labels_needed_median']:.1f}; saved, if a score that is not reached in the "
                f"rounds counts as reached with {most}: {gain['mean']:.1f} ({low:.1f} to "
                f"{high:.1f}), p {gain['p']:.3f} ({gain['p_holm']:.3f})."
            )
    return told


def _table(report: Mapping[str, Any]) -> str:
    head = ("strategy", "labels needed", "share of pool", "reached in rounds", "labels saved")
    head += ("p", "mean score gained", "p")  # type: ignore[assignment]
    rows = []
    for name, row in report["strategies"].items():
        needed = row["labels_needed"]
        cells = [
            name,
            f"{row['labels_needed_mean']:.1f} ({min(needed):.0f} to {max(needed):.0f})",
            f"{row['share_of_pool']:.1%}",
            f"{row['in_rounds']} of {len(needed)}",
        ]
        for figure, digits in (("labels_saved", 1), ("score_gained", 4)):
            if name == BASELINE:
                cells += ["-", "-"]
                continue
            gain = row[figure]
            low, high = gain["interval"]
            cells.append(f"{gain['mean']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})")
            cells.append(f"{gain['p']:.3f} ({gain['p_holm']:.3f})")
        rows.append(cells)
    return table(head, rows, 1)


def _scores(report: Mapping[str, Any]) -> str:
    counts = report["protocol"]["counts"]
    rows = [
        [
            name,
            *(
                f"{point['mean']:.4f} ({point['interval'][0]:.4f} to {point['interval'][1]:.4f})"
                for point in row["curve"]
            ),
        ]
        for name, row in report["strategies"].items()
    ]
    return table(["strategy", *(f"{count} labels" for count in counts)], rows, 1)
