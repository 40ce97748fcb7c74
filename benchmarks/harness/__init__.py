"""What the benchmarks and studies share."""
