"""What the picture of a failed check costs, end to end.

A pytest run of tests that all fail, with their pictures and without, in processor time on one thread; and beside it the
bare loop over the same images, less an empty run that loads torch, torchvision and the model.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

from benchmarks.networks import LAYERS
from benchmarks.projects import Project, project
from benchmarks.suite import ours, write_tests
from benchmarks.timing import Run, Times, children, interleaved, less

_BARE, _EMPTY, _WITH, _WITHOUT = "bare loop", "empty", "with pictures", "without"


def measure(made: Project, model: str, rounds: int) -> Times:
    runs: dict[str, Run] = {
        _EMPTY: partial(made.pytest, "test_empty.py"),
        _BARE: partial(made.pytest, "test_one_by_one.py"),
        _WITHOUT: failing(made, model, "none"),
        _WITH: failing(made, model, "failed"),
    }
    return interleaved(runs, rounds, children, warm_up=False)


def failing(made: Project, model: str, pictures: str) -> Run:
    return partial(ours(made, model, "off"), f"--gradcam-pictures={pictures}", exit_status=1)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="resnet18", choices=LAYERS)
    parser.add_argument("--tests", type=int, default=50, help="tests that fail")
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace) -> None:
    with project(options.model, options.tests) as made:
        write_tests(made, options.model)
        tests = made.directory / "test_ours.py"
        tests.write_text(tests.read_text("utf-8").replace("at_most=0.999", "at_most=0"), "utf-8")
        times = measure(made, options.model, options.rounds)
        drawn = len(list((made.directory / "gradcam-report").rglob("*.png")))
    if drawn < options.tests:
        raise RuntimeError(f"{options.tests} tests failed, but only {drawn} left a picture")
    picture = statistics.median(less(times, _WITHOUT)[_WITH]) / options.tests
    bare = statistics.median(less(times, _EMPTY)[_BARE]) / options.tests
    print(
        f"a picture of a failed check: {1000 * picture:.1f} ms of processor time, {picture / bare:.2f} of an image of the "
        f"bare loop ({options.tests} failed tests, medians of {options.rounds} rounds)"
    )
