"""`benchmark`: what it takes and what it writes; the figures are tested in tests/lib."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.speed import rows, volume

FIGURES = {
    "parameters": 1_000_000,
    "median_s": 2.0,
    "images_per_s": 4.0,
    "million_per_s": 0.25,
    "peak_memory_mib": 900,
    "memory_of_the_work_mib": 300,
}


def test_rows_are_measured_on_the_device_asked_for_and_written(cli, monkeypatch, tmp_path):
    asked = []

    def run(runs, on_round, device):
        asked.append((runs, device))
        on_round()
        return {"what": "steps", "left_out": {"b": "too large"}, "figures": {"a": FIGURES}}

    monkeypatch.setattr(rows, "run", run)
    file = tmp_path / "rows.json"
    ended = cli("benchmark", "rows", "--runs", 3, "--device", "cpu", "--json", file)
    assert ended.status == 0, ended.err
    assert asked == [(3, "cpu")]
    assert "1.00 M" in ended.out
    assert "b: left out, too large" in ended.out
    report = json.loads(file.read_text())
    assert (report["benchmark"], report["figures"]["a"]) == ("rows", FIGURES)
    assert report["machine"]["bf16"] in ("amx", "avx512", "none")


def test_a_device_is_refused_where_the_benchmark_has_none(cli):
    cli("benchmark", "server", "--device", "cuda").assert_refused(
        "--device is for training-step, train, study, rows, inference, batch, not for 'server'"
    )


def test_unknown_benchmarks_are_refused_with_the_nearest_name(cli):
    cli("benchmark", "row").assert_refused("unknown benchmark 'row'", "did you mean 'rows'")


@pytest.mark.parametrize(("words", "side"), [((), 256), (("--size", 64), 64)])
def test_a_volume_is_measured_in_the_size_asked_for_and_written(
    cli, models, monkeypatch, tmp_path, words, side
):
    asked = []

    def run(runs, store, on_round, size=256):
        asked.append((runs, store.folder, size))
        on_round()
        row = {"median_s": 2.0, "speedup": 2.5, "speedup_min": 2.0, "speedup_max": 3.0}
        row |= {"windows": 27, "window": [96, 96, 96], "peak_memory_mib": 1900}
        return {
            "what": "one volume",
            "memory_limit_gib": 4.0,
            "ours_peak_gib": 1.86,
            "ours_below_limit": True,
            "figures": {"ours": {**row, "held_before_mib": 900}},
        }

    monkeypatch.setattr(volume, "run", run)
    file = tmp_path / "volume.json"
    ended = cli("benchmark", "volume", *words, "--models", models, "--json", file)
    assert ended.status == 0, ended.err
    assert asked == [(3, Path(models), side)]
    assert "27 x 96x96x96  1900 MiB (900)" in ended.out
    assert "ours: 1.86 GiB at most, below 4 GiB" in ended.out
    report = json.loads(file.read_text())
    assert (report["benchmark"], report["ours_below_limit"]) == ("volume", True)


def test_a_size_is_refused_where_the_benchmark_has_one_of_its_own(cli):
    cli("benchmark", "inference", "--size", 64).assert_refused(
        "--size is for answers, volume, slide, not for"
    )


def test_scribbles_are_measured_on_the_studies_asked_for_and_written(
    cli, studies, monkeypatch, tmp_path
):
    from benchmarks.speed import scribbles

    monkeypatch.setattr(scribbles, "SIZES", {"image": (32, 32), "volume": (16, 16, 16)})
    file = tmp_path / "scribbles.json"
    ended = cli("benchmark", "scribbles", "--runs", 3, "--studies", studies, "--json", file)
    assert ended.status == 0, ended.err
    report = json.loads(file.read_text())
    assert report["dice"]["images"] == 3
    assert f"Dice median {report['dice']['full']['median']:.3f}" in ended.out
    assert report["seconds"]["volume"]["click_s"] >= 0
    cli("benchmark", "scribbles", "--task", "nuclei").assert_refused(
        "--task is for inference, batch, clicks, sizes, not for 'scribbles'"
    )
