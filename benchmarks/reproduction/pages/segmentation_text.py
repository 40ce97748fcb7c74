"""The text of a study's page in Markdown, from its report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.harness.tables import NONE, number, table, value
from benchmarks.reproduction.pages.cells import Report, asked, reached_mark, variant_of
from benchmarks.reproduction.pages.outcome import outcome
from benchmarks.reproduction.pages.presence import presence_section

SPELT = {2: "Two", 3: "Three", 4: "Four"}


def text(
    report: Report, pictures: Mapping[str, str], json_name: str, missing: Sequence[str] = ()
) -> str:
    """Return the page.

    Args:
        pictures: file names of "loss", "mean_iou" and "panel", as far as they were drawn.
        json_name: file of the report, beside the page.
        missing: what could not be drawn.
    """
    published = report["published_recipe"]
    parts = [
        f"# {report['study']}: {report['title']}" + (", measured again" if published else ""),
        *filter(None, [report.get("note")]),
        f"Written by `python -m monailabel_app reproduce {report['study']}` from "
        f"[{json_name}]({json_name}); change nothing here by hand.",
        "## Outcome",
        *outcome(report),
        *(presence_section(report) if "always_empty" in report else _printed_sections(report)),
        "## More figures",
        *_more_section(report),
        "## Curves and masks",
        *_pictures(report, pictures, missing),
        "## What differs from the published setting" if published else "## Setting",
        *differences_section(report),
        "## How it was measured",
        _how(report),
    ]
    return "\n\n".join(parts) + "\n"


def _printed_sections(report: Report) -> list[str]:
    iou_table, pixel_table = report["tables"]
    return [
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
    ]


def _iou_table(report: Report) -> str:
    head = ["variant", "task", "setting", "printed", "implied", "ours", "asked for", "reached"]
    head += ["loss, printed", "loss, ours"]
    rows = []
    for row in report["summary"]:
        variant = variant_of(report, row)
        rows.append(
            [
                row["variant"],
                f"`{row['task']}`",
                row["recipe"],
                number(variant["printed"]["mean_iou"]),
                number(variant["implied_mean_iou"]),
                value(row["figures"], "mean_iou", row["interval"]),
                asked(report, row),
                reached_mark(row),
                number(variant["printed"]["loss"]),
                value(row["last_loss"], "loss"),
            ]
        )
    return table(head, rows, left=3)


def _pixel_table(report: Report) -> str:
    names = ("accuracy", "precision", "recall")
    head = ["variant", "setting"]
    head += [f"{name}, {whose}" for name in names for whose in ("printed", "ours")]
    rows = []
    for row in report["summary"]:
        printed = variant_of(report, row)["printed"]
        cells = [row["variant"], row["recipe"]]
        for name in names:
            cells += [number(printed[name], 100, 2), value(row["figures"], name, None, 100, 2)]
        rows.append(cells)
    return table(head, rows, left=2)


def _more_section(report: Report) -> list[str]:
    names = {"fg_iou": "fg IoU", "fg_dice": "fg Dice", "ap50": "AP50"}
    if "always_empty" in report:  # precision and recall have no table of their own
        names = {**names, "precision": "precision", "recall": "recall"}
        del names["ap50"]
    head = ["variant", "setting", *names.values(), "mean IoU, mean over images"]
    head += ["parameters", "steps", "patches/s", "minutes"]
    rows = []
    for row in report["summary"]:
        figures = row["figures"]
        seconds, speed = row["training_seconds"], row["patches_per_second"]
        rows.append(
            [
                row["variant"],
                row["recipe"],
                *(value(figures, name) for name in names),
                value(row["mean_over_images"], "mean_iou"),
                f"{row['parameters']:,}" if row["parameters"] else NONE,
                ", ".join(map(str, row["steps"])) or NONE,
                NONE if speed is None else f"{speed:.0f}",
                NONE if seconds is None else f"{seconds / 60:.1f}",
            ]
        )
    told = ["Not in the publication."] if report["published_recipe"] else []
    if "ap50" in names:
        told.append("AP50: objects matched at IoU 0.5.")
    told.append(
        "Patches per second: a whole training with reading and validations, on the machine below."
    )
    return [" ".join(told), table(head, rows, left=2)]


def _pictures(report: Report, pictures: Mapping[str, str], missing: Sequence[str]) -> list[str]:
    count = len(report["panel"])
    images = {1: "A test image, its"}.get(count, f"{SPELT.get(count, count)} test images, their")
    captions = {
        "loss": "Mean training loss since the last validation. Losses of different definition are "
        "not comparable with each other.",
        "mean_iou": "Two-class mean IoU of the validation images, which are none of the test "
        "images.",
        "dice_kaggle": "Dice of the validation images in the Kaggle convention.",
        "panel": f"{images} ground truth and the mask of every run of the first seed.",
    }
    shown = [f"![{captions[name]}]({file})\n\n{captions[name]}" for name, file in pictures.items()]
    return [*shown, *missing]


def differences_section(report: Report) -> list[str]:
    """Return tables of what differs from the published setting, and what the settings are."""
    stated = [list(map(str, entry)) for entry in report["differences"]["stated"]]
    blocks = [table(["what", "publication", "here"], stated, left=3)] if stated else []
    options = report["differences"]["options"]
    if options:
        ours = [row for row in report["summary"] if row["recipe"] == "ours"]
        everyone = [{row[name] for row in ours} for name in ("task", "variant")]
        rows = [
            [
                f"`{entry['option']}`",
                entry["published"],
                entry["ours"],
                "all" if set(entry["rows"]) in everyone else ", ".join(entry["rows"]),
            ]
            for entry in options
        ]
        blocks += [
            f"Options of the row in which the setting *ours* differs from the setting "
            f"*{report['published_recipe']}*, read from the rows that were trained:",
            table(["option", report["published_recipe"], "ours", "rows"], rows, left=4),
        ]
    titles = "; ".join(f"*{name}*: {title}" for name, title in report["recipes"].items())
    return [*blocks, f"Settings: {titles}."]


def _how(report: Report) -> str:
    data, machine = report["data"], report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines = [f"Publication: {report['source']}."]
    for source, used in data["sources"].items():
        name = f"of `{data['name']}`" if source == "studies" else f"phantoms ({source})"
        split = f"hash of the {data.get('split_by', 'id')} below {data['test_share']}"
        if data.get("split_by") == "group":
            split += f", {used['test_groups']} of {used['groups']} groups"
        lines.append(
            f"Images: {used['images']} labelled ones {name}; {used['test']} tested on ({split}), "
            f"{used['validation']} choose the step, {used['training']} trained on; fingerprints "
            f"{used['training_fingerprint']} and {used['test_fingerprint']} (test)."
        )
    steps, seeds = (", ".join(map(str, report[name])) for name in ("steps", "seeds"))
    lines += [
        f"Steps: {steps}; seeds: {seeds}.",
        f"Machine: {machine['name']}, {machine['cores']} cores, {machine['threads']} threads.",
        f"Versions: {versions}; {report['created']}.",
        f"Command: `{report['command']}`; the page again from the kept figures: `--page-only`.",
    ]
    return "  \n".join(lines)
