"""Writes docs/benchmarks.md from the figures in docs/results: `python -m benchmarks.speed.page`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.machine import bf16_words
from benchmarks.speed import clicks, scribbles
from benchmarks.speed.rows import memory
from lib.files import write_atomically

Section = Callable[[Mapping[str, Any]], list[str]]
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Written by `python -m benchmarks.speed.page` from the JSON files in [results](results); change
nothing here by hand. Each section says what was measured, where, and with which command; the
command runs in under three minutes on a quiet machine with two cores (the one on a volume takes
longer) and can be repeated anywhere.
"""

HOW = {
    "training-step": """\
One step: forward, loss, backward, optimiser. Stock is MONAI's `SupervisedTrainer` with the
arguments MONAI Label's `BasicTrainTask` gives it (its `amp=True` acts on CUDA only), contiguous
tensors. Ours is `lib/training/step.py`, which the Train button, `train` and `torchrun` all run,
with gradient clipping and schedule. Same network, initial weights, loss, optimiser and batch of
seeded synthetic images; reading and augmenting images is in neither.
""",
    "rows": """\
One step of `lib/training/step.py` with each row's own recipe (batch, patch, loss, optimiser,
averaging) in the precision that "auto" picks, on seeded random batches; reading and augmenting
images is left out. The networks are measured one after the other, each in a process of its own:
one step of warm-up, then up to {most_steps} steps within {seconds_per_network:.0f} s, but at least
{least_steps}. *Images* are patches; *million/s* counts the pixels (3D: voxels) of the input.

Beside some rows stand MONAI's own networks, trained by the same code with the row's recipe,
tensors laid out as MONAI leaves them. `BasicUNet` (3x3 kernels, instance normalisation) has feature
maps that give it the row's number of parameters; `VNet` (batch normalisation, dropout) comes in
one size, in 2D four times the parameters of the row. Beside U-Net 2015 stands none: with as many
parameters and padding, a BasicUNet's step takes too long for three minutes.

*Step* is the median, from which the rates follow. Peak memory is the process's largest resident
set, on a GPU the most that tensors took there; in brackets, what came on top of Python and
libraries. The processes are forked from one that has imported the libraries, so these count
less than in the other sections.
""",
    "inference": """\
From prepared image to probabilities. Stock is `BasicInferTask.run_inferer` itself and a sigmoid;
ours is `Predictor.probabilities`, what the server answers with. OpenVINO is no part of the product
and stands here as a yardstick. All answer the same seeded synthetic images with the same weights;
*mean IoU* is that of the thresholded masks with the drawn nuclei (two classes, pooled), beside its
difference from float32, which must stay within {tolerance}, and the mean IoU of a variant's masks
with the float32 masks.
""",
    "volume": """\
From image to mask. Stock is MONAI's `SlidingWindowInferer` with its defaults (overlap 0.25, equal
weights, one window at a time) on windows of the row's training patch, then sigmoid and threshold,
in float32; ours is `Predictor.__call__`, what the server answers with, in the precision that it
picks on this processor. Each is measured in the other's precision too. All prepare the volume in
the same way and compute with the same network, each in a process of its own; the processes take
turns, without warm-up. A speed-up is the
median (smallest to largest) of stock time over the variant's time within a round. Peak memory is
the process's largest resident set; in brackets, what it held before the first run: Python,
libraries, network and volume.
""",
    "server": """\
`monailabel start_server` in a process of its own on 127.0.0.1, in temporary folders. A request
is POST /infer with `output=image`: the PNG in the store is read, segmented, separated into nuclei,
written and sent. For the rows under load, a training run in its own process and one client that
asks for inferences without pause, while /info/ is asked every 50 ms. For the rows of requests
apart, one client that waits between them, without and with new images that are scored for active
learning meanwhile: scoring waits for requests, and works in the pauses. All else is measured when
the images that are there from the start have their scores.
""",
    "exam": """\
`monailabel start_server` in a process of its own on 127.0.0.1. A request is POST /infer by the id
of one view with `{{"saliency": "gradcam"}}`: all views of the exam are read, answered and
explained; the overlays, scalar maps and masks of the dense tissue of all views lie ready when the
JSON is sent. The first request, which reads the weights, is told apart. Processor time is that of
the server's process, all threads together. Peak memory is the largest resident set of the server's
process, Python and libraries included, after the same request on {large[what]}.
""",
    "annotators": """\
`monailabel start_server` and all annotators on one machine, each with the client library of 3D
Slicer in a thread of its own: next sample ({strategy}), inference, looking at it for {pause_s[0]:g}
to {pause_s[1]:g} s, saving. A training, begun again when it ends, runs in its own process. Every
label is read back afterwards and compared byte by byte.
""",
    "clicks": """\
A simulated user clicks at the deepest point of what is missing or too much, until the Dice of the
foreground is reached (at most {clicks[most_clicks]} times); images without foreground count in the
mean Dice only. Where a task separates objects, another user clicks on single ones that the answer
without clicks did not find, each by itself, until it is matched at an intersection over union above
0.5 (missed, merged, wrongly outlined: see `lib/interactive/click_evaluation.py`); by one click off
the middle are those that a single click anywhere in their inner half finds. In brackets 95 %
bootstrap intervals over images. The times are those of POST /infer by id with `output=image`, on
images that were not asked for before, then with further clicks. """,
    "scribbles": """\
No training: simulated annotators draw lines, short strokes or one click in each structure, or
correct an answer with two strokes, see `lib/interactive/scribble_evaluation.py`.
""",
}
ROUNDS = """\
Every variant has a process of its own; the processes take turns, one run each per round, after two
rounds of warm-up (a variant too slow to repeat counts with its second run). Times are medians over
the rounds; a speed-up is the median (smallest to largest) of stock time over the variant's time
within a round. Peak memory is the process's largest resident set, Python and libraries included; in
brackets, what came on top of those.
"""
TITLES = {
    "training-step": "Training step",
    "rows": "Training throughput of every row",
    "inference": "Inference",
    "volume": "One volume",
    "server": "Server",
    "exam": "Four-view exam",
    "annotators": "Many annotators",
    "clicks": "Clicks",
    "scribbles": "Scribbles",
}


def main() -> int:
    """Write the page; the status is 1 where no results are there yet."""
    sections = []
    for name, title in TITLES.items():
        stem = f"benchmark_{name.replace('-', '_')}"
        for file in sorted((*RESULTS.glob(f"{stem}.json"), *RESULTS.glob(f"{stem}_on_*.json"))):
            report = json.loads(file.read_text())
            sections.append("\n".join((f"## {title}", "", *_section(name, report, file.name))))
    if not sections:
        print(f"no results in {RESULTS.name}; run `python -m monailabel_app benchmark NAME` first")
        return 1
    text = "\n".join((HEAD, *sections))
    write_atomically(PAGE, lambda file: file.write(text.encode()))
    return 0


def _section(name: str, report: Mapping[str, Any], file: str) -> list[str]:
    machine = report["machine"]
    busy = ": busy, quiet ones are faster" if machine["load_before"] >= machine["cores"] else ""
    lines = [
        f"Measured: {report['what']}.",
        "",
        HOW[name].format(**{"tolerance": report.get("tolerance_mean_iou"), **report}).rstrip(),
        "",
    ]
    lines += SECTIONS.get(name, _in_rounds)(report)
    for variant, reason in report.get("left_out", {}).items():
        lines += ["", f"{variant} is left out: {reason}."]
    versions = ", ".join(f"{package} {number}" for package, number in report["versions"].items())
    lines += [
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['instruction_set']}, "
        f"{bf16_words(machine)}, {machine['memory_gib']} GiB; {machine['torch_threads']} threads; "
        f"load {machine['load_before']} before the start{busy}.  ",
        f"Versions: {versions}.  ",
        f"Seed {report['seed']}"
        + (f"; weights: {report['weights']}" if "weights" in report else "")
        + ".  ",
        f"Command: `{report['command']}` ([{file}](results/{file}))",
        "",
    ]
    return lines


def _in_rounds(report: Mapping[str, Any]) -> list[str]:
    return [ROUNDS, *_variants(report)]


def _variants(report: Mapping[str, Any]) -> list[str]:
    unit = report["unit"]
    factor, digits = (1, 3) if unit == "s" else (1000, 0)
    compared = any("mean_iou" in row for row in report["figures"].values())
    head = ["", "median", "speed-up (min..max)", "rounds", "peak memory"]
    head += ["mean IoU", "minus fp32", "with fp32 masks"] if compared else []
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    for variant, row in report["figures"].items():
        name = f"{variant} ({report['ours_computes_in']})" if variant == "ours" else variant
        cells = [
            name,
            f"{row['median_s'] * factor:.{digits}f} {unit}",
            f"{row['speedup']:.2f} ({row['speedup_min']:.2f}..{row['speedup_max']:.2f})",
            str(row["rounds"]),
            f"{row['peak_memory_mib']} MiB ({row['memory_of_the_work_mib']})",
        ]
        if compared:
            cells += [
                f"{row['mean_iou']:.4f}",
                f"{row['mean_iou_minus_fp32']:+.5f}",
                f"{row['mean_iou_with_fp32_masks']:.5f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _volume(report: Mapping[str, Any]) -> list[str]:
    lines = [
        "| | median | speed-up (min..max) | windows | peak memory |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in report["figures"].items():
        lines.append(
            f"| {name} | {row['median_s']:.1f} s | {row['speedup']:.2f} ({row['speedup_min']:.2f}.."
            f"{row['speedup_max']:.2f}) | {row['windows']} x {'x'.join(map(str, row['window']))} | "
            f"{row['peak_memory_mib']} MiB ({row['held_before_mib']}) |"
        )
    verdict = "below" if report["ours_below_limit"] else "not below"
    limit = f"{report['memory_limit_gib']:g} GiB"
    return [*lines, "", f"Ours takes {report['ours_peak_gib']:.2f} GiB at most, {verdict} {limit}."]


def _rows(report: Mapping[str, Any]) -> list[str]:
    head = [
        "",
        "parameters",
        "batch",
        "format",
        "step",
        "fastest",
        "steps",
        "images/s",
        "million/s",
    ]
    head.append("peak memory")
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    for name, row in report["figures"].items():
        cells = [
            f"{name} {tuple(row['features'])}" if row["features"] else name,
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['batch_size']} x {'x'.join(map(str, row['patch']))}",
            row["computes_in"],
            f"{row['median_s']:.2f} s",
            f"{row['min_s']:.2f} s",
            str(row["steps"]),
            f"{row['images_per_s']:.2f}",
            f"{row['million_per_s']:.3f}",
            memory(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _exam(report: Mapping[str, Any]) -> list[str]:
    rows = {
        "warm request": report["request"],
        "processor time of it": report["processor_time"],
        "request of the large DICOM views": report["large"]["request"],
    }
    lines = ["| | median | minimum | maximum | requests |", "|---|---:|---:|---:|---:|"]
    for name, row in rows.items():
        times = " | ".join(f"{row[key]:.2f} s" for key in ("median_s", "min_s", "max_s"))
        lines.append(f"| {name} | {times} | {row['requests']} |")
    phases = ", ".join(f"{name} {spent:.2f} s" for name, spent in report["phases_s"].items())
    verdict = "below" if report["below_limit"] else "not below"
    lines += [
        "",
        f"First request: {report['first_request_s']:.2f} s. Phases (medians): {phases}. The median "
        f"is {verdict} {report['limit_s']:g} s.",
    ]
    large = report["large"]
    if large["peak_gib"] is not None:
        verdict = "below" if large["below_limit"] else "not below"
        lines += [
            "",
            f"Peak memory: {large['peak_gib']:.2f} GiB, {verdict} {large['limit_gib']:g} GiB "
            f"({large['peak_gib_before']:.2f} GiB before the large views).",
        ]
    size = sum(report["files"].values()) / 2**20
    return [*lines, "", f"Files of one answer: {len(report['files'])}, {size:.1f} MiB in all."]


def _requests(report: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Start of the process to the first answer of /info/: "
        f"{report['start_to_first_info_s']:.1f} s. First inference request, weights read: "
        f"{report['first_inference_s']:.2f} s. Images scored beside the requests: "
        f"{report['images_scored_meanwhile']}.",
        "",
    ]
    return lines + _times(report["figures"])


def _times(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        "| request | median | 95th percentile | maximum | requests |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in figures.items():
        times = " | ".join(f"{row[key] * 1000:.0f} ms" for key in ("median_s", "p95_s", "max_s"))
        lines.append(f"| {name} | {times} | {row['requests']} |")
    return lines


def _annotators(report: Mapping[str, Any]) -> list[str]:
    goal, training = report["goal"], report["training"]
    verdict = "met" if goal["met"] else "not met"
    return [
        *_times(report["figures"]),
        "",
        f"{report['labels']} labels saved: {len(report['lost'])} lost, {len(report['errors'])} "
        f"errors, {len(report['given_to_two'])} images given to two. The training took "
        f"{training['steps']} steps. Wanted, none of these and a 95th percentile of the next "
        f"sample below {goal['next_sample_p95_s'] * 1000:.0f} ms: {verdict}.",
    ]


def _as_printed(table: Callable[[dict[str, Any]], list[str]]) -> Section:
    return lambda report: ["```", *table(dict(report)), "```"]


SECTIONS: dict[str, Section] = {
    "server": _requests,
    "exam": _exam,
    "annotators": _annotators,
    "rows": _rows,
    "volume": _volume,
    "clicks": _as_printed(clicks.table),
    "scribbles": _as_printed(scribbles.table),
}

if __name__ == "__main__":
    sys.exit(main())
