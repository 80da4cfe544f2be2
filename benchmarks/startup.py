"""What the plugin adds to the start of pytest in a repository that does not use it.

Whole pytest processes with the plugin and with an empty one in turn, so that a drift of the machine hits both, and so does
pytest's search of all installed packages for the plugin that is named.
"""

from __future__ import annotations

import argparse
import os
import statistics
from functools import partial

from benchmarks.projects import environment, project
from benchmarks.timing import WALL, Run, children, interleaved, less


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--processor", action="store_true", help="processor time, not wall-clock time")


def run(options: argparse.Namespace) -> None:
    with project() as made:
        made.write("test_nothing.py", "def test_nothing(): pass\n")
        made.write("empty_plugin.py", "")
        variables = {
            "PYTHONPATH": f"{made.directory}{os.pathsep}{environment()['PYTHONPATH']}",
            "PYTHONDONTWRITEBYTECODE": "",
        }
        plugins = {"without": "empty_plugin", "with": "pytest_gradcam.plugin"}
        runs: dict[str, Run] = {name: partial(made.pytest, "-p", each, **variables) for name, each in plugins.items()}
        times = interleaved(runs, options.rounds, children if options.processor else WALL)
    without = statistics.median(times["without"])
    added = statistics.median(less(times, "without")["with"])
    print(
        f"pytest without the plugin: {1000 * without:.0f} ms; the plugin adds {1000 * added:.1f} ms "
        f"(median of {options.rounds} pairs)"
    )
