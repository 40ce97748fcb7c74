"""The loop learns, repeats, holds out what it should, and refuses what cannot be."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_samples import assert_same_weights, fit_options, with_recipe

from lib.data.targets import make_target
from lib.errors import DivergedError, InputError, NotFoundError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import TargetSpec
from lib.tasks.registry import TASKS
from lib.training import loop
from lib.training.batches import StepBatches
from lib.training.loop import fit
from lib.training.plan import iterations
from lib.weights.checkpoint import load_checkpoint


def test_training_learns_a_phantom(task, items, tmp_path):
    result = fit(with_recipe(task, steps=60, val_interval=60), items, fit_options(tmp_path))
    assert result.metrics["mean_iou"] > 0.8
    assert result.metrics["mean_iou"] > result.initial_metrics["mean_iou"] + 0.2
    assert result.steps == 60
    assert not result.stopped_early


def test_the_loss_goes_down(whole):
    losses = [entry["loss"] for entry in whole.history]
    assert losses[-1] < losses[0]
    assert [entry["step"] for entry in whole.history] == [4, 8, 12]


def test_the_best_weights_are_kept_with_their_figures(whole, task):
    best = max(whole.history, key=lambda entry: entry["mean_iou"])
    checkpoint = load_checkpoint(whole.weights)
    assert checkpoint.metrics == whole.metrics
    assert checkpoint.metrics["mean_iou"] == best["mean_iou"]
    assert checkpoint.task == task.name
    assert checkpoint.provenance["step"] == best["step"]
    assert checkpoint.provenance["seed"] == 0
    assert len(checkpoint.provenance["data"]) == 16
    assert {"python", "torch", "monai"} <= set(checkpoint.provenance["versions"])


def test_held_out_images_are_not_trained_on(whole, items):
    assert set(whole.training_ids) | set(whole.validation_ids) == {item.id for item in items}
    assert not set(whole.training_ids) & set(whole.validation_ids)


def test_two_runs_with_one_seed_are_the_same_and_another_seed_differs(whole, task, items, tmp_path):
    again = fit(task, items, fit_options(tmp_path / "again"))
    assert again.history == whole.history
    assert_same_weights(again.weights, whole.weights)
    other = fit(task, items, fit_options(tmp_path / "other", seed=1))
    assert other.history != whole.history


def test_training_stops_when_patience_runs_out_and_stays_stopped(
    task, items, tmp_path, monkeypatch
):
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3])  # initial, then one per validation
    monkeypatch.setattr(
        "lib.training.validation.score_cases", lambda *_: {"mean_iou": next(scores), "found": 1.0}
    )
    recipe = with_recipe(task, steps=40, val_interval=2, early_stop_patience=2)
    result = fit(recipe, items, fit_options(tmp_path))
    assert result.stopped_early
    assert result.steps == 6
    assert result.metrics == {"mean_iou": 0.5, "found": 1.0}
    assert load_checkpoint(result.weights).provenance["step"] == 2
    assert fit(recipe, items, fit_options(tmp_path)) == replace(result, first_step=6)


def test_a_loss_that_is_no_number_ends_training_with_advice(task, items, tmp_path):
    recipe = with_recipe(task, learning_rate=1e30, gradient_clip=0.0, val_interval=3)
    with pytest.raises(DivergedError, match=r"no longer finite at step \d+; lower the learning r"):
        fit(recipe, items, fit_options(tmp_path))


def test_without_a_cache_the_result_is_the_same(whole, task, items, tmp_path):
    result = fit(task, items, fit_options(tmp_path, cache_bytes=0))
    assert result.history == whole.history
    assert_same_weights(result.weights, whole.weights)


def test_the_run_leaves_its_figures_where_viewers_look(task, items, tmp_path):
    result = fit(task, items, fit_options(tmp_path, tensorboard=True))
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["active"] is False
    assert (stats["step"], stats["total_steps"]) == (12, 12)
    assert stats["best_metric"] == result.metrics["mean_iou"]
    assert stats["key_metric"] == "mean_iou"
    assert json.loads((tmp_path / "history.json").read_text()) == result.history

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "validation/mean_iou"} <= set(
        events.Tags()["scalars"]
    )
    shown = [(e.step, pytest.approx(e.value)) for e in events.Scalars("validation/mean_iou")]
    assert shown == [(entry["step"], entry["mean_iou"]) for entry in result.history]


def test_bfloat16_on_the_cpu_gives_nearly_the_same_curve(whole, task, items, tmp_path):
    result = fit(task, items, fit_options(tmp_path, precision="bf16"))
    assert load_checkpoint(result.weights).provenance["precision"] == "bfloat16"
    assert all(v.dtype == torch.float32 for v in load_checkpoint(result.weights).weights.values())
    for entry, exact in zip(result.history, whole.history, strict=True):
        assert entry["loss"] == pytest.approx(exact["loss"], rel=0.03)


def test_training_starts_from_given_weights(whole, task, items, tmp_path):
    init = load_checkpoint(whole.weights)
    result = fit(with_recipe(task, steps=1), items, fit_options(tmp_path, init=init))
    assert result.initial_metrics == pytest.approx(whole.metrics)
    origin = load_checkpoint(result.weights).provenance["from"]
    assert init.provenance.items() <= origin.items()
    assert (origin["task"], origin["tensors_taken"]) == (init.task, len(init.weights))
    assert origin["tensors_fresh"] == []


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "rmsprop", "sgd"])
def test_every_optimizer_takes_steps(task, items, tmp_path, optimizer):
    recipe = with_recipe(
        task, optimizer=optimizer, steps=2, learning_rate=1e-3, schedule="constant"
    )
    assert math.isfinite(fit(recipe, items, fit_options(tmp_path)).history[-1]["loss"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"optimizer": "adm"}, NotFoundError, "unknown optimizer 'adm': did you mean 'adam'"),
        ({"loss": "dyce"}, NotFoundError, "unknown loss 'dyce': did you mean 'dice'"),
        ({"schedule": "cosin"}, NotFoundError, "unknown schedule 'cosin': did you mean 'cosine'"),
        ({"learning_rate": 0.0}, InputError, "learning_rate must be positive, found 0.0"),
        ({"learning_rate": math.nan}, InputError, "learning_rate must be positive, found nan"),
        ({"patch_size": 30}, InputError, "patch_size must be a multiple of 4 .* found 30"),
        ({"patch_size": (8, 16, 16)}, InputError, "patch_size must be .* one for all 2 axes or"),
        ({"steps": 0}, InputError, "steps, batch_size and val_interval must be at least 1"),
        ({"val_split": 1.5}, InputError, "val_split must lie between 0 and 1, found 1.5"),
    ],
)
def test_impossible_recipes_are_refused(task, items, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        fit(with_recipe(task, **changes), items, fit_options(tmp_path))


def test_an_unreadable_image_is_named_before_the_first_step(task, items, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    bad = [*items, replace(items[0], id="broken", image=broken)]
    with pytest.raises(InputError, match=r"broken\.png: the file is empty"):
        fit(task, bad, fit_options(tmp_path / "run"))
    assert not (tmp_path / "run" / "state.pt").exists()


def test_given_validation_cases_are_held_out_and_the_others_trained_on(
    task, items, tmp_path, monkeypatch
):
    held = frozenset({items[1].id, items[4].id})
    seen: set[str] = set()
    prepare = StepBatches.__getitem__

    def watch(self, step):
        seen.update(item.id for item in self.cases.items)
        return prepare(self, step)

    monkeypatch.setattr(StepBatches, "__getitem__", watch)
    result = fit(with_recipe(task, steps=4), items, fit_options(tmp_path, validation_ids=held))
    assert set(result.validation_ids) == held
    assert set(result.training_ids) == {item.id for item in items} - held == seen
    checkpoint = load_checkpoint(result.weights)
    assert checkpoint.provenance["validation_cases"] == 2
    assert checkpoint.provenance["training_cases"] == len(items) - 2


def test_another_given_split_is_another_run(task, items, tmp_path):
    task = with_recipe(task, steps=4)
    first = fit(task, items, fit_options(tmp_path, validation_ids=frozenset({items[0].id})))
    other = fit(task, items, fit_options(tmp_path, validation_ids=frozenset({items[1].id})))
    assert other.validation_ids == [items[1].id]
    assert other.history != first.history


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (["nobody"], "found 8 left and 0 of 1 known"),
        ([], "found 8 left and 0 of 0 known"),
        (["nucleus_0", "nobody"], "found 7 left and 1 of 2 known"),
        ([f"nucleus_{n}" for n in range(8)], "found 0 left and 8 of 8 known"),
    ],
)
def test_a_given_split_that_does_not_fit_the_items_is_refused(task, items, tmp_path, chosen, found):
    with pytest.raises(InputError, match=f"a given split must leave items .* {found}"):
        fit(task, items, fit_options(tmp_path, validation_ids=frozenset(chosen)))


def test_a_task_for_volumes_learns_balls(volume_task, volume_items, tmp_path):
    recipe = with_recipe(volume_task, steps=30, val_interval=30)
    result = fit(recipe, volume_items, fit_options(tmp_path))
    assert result.metrics["fg_dice"] > 0.7
    assert result.metrics["fg_dice"] > result.initial_metrics["fg_dice"] + 0.1
    found = load_checkpoint(result.weights)
    assert found.spec["network"]["spatial_dims"] == 3
    again = fit(recipe, volume_items, fit_options(tmp_path / "again"))
    assert again.history == result.history


def test_an_image_is_refused_by_a_task_for_volumes(volume_task, items, tmp_path):
    with pytest.raises(InputError, match=r"nucleus_\d\.png: .*expected a volume"):
        fit(volume_task, items, fit_options(tmp_path))


def test_unet_2015_trains_on_what_lies_in_the_middle_of_its_patches(items, tmp_path):
    row = TASKS["nuclei_unet2015"]
    network = replace(row.network, channels=(4, 8, 16), convolutions=(1, 1, 1))
    task = with_recipe(
        replace(row, network=network),
        steps=30,
        val_interval=30,
        batch_size=2,
        patch_size=network.input_size(32),
        learning_rate=1e-2,
        val_split=0.3,
    )
    result = fit(task, items, fit_options(tmp_path))
    assert result.metrics["mean_iou"] > max(0.6, result.initial_metrics["mean_iou"])


def test_a_task_with_several_maps_learns_them(task, items, tmp_path):
    several = replace(
        with_recipe(task, steps=40, val_interval=40),
        network=replace(task.network, out_channels=3),
        target=TargetSpec(maps=("foreground", "border", "distance"), gap=1),
        output=replace(task.output, separation="distance"),
    )
    result = fit(several, items, fit_options(tmp_path))
    assert result.metrics["mean_iou"] > 0.7
    predictor = Predictor.from_checkpoint(several, load_checkpoint(result.weights), "cpu", "fp32")
    answer = predictor(read_image(items[0].image))
    truth = make_target(read_label(items[0].label), several.target)
    assert np.corrcoef(answer.probabilities[2].ravel(), truth[2].ravel())[0, 1] > 0.6
    assert answer.instances.max() >= 1


def test_a_loss_without_its_map_is_refused_before_training(task, items, tmp_path):
    with pytest.raises(InputError, match="loss 'border_weighted_bce' needs the target map border"):
        fit(with_recipe(task, loss="border_weighted_bce"), items, fit_options(tmp_path))


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_loading_threads_does_not_change_the_result(
    whole, task, items, tmp_path, monkeypatch, threads
):
    monkeypatch.setattr("lib.training.loop.loading_threads", lambda: threads)
    result = fit(task, items, fit_options(tmp_path))
    assert result.history == whole.history
    assert_same_weights(result.weights, whole.weights)


@pytest.mark.parametrize("interval", [4, 5])
def test_iterations_of_several_steps_end_alike_bit_by_bit(
    task, items, tmp_path, monkeypatch, interval
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("lib.training.progress.TENSORBOARD_STEPS", 4)
    found, scalars, iterations = [], [], []
    for together in (1, 4):
        monkeypatch.setattr(loop, "steps_together", lambda _, count=together: count)
        folder, seen = tmp_path / str(together), []
        watched = fit_options(
            folder, tensorboard=True, on_validation=lambda step, _, seen=seen: seen.append(step)
        )
        with monkeypatch.context() as patch:
            counted = []
            patch.setattr(loop.RunState, "save_if_due", lambda _, step, to=counted: to.append(step))
            found.append(fit(with_recipe(task, val_interval=interval), items, watched))
        iterations.append(counted)
        assert seen == ([4, 8, 12] if interval == 4 else [5, 10, 12])
        events = EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        shown = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
        scalars.append({tag: [(e.step, e.value) for e in shown[tag]] for tag in shown})
    assert iterations[0] == list(range(1, 13))
    assert iterations[1] == ([4, 8, 12] if interval == 4 else [4, 5, 8, 10, 12])
    assert [step for step, _ in scalars[0]["train/loss"]] == [4, 8, 12]
    assert scalars[0] == scalars[1]
    assert found[0].history == found[1].history
    assert_same_weights(*(one.weights for one in found))
    states = [torch.load(tmp_path / one / "state.pt", weights_only=True) for one in ("1", "4")]
    assert states[0]["step"] == states[1]["step"] == 12
    for name, value in states[0]["network"].items():
        assert torch.equal(states[1]["network"][name], value), "also of the last step"


def test_iterations_end_where_something_is_done():
    assert iterations(range(0, 10), 1, 4) == [1] * 10
    assert iterations(range(0, 10), 4, 3) == [3, 1, 2, 2, 1, 1]
    assert iterations(range(6, 25), 10, 100) == [4, 10, 5]
    assert iterations(range(3, 4), 10, 100) == [1]


def test_a_run_goes_on_in_iterations_of_another_length(whole, task, items, tmp_path, monkeypatch):
    class PowerCut(Exception):
        pass

    def cut(step, figures):
        if step == 8:
            raise PowerCut

    with pytest.raises(PowerCut):
        fit(task, items, fit_options(tmp_path, on_validation=cut))
    monkeypatch.setattr(loop, "steps_together", lambda _: 5)
    result = fit(task, items, fit_options(tmp_path))
    assert result.first_step == 4 and result.history == whole.history
    assert_same_weights(result.weights, whole.weights)


def test_the_bar_counts_steps(task, items, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lib.training.progress.os.isatty", lambda _: True)
    monkeypatch.setattr(loop, "steps_together", lambda _: 5)
    fit(task, items, fit_options(tmp_path, progress=True))
    last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith(f"{task.name}: 100%") and " 12/12 " in last
    assert "mean_iou=" in last


def test_the_figures_of_images_are_beside_those_of_pixels(whole):
    assert {"dice_kaggle", "dice_positive", "found", "presence_auc"} <= set(whole.metrics)
    assert whole.metrics["dice_kaggle"] == whole.metrics["dice_positive"], "all have nuclei"
    assert whole.metrics["presence_auc"] == 0.5
