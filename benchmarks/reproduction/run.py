"""One run of a study: train a variant by a recipe with a seed, test it, keep the figures."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.machine import device_facts
from benchmarks.harness.where import Where
from benchmarks.reproduction.initial_weights import Prior
from benchmarks.reproduction.splits import Parts
from benchmarks.reproduction.study import Recipe
from benchmarks.reproduction.testing import test_run
from lib.files import write_json
from lib.kinds import predictor_class
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.checkpoint import Checkpoint, load_checkpoint, utc_now, versions, weights_print
from lib.weights.runner import NetworkRunner

RESULT = "result.json"
FAILURE = "failure.json"
BEST = "best.pt"


@dataclass(frozen=True)
class Run:
    """A variant, a recipe and a seed.

    Attributes:
        task: the row as the recipe sets it, with the steps of this run.
        folder: of the run's state, weights and figures; its name is the run's.
        source: of its images; see `benchmarks.reproduction.study.Variant`.
        prior: what it starts from; None starts from random weights.
        fold: which of how many of a cross-validation; None where there is none.
    """

    variant: str
    task: TaskSpec
    recipe: str
    seed: int
    folder: Path
    setting: Recipe
    source: str = "studies"
    prior: Prior | None = None
    fold: tuple[int, int] | None = None

    @property
    def part(self) -> str:
        """What tells its parts of the images from those of other runs."""
        if self.fold is None:
            return self.source
        return f"{self.task.name}, fold {self.fold[0]} of {self.fold[1]}"

    @property
    def name(self) -> str:
        """Name of the run, and of its folder."""
        return self.folder.name

    def identity(self, parts: Parts) -> dict[str, Any]:
        """Return what decides the figures; a finished run of equal identity is not repeated."""
        trained, row = (
            json.loads(json.dumps(part)) for part in (self.task.as_trained(), self.task.as_dict())
        )
        more: dict[str, Any] = {"prior": self.prior.identity()} if self.prior else {}
        if self.fold:
            more["fold"] = list(self.fold)
        return {
            **more,
            "task": trained,
            "output": row["output"],
            "recipe": self.recipe,
            "seed": self.seed,
            "training_data": parts.training_print,
            "validation_images": len(parts.validation_ids),
            "test_data": parts.test_print,
        }


def finished(run: Run, parts: Parts) -> dict[str, Any] | None:
    """Return the stored result of the same run, None where there is none."""
    result = _stored(run)
    return result if result and result["identity"] == run.identity(parts) else None


def _stored(run: Run) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads((run.folder / RESULT).read_text())
        return result if isinstance(result["identity"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _trained_alike(run: Run, parts: Parts) -> dict[str, Any] | None:
    """Return the result of a finished run that differs in the output options only."""
    result, identity = _stored(run), run.identity(parts)
    if result is None or run.setting.weights != "best" or not (run.folder / BEST).is_file():
        return None
    return result if {**result["identity"], "output": identity["output"]} == identity else None


def execute(run: Run, parts: Parts, where: Where) -> None:
    """Do the run and write its figures, or the reason why there are none, to its folder.

    Where only the output options have changed since, it is tested again and not trained. A full
    disk (`OSError`) is raised, as the reason could not be written either.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    trained = _trained_alike(run, parts)
    for name in (RESULT, FAILURE):
        (run.folder / name).unlink(missing_ok=True)
    try:
        if trained:
            result = _test_again(trained, run, parts, where)
        else:
            result = _train_and_test(run, parts, where)
    except OSError:
        raise
    except Exception as error:  # whatever stops one variant must not stop the others
        reason = (str(error).strip().splitlines() or [""])[0]
        write_failure(run, parts, type(error).__name__, reason)
    else:
        write_json(run.folder / RESULT, result)


def write_failure(run: Run, parts: Parts, kind: str, reason: str) -> None:
    """Write down why the run has no figures."""
    run.folder.mkdir(parents=True, exist_ok=True)
    story = {"error": kind, "reason": reason, "identity": run.identity(parts)}
    write_json(run.folder / FAILURE, {**_head(run), **story})


def _train_and_test(run: Run, parts: Parts, where: Where) -> dict[str, Any]:
    options = FitOptions(
        run.folder,
        seed=run.seed,
        device=where.device,
        precision=where.precision,
        progress=where.progress,
        tensorboard=False,
        command=where.command,
        validation_ids=parts.validation_ids,
        keep=run.setting.weights,
    )
    if run.prior:
        options = replace(options, init=run.prior.load(options))
    before = _step_reached(run, parts, options.init)
    start = time.perf_counter()
    fitted = fit(run.task, parts.training, options)
    trained = time.perf_counter()
    checkpoint = load_checkpoint(fitted.weights)
    predictor = _predictor(run, checkpoint, where)
    tested, seconds = _test(run, predictor, parts)
    steps = fitted.steps - before
    recipe = run.task.training
    return {
        **_head(run),
        **tested,
        **_prior_told(run, checkpoint),
        "validation": fitted.metrics,
        "history": {name: [entry[name] for entry in fitted.history] for name in fitted.history[0]},
        "weights": {
            "file": fitted.weights.name,
            "chosen": run.setting.weights,
            "step": int(checkpoint.provenance["step"]),
        },
        "parameters": sum(value.numel() for value in predictor.network.parameters()),
        "steps": fitted.steps,
        "batch_size": recipe.batch_size,
        "patches_per_second": round(steps * recipe.batch_size / (trained - start), 2)
        if steps
        else None,
        "seconds": {
            "training": round(trained - start, 1),
            "steps_timed": steps,
            "test": seconds,
        },
        "machine": device_facts(predictor.device),
        "precision": str(predictor.dtype).removeprefix("torch."),
        "versions": versions(),
        "created": utc_now(),
        "command": where.command,
    }


def _test(run: Run, predictor: NetworkRunner, parts: Parts) -> tuple[dict[str, Any], float]:
    """Return the figures on the test part and the seconds it took."""
    start = time.perf_counter()
    figures = test_run(predictor, parts, run.folder)
    seconds = round(time.perf_counter() - start, 1)
    return {"identity": run.identity(parts), **figures}, seconds


def _test_again(trained: dict[str, Any], run: Run, parts: Parts, where: Where) -> dict[str, Any]:
    """Return the result of `trained` with new figures on the test part."""
    predictor = _predictor(run, load_checkpoint(run.folder / BEST), where)
    tested, _ = _test(run, predictor, parts)
    again = {
        "created": utc_now(),
        "command": where.command,
        "machine": device_facts(predictor.device),
        "versions": versions(),
    }
    return {**trained, **tested, "tested_again": again}


def _predictor(run: Run, checkpoint: Checkpoint, where: Where) -> NetworkRunner:
    kind = predictor_class(run.task)
    return kind.from_checkpoint(run.task, checkpoint, where.device, where.precision)


def _head(run: Run) -> dict[str, Any]:
    return {
        "variant": run.variant,
        "task": run.task.name,
        "recipe": run.recipe,
        "seed": run.seed,
        "source": run.source,
        **({"part": run.part, "fold": list(run.fold)} if run.fold else {}),
    }


def _prior_told(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what is to be said of the weights that the run started from."""
    if run.prior is None:
        return {}
    origin = checkpoint.provenance["from"]
    told = {name: origin.get(name) for name in ("task", "step", "tensors_taken", "tensors_fresh")}
    return {"prior": {"weights": run.prior.story, **told}}


def _step_reached(run: Run, parts: Parts, init: Checkpoint | None) -> int:
    """Return the step from which `fit` will go on; what was timed before is not known."""
    try:
        state = torch.load(run.folder / "state.pt", map_location="cpu", weights_only=True)
        identity = state["identity"]
        same = (
            identity["task"] == run.identity(parts)["task"]
            and identity["seed"] == run.seed
            and identity["data"] == parts.training_print
            and identity["init"] == (weights_print(init) if init else False)
        )
        return int(state["step"]) if same else 0
    except Exception:  # absent, or damaged: fit starts again
        return 0
