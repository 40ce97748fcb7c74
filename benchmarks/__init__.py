"""What measures speed: training step, rows, inference, server, each beside the stock way.

`python -m monailabel_app benchmark NAME` runs one; `python -m benchmarks.speed.page` writes
docs/benchmarks.md from the figures in docs/results.
"""
