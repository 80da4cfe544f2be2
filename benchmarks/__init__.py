"""What the checks cost and whether their verdicts are right: `python -m benchmarks` lists the benchmarks."""
