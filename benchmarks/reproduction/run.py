"""One run of a study: train a variant by a recipe with a seed, test it, keep the figures."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.harness.campaign import Execution, read_result
from benchmarks.reproduction.initial_weights import InitialWeights
from benchmarks.reproduction.splits import Split
from benchmarks.reproduction.study import Recipe
from benchmarks.reproduction.testing import test_run
from lib.files import write_json
from lib.kinds import kind_of
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.training.shared_cases import SharedCases
from lib.weights.checkpoint import Checkpoint, load_checkpoint
from lib.weights.runner import NetworkRunner

RESULT = "result.json"
FAILURE = "failure.json"
BEST = "best.pt"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A variant, a recipe and a seed.

    Attributes:
        task: the row as the recipe sets it, with the steps of this run.
        folder: of the run's state, weights and figures; its name is the run's.
        source: of its images; see `benchmarks.reproduction.study.Variant`.
        initial_weights: what it starts from; None starts from random weights.
        fold: which of how many of a cross-validation; None where there is none.
    """

    variant: str
    task: TaskSpec
    recipe: str
    seed: int
    folder: Path
    setting: Recipe
    source: str = "studies"
    initial_weights: InitialWeights | None = None
    fold: tuple[int, int] | None = None

    @property
    def split_name(self) -> str:
        """Name of the split of the images that it is trained and tested on."""
        if self.fold is None:
            return self.source
        return f"{self.task.name}, fold {self.fold[0]} of {self.fold[1]}"

    @property
    def name(self) -> str:
        """Name of the run, and of its folder."""
        return self.folder.name

    def identity(self, split: Split) -> dict[str, Any]:
        """Return what decides the figures; a finished run of equal identity is not repeated."""
        trained = json.loads(json.dumps(self.task.as_trained()))
        output = json.loads(json.dumps(self.task.as_dict()["output"]))
        more: dict[str, Any] = {}
        if self.initial_weights:
            more["prior"] = self.initial_weights.identity()
        if self.fold:
            more["fold"] = list(self.fold)
        return {
            **more,
            "task": trained,
            "output": output,
            "recipe": self.recipe,
            "seed": self.seed,
            "training_data": split.training_fingerprint,
            "validation_images": len(split.validation_ids),
            "test_data": split.test_fingerprint,
        }


def finished(run: Run, split: Split) -> dict[str, Any] | None:
    """Return the stored result of the same run, None where there is none."""
    return read_result(run.folder / RESULT, run.identity(split))


def trained_alike(run: Run, split: Split) -> dict[str, Any] | None:
    """Return the result of a finished run that differs in the output options only."""
    result, identity = read_result(run.folder / RESULT), run.identity(split)
    if result is None or run.setting.weights != "best" or not (run.folder / BEST).is_file():
        return None
    return result if {**result["identity"], "output": identity["output"]} == identity else None


def execute(
    run: Run,
    split: Split,
    execution: Execution,
    at_once: int = 1,
    cases: SharedCases | None = None,
) -> None:
    """Do the run and write its figures, or the reason why there are none, to its folder.

    Where only the output options have changed since, it is tested again and not trained. A full
    disk (`OSError`) is raised, as the reason could not be written either.

    Args:
        at_once: runs at the same time on one device, this one included.
        cases: prepared for this run and others; None prepares those of this run.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    trained = trained_alike(run, split)
    for name in (RESULT, FAILURE):
        (run.folder / name).unlink(missing_ok=True)
    try:
        if trained:
            result = _test_again(trained, run, split, execution)
        else:
            result = _train_and_test(run, split, execution, at_once, cases)
    except OSError:
        raise
    except Exception as error:  # whatever stops one variant must not stop the others
        reason = (str(error).strip().splitlines() or [""])[0]
        write_failure(run, split, type(error).__name__, reason)
    else:
        write_json(run.folder / RESULT, result)


def write_failure(run: Run, split: Split, error: str, reason: str) -> None:
    """Write down why the run has no figures."""
    run.folder.mkdir(parents=True, exist_ok=True)
    failure = {"error": error, "reason": reason, "identity": run.identity(split)}
    write_json(run.folder / FAILURE, {**_head(run), **failure})


def _train_and_test(
    run: Run, split: Split, execution: Execution, at_once: int, cases: SharedCases | None
) -> dict[str, Any]:
    options = FitOptions(
        out=run.folder,
        seed=run.seed,
        device=execution.device,
        precision=execution.precision,
        progress=execution.progress,
        tensorboard=False,
        command=execution.command,
        validation_ids=split.validation_ids,
        keep=run.setting.weights,
        at_once=at_once,
    )
    if run.initial_weights:
        options = replace(options, init=run.initial_weights.load(options))
    if cases:
        options = cases.given_to(options, at_once)
    start = time.perf_counter()
    fitted = fit(run.task, split.training, options)
    trained = time.perf_counter()
    checkpoint = load_checkpoint(fitted.weights)
    predictor = _predictor(run, checkpoint, execution)
    tested, seconds = _test(run, predictor, split)
    steps = fitted.steps - fitted.first_step
    recipe = run.task.training
    return {
        **_head(run),
        **tested,
        **_initial_weights(run, checkpoint),
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
        "precision": str(predictor.dtype).removeprefix("torch."),
        **execution.provenance(predictor.device),
    }


def _test(run: Run, predictor: NetworkRunner, split: Split) -> tuple[dict[str, Any], float]:
    """Return the figures on the test set and the seconds it took."""
    start = time.perf_counter()
    figures = test_run(predictor, split, run.folder)
    seconds = round(time.perf_counter() - start, 1)
    return {"identity": run.identity(split), **figures}, seconds


def _test_again(
    trained: dict[str, Any], run: Run, split: Split, execution: Execution
) -> dict[str, Any]:
    """Return the result of `trained` with new figures on the test set."""
    predictor = _predictor(run, load_checkpoint(run.folder / BEST), execution)
    tested, _ = _test(run, predictor, split)
    return {**trained, **tested, "tested_again": execution.provenance(predictor.device)}


def _predictor(run: Run, checkpoint: Checkpoint, execution: Execution) -> NetworkRunner:
    return kind_of(run.task).predictor.from_checkpoint(
        run.task, checkpoint, execution.device, execution.precision
    )


def _head(run: Run) -> dict[str, Any]:
    return {
        "variant": run.variant,
        "task": run.task.name,
        "recipe": run.recipe,
        "seed": run.seed,
        "source": run.source,
        **({"part": run.split_name, "fold": list(run.fold)} if run.fold else {}),
    }


def _initial_weights(run: Run, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return what the result says of the weights that the run started from."""
    if run.initial_weights is None:
        return {}
    origin = checkpoint.provenance["from"]
    names = ("task", "step", "tensors_taken", "tensors_fresh")
    facts = {name: origin.get(name) for name in names}
    return {"prior": {"weights": run.initial_weights.description, **facts}}
