"""`benchmark`: what it takes and what it writes; the figures are tested in tests/lib."""

from __future__ import annotations

import json

from benchmarks import rows

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

    def run(runs, device, on_row):
        asked.append((runs, device))
        on_row()
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
    cli("benchmark", "server", "--device", "cuda").assert_refused("'server' runs on the CPU")


def test_unknown_benchmarks_are_refused_with_the_nearest_name(cli):
    cli("benchmark", "row").assert_refused("unknown benchmark 'row'", "did you mean 'rows'")
