"""The report of a study as plain data: the printed figures, every run, and what was reached."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.reproduction.exam_summary import exam_summary
from benchmarks.reproduction.published.recipes import differences
from benchmarks.reproduction.study import Study, Variant
from lib.statistics import mean_and_sd
from lib.tasks.registry import TASKS, get_task
from lib.tasks.spec import TaskSpec

PER_CASE = ("images", "exams")
FORMAT = 1  # raised when the page needs what earlier reports lack


def assemble(
    study: Study, head: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the report.

    Args:
        head: data, machine and command of this report.
        outcomes: what the runs left: figures, or the reason why there are none. Runs on other
            images are left out, and named.
    """
    rows = [outcome["identity"]["task"] for outcome in outcomes if "fold" in outcome]
    study = study.at_sizes({row["input"]["size"] for row in rows})
    order = {variant.name: rank for rank, variant in enumerate(study.variants)}
    mine = [outcome for outcome in outcomes if outcome["variant"] in order]
    fitting = [outcome for outcome in mine if _fits(outcome, head)]
    fitting.sort(
        key=lambda o: (
            order[o["variant"]],
            o["recipe"] != study.published,
            o["seed"],
            o.get("fold", ()),
        )
    )
    runs = [_judged(study, outcome) for outcome in fitting]
    by_folds = study.subject == "exams"
    own_sizes = {v.task: max(get_task(v.task).input.sides) for v in study.variants}
    tested = {outcome["variant"] for outcome in fitting if outcome["recipe"] != study.published}
    return {
        "format": FORMAT,
        "study": study.name,
        "title": study.title,
        "subject": study.subject,
        "source": study.source,
        "note": study.note,
        **head,
        "seeds": sorted({run["seed"] for run in runs}),
        "steps": sorted({_steps(run) for run in runs}),
        "tables": list(study.tables),
        "published_recipe": study.published,
        "recipes": {name: recipe.title for name, recipe in study.recipes.items()},
        "variants": [_printed(variant) for variant in study.variants],
        **({"own_sizes": own_sizes} if by_folds else {}),
        "summary": exam_summary(study, fitting) if by_folds else _summary(study, runs),
        "differences": {
            "stated": [[row["what"], row["published"], row["here"]] for row in study.differences],
            "options": differences(_compared(study, tested)),
        },
        "left_out": [outcome["folder"] for outcome in mine if outcome not in fitting],
        "runs": runs,
    }


def _steps(run: Mapping[str, Any]) -> int:
    """Return the steps that a run was asked for; where it was asked for passes, those it took."""
    training = run["identity"]["task"]["training"]
    return int(run.get("steps", 0) if training.get("epochs") else training["steps"])


def _compared(study: Study, tested: Container[str]) -> list[tuple[str, TaskSpec, TaskSpec]]:
    """Return name, published row and our row of the variants that were run in our setting."""
    if not study.published:
        return []
    return [
        (
            v.task if study.label(v) == v.task else v.name,
            study.row(v, study.published),
            study.row(v, "ours"),
        )
        for v in study.variants
        if v.name in tested and v.task in TASKS
    ]


def _fits(outcome: Mapping[str, Any], head: Mapping[str, Any]) -> bool:
    """Return whether the run used the images of this report, as far as these have its source."""
    split = head["data"]["sources"].get(outcome.get("part", outcome["source"]))
    identity = outcome["identity"]
    if split is None:
        return "fold" not in outcome
    return bool(
        identity["training_data"] == split["training_fingerprint"]
        and identity["test_data"] == split["test_fingerprint"]
    )


def _judged(study: Study, outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run without its rows for each case, with whether it reached its bound."""
    run = {name: value for name, value in outcome.items() if name not in PER_CASE}
    run["status"] = "failed" if "reason" in outcome else "done"
    if study.subject == "exams":
        return run
    variant = next(v for v in study.variants if v.name == outcome["variant"])
    run["collapse_expected"] = outcome["recipe"] in variant.collapses
    run["reached"] = None
    if run["status"] == "done":
        found = figures(run)
        run["empty"] = found["recall"] == 0 and found["precision"] == 1  # not one pixel
        if variant.bounds and not run["collapse_expected"]:
            run["reached"] = all(found.get(b.metric, -1) >= b.value for b in variant.bounds)
    return run


def figures(run: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a run on all test images: of pixels, objects and presence."""
    presence = run.get("presence") or {"intervals": {}}
    return {**run["pooled"], **{name: presence[name] for name in presence["intervals"]}}


def intervals(run: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Return the bounds of the interval of each of `figures`."""
    return {**run["intervals"], **run.get("presence", {}).get("intervals", {})}


def _printed(variant: Variant) -> dict[str, Any]:
    printed = variant.printed
    return {
        "name": variant.name,
        "task": variant.task,
        "training": dict(variant.training),
        "prior": variant.pretrained,
        "printed": asdict(printed),
        "other_steps": [asdict(other) for other in variant.other_steps],
        "implied_mean_iou": printed.implied_mean_iou,
        "bounds": [asdict(bound) for bound in variant.bounds],
        **({"size": variant.size, "accuracy": dict(variant.accuracy)} if variant.size else {}),
    }


def _summary(study: Study, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per variant and recipe: each figure over the seeds, and how many reached."""
    rows = []
    for variant in study.variants:
        for recipe in sorted(study.recipes, key=lambda name: name != study.published):
            group = [r for r in runs if r["variant"] == variant.name and r["recipe"] == recipe]
            done = [run for run in group if run["status"] == "done"]
            if not group:
                continue
            rows.append(
                {
                    "variant": variant.name,
                    "task": variant.task,
                    "recipe": recipe,
                    "runs": len(group),
                    "failed": len(group) - len(done),
                    "reached": sum(run["reached"] is True for run in group),
                    "empty": sum(run["empty"] for run in done),
                    "judged": bool(variant.bounds) and recipe not in variant.collapses,
                    "collapse_expected": recipe in variant.collapses,
                    "figures": mean_and_sd([figures(run) for run in done]),
                    "interval": intervals(done[0]) if len(done) == 1 else None,
                    "mean_over_images": mean_and_sd([run["mean_over_images"] for run in done]),
                    "validation": mean_and_sd([run["validation"] for run in done]),
                    "last_loss": mean_and_sd([{"loss": r["history"]["loss"][-1]} for r in done]),
                    "steps": sorted({run["steps"] for run in done}),
                    "parameters": done[0]["parameters"] if done else None,
                    "patches_per_second": _mean(done, "patches_per_second"),
                    "training_seconds": _mean([run["seconds"] for run in done], "training"),
                }
            )
    return rows


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return round(sum(values) / len(values), 2) if values else None
