"""The summary of a study on exams: the answers of all folds of a run pooled, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.reproduction.study import Study, Variant
from benchmarks.reproduction.testing import BOOTSTRAP_SEED
from lib.classification.evaluation import ScoredExam, report_on
from lib.tasks.exam_spec import ExamSpec
from lib.tasks.registry import get_task

POOLED = ("classes", "levels", "by_view", "by_breast", "sure", "commonest", "about")


def exam_summary(study: Study, outcomes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each variant, recipe, seed and number of folds.

    Each exam is answered by the fold that it was held out of; figures are those of
    `lib.classification.evaluation.ExamReport` over the folds that are done. Rows of single exams
    are left
    out: they are in the results of the runs.
    """
    groups: dict[tuple[str, str, int, int], list[Mapping[str, Any]]] = {}
    for outcome in outcomes:
        folds = outcome["fold"][1]
        key = outcome["variant"], outcome["recipe"], outcome["seed"], folds
        groups.setdefault(key, []).append(outcome)
    variants = {variant.name: variant for variant in study.variants}
    return [
        _row(variants[name], recipe, seed, folds, group)
        for (name, recipe, seed, folds), group in groups.items()
    ]


def _row(
    variant: Variant, recipe: str, seed: int, folds: int, group: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    done = [outcome for outcome in group if "reason" not in outcome]
    row: dict[str, Any] = {
        "variant": variant.name,
        "task": variant.task,
        "recipe": recipe,
        "size": variant.size,
        "seed": seed,
        "folds": folds,
        "runs": len(group),
        "failed": len(group) - len(done),
        "printed": dict(variant.accuracy),
    }
    if done:
        row |= _pooled(get_task(variant.task).exam_rules, done)
        row |= {
            "parameters": done[0]["parameters"],
            "steps": sorted({outcome["steps"] for outcome in done}),
            "training_seconds": [outcome["seconds"]["training"] for outcome in done],
            "temperatures": [outcome["temperature"] for outcome in done],
        }
    return row


def _pooled(rules: ExamSpec, done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scored = [ScoredExam.from_row(row, rules.names) for outcome in done for row in outcome["exams"]]
    failed = {id: cause for outcome in done for id, cause in outcome["not_answered"].items()}
    report = report_on(scored, rules, BOOTSTRAP_SEED, failed).as_dict()
    return {**{name: report[name] for name in POOLED}, "not_answered": failed}
