"""Benchmarks: every row takes its step, a volume is segmented in each way, figures add up."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet

from benchmarks.harness.machine import bf16_words
from benchmarks.speed import page, rows, volume
from benchmarks.speed.rounds import Timed, measure
from lib import devices
from lib.errors import InputError
from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore

TINY = rows.Peer("tiny", "BasicUNet", {"features": (4, 4, 4, 4, 4, 4)})


def _nothing() -> None:
    """Show no progress."""


def _tiny(name: str, light):
    """Return a row with all its layers, few maps, and the smallest patch that passes."""
    row = light(TASKS[name])
    side = row.network.input_size(32)
    return replace(row, training=replace(row.training, batch_size=2, patch_size=side))


def _ready(task, peer=None):
    run, finish = rows.prepare("x", torch.get_num_threads(), "cpu", task, peer)
    run()
    return finish()


def _parameters(network) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.fixture
def report(monkeypatch, light):
    """Figures of two tiny rows, of which the second fails, without processes."""

    def measured(prepare, variants, settings, *_, **__):
        if settings["task"].name == "nuclei":
            raise InputError("benchmark: the process ended, out of memory?")
        run, finish = prepare(variants[0], **settings)
        run()
        return {variants[0]: Timed([1.0, 2.0, 4.0], 900.0, 600.0, finish())}

    monkeypatch.setattr(rows, "measure", measured)
    tasks = {"tiny": _tiny("nuclei_vhllrhe", light), "nuclei": TASKS["nuclei"]}
    return rows.run(3, _nothing, "cpu", rows=tasks, peers=(TINY,))


@pytest.mark.parametrize("name", rows.SEGMENTING)
def test_every_row_takes_a_step_of_its_own_recipe(name, light):
    task = _tiny(name, light)
    told = _ready(task)
    assert told["parameters"] == _parameters(build_network(task.network))
    assert math.isfinite(told["first_loss"])


def test_batches_have_the_sizes_and_maps_that_the_row_is_trained_with():
    task = TASKS["nuclei"]
    images, targets = rows.random_batch(task)
    assert images.shape == (8, 3, 256, 256)
    assert targets.shape == (8, 3, 256, 256)
    assert set(targets[:, 0].unique().tolist()) == {0.0, 1.0}
    assert len(targets[:, task.target.maps.index("distance")].unique()) > 2
    assert torch.equal(rows.random_batch(task)[0], images)


def test_each_peer_stands_beside_a_row_and_answers_with_its_maps(light):
    for peer in rows.PEERS:
        assert peer.beside in TASKS
    assert math.isfinite(_ready(_tiny("nuclei", light), TINY)["first_loss"])


def test_monais_unets_have_the_number_of_parameters_of_the_row_beside_them():
    for peer in rows.PEERS:
        if peer.network == "BasicUNet":
            spec = TASKS[peer.beside].network
            network = BasicUNet(2, 1, spec.out_channels, **peer.arguments)
            assert _parameters(network) == pytest.approx(_parameters(build_network(spec)), rel=0.01)


def test_figures_are_taken_from_the_median_step(report):
    row = report["figures"]["tiny"]
    assert (row["median_s"], row["images_per_s"], row["steps"]) == (2.0, 1.0, 3)
    assert row["million_per_s"] == round(2 * 32 * 32 / 2 / 1e6, 4)
    assert (row["peak_memory_mib"], row["memory_of_the_work_mib"]) == (900, 300)
    assert report["figures"]["MONAI BasicUNet, as tiny"]["beside"] == "tiny"


def test_a_network_that_fails_is_left_out_with_its_reason(report):
    assert report["left_out"] == {"nuclei": "benchmark: the process ended, out of memory?"}
    assert "nuclei" not in report["figures"]


def test_the_step_runs_in_a_process_of_its_own_within_few_rounds(light):
    settings = {"threads": 1, "device": "cpu", "task": _tiny("nuclei_u3clr", light), "peer": None}
    timed = measure(
        rows.prepare,
        ["one"],
        settings,
        5,
        0.0,
        warm_up=1,
        min_rounds=2,
        start_method="forkserver",
    )["one"]
    assert len(timed.seconds) == 2
    assert timed.peak_mib >= timed.base_mib > 0
    assert timed.result["computes_in"] in ("float32", "bfloat16")


def test_the_page_shows_every_network_and_what_it_was_measured_on(report, monkeypatch, tmp_path):
    machine = {"cpu": "CPU", "cores": 2, "instruction_set": "AVX512", "bf16_units": True}
    machine |= {"bf16": "avx512", "memory_gib": 8, "torch_threads": 2, "load_before": 0.1}
    made = {**report, "machine": machine, "versions": {}, "seed": 0, "command": "benchmark rows"}
    (tmp_path / "benchmark_rows.json").write_text(json.dumps(made))
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    assert page.main() == 0
    text = (tmp_path / "page.md").read_text()
    assert "| tiny | 2.26 M | 2 x 32x32 |" in text
    assert "| MONAI BasicUNet, as tiny (4, 4, 4, 4, 4, 4) |" in text
    assert "AVX512, bf16 vector dot products (AVX512-BF16), no matrix units" in text
    assert "nuclei is left out: benchmark: the process ended" in text


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        ("avx512f avx512_bf16 amx_bf16", "amx", "bf16 matrix units (AMX)"),
        ("avx512f avx512_bf16", "avx512", "bf16 vector dot products (AVX512-BF16), no matrix"),
        ("avx2", "none", "no bf16 units"),
    ],
)
def test_matrix_units_and_vector_instructions_are_told_apart(monkeypatch, flags, kind, words):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: f"flags : {flags}")
    assert devices.cpu_bf16.__wrapped__() == kind
    assert bf16_words({"bf16": kind, "bf16_units": True}).startswith(words)


def test_older_figures_tell_only_whether_there_are_bf16_units():
    assert bf16_words({"bf16_units": True}) == "bf16 units"
    assert bf16_words({"bf16_units": False}) == "no bf16 units"


# --- one volume ----------------------------------------------------------------------------------

TINY_SIDE = 24


@pytest.fixture
def segmented(monkeypatch, tmp_path):
    """Return a function that measures a tiny volume without processes, each variant once."""

    def measured(prepare, variants, settings, *_, **__):
        found = {}
        for place, variant in enumerate(variants):
            run, finish = prepare(variant, **settings)
            run()
            found[variant] = Timed([6.0 / (place + 1)], 3000.0 + place, 500.0, finish())
        return found

    monkeypatch.setattr(volume, "measure", measured)
    store = ModelStore(tmp_path / "a", tmp_path / "b")
    return lambda: volume.run(3, store, _nothing, TINY_SIDE)


@pytest.mark.parametrize("bf16", [True, False])
def test_a_volume_is_segmented_by_the_stock_way_and_by_ours(segmented, monkeypatch, bf16):
    monkeypatch.setattr("lib.devices.cpu_has_bf16_units", lambda: bf16)
    report = segmented()
    figures = report["figures"]
    others = [volume.OURS_FP32, volume.STOCK_BF16] if bf16 else []
    assert list(figures) == [volume.STOCK, volume.OURS, *others]
    assert report["ours_computes_in"] == ("bfloat16" if bf16 else "float32")
    patch = list(TASKS[volume.TASK].training.patch_sides(3))
    assert figures[volume.STOCK]["window"] == patch, "the row's patch"
    whole = [TASKS[volume.TASK].network.input_size(TINY_SIDE)] * 3
    assert figures[volume.OURS]["window"] == whole
    for row in figures.values():
        assert row["voxels_computed"] == row["windows"] * math.prod(row["window"])
        assert 0 < row["held_before_mib"]
        assert 0 <= row["foreground"] <= 1
    assert report["weights"].startswith("random, seed 0")
    assert report["what"].startswith("ultrasound3d_vnet on one volume of 24x24x24 voxels")


def test_the_report_says_whether_ours_stays_below_the_limit_of_memory(segmented, monkeypatch):
    report = segmented()
    assert report["ours_times_as_fast"] == 2
    assert report["ours_peak_gib"] == round(3001 / 1024, 3)
    assert (report["memory_limit_gib"], report["ours_below_limit"]) == (4, True)
    assert volume.table(report)[-1] == "ours: 2.93 GiB at most, below 4 GiB"
    monkeypatch.setattr(volume, "LIMIT_GIB", 2.9)
    over = segmented()
    assert over["ours_below_limit"] is False
    assert volume.table(over)[-1].endswith("NOT below 2.9 GiB")
    assert json.loads(json.dumps(over)) == over


def test_every_way_has_the_weights_of_the_models_folder_where_there_are_some(monkeypatch, tmp_path):
    from lib.weights.checkpoint import Checkpoint, save_checkpoint

    row = TASKS[volume.TASK]
    torch.manual_seed(1)
    network = build_network(row.network)
    torch.nn.init.constant_(network.output.bias, 50.0)  # all is foreground
    kept = Checkpoint(
        task=row.name, spec=row.as_dict(), weights=network.state_dict(), provenance={"step": 7}
    )
    (tmp_path / "models").mkdir()
    save_checkpoint(tmp_path / "models" / f"{row.name}.pt", kept)
    asked = []

    def measured(prepare, variants, settings, *_, **__):
        asked.append(settings["file"])
        run, finish = prepare(volume.OURS, **settings)
        run()
        return {variant: Timed([1.0], 1.0, 1.0, finish()) for variant in variants}

    monkeypatch.setattr(volume, "measure", measured)
    store = ModelStore(tmp_path / "models", tmp_path / "none")
    report = volume.run(3, store, _nothing, TINY_SIDE)
    assert asked == [str(tmp_path / "models" / f"{row.name}.pt")]
    assert report["weights"] == "served weights (7 steps)"
    assert report["figures"][volume.OURS]["foreground"] == 1


def test_both_ways_answer_the_same_where_one_window_holds_the_volume():
    """Of a volume of the size of the row's patch both run the network once, on the same voxels."""
    torch.manual_seed(0)
    row = TASKS[volume.TASK]
    image, network = volume.volume(64), build_network(row.network).eval()
    stock = volume._stock(row, network, torch.float32)(image)
    task = replace(row, output=replace(row.output, keep="all"))
    np.testing.assert_array_equal(Predictor(task, network, "cpu", "fp32")(image).mask, stock)


def test_the_volume_is_seeded_and_holds_a_bright_ball():
    image = volume.volume(32)
    np.testing.assert_array_equal(image.pixels, volume.volume(32).pixels)
    assert (image.pixels.dtype, image.shape) == (np.uint8, (32, 32, 32))
    assert image.pixels[14:18, 14:18, 14:18].mean() > 1.5 * image.pixels[:4].mean()
