"""How all benchmarks measure: contenders in turn, medians over the rounds, ratios within a round."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

Run = Callable[[], object]
Clock = Callable[[], float]
Times = Mapping[str, Sequence[float]]
_T = TypeVar("_T")

WALL: Clock = time.perf_counter
PROCESSOR: Clock = time.process_time


def children() -> float:
    """Seconds of processor time of all processes that this one has started and waited for: a clock for those."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peak_memory() -> float:
    """The most memory, in MiB, that this process has held at a time."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(run: Callable[[], _T], clock: Clock = PROCESSOR) -> tuple[float, _T]:
    """The seconds that a run takes, and its result."""
    start = clock()
    result = run()
    return clock() - start, result


def interleaved(runs: Mapping[str, Run], rounds: int, clock: Clock = PROCESSOR, *, warm_up: bool = True) -> Times:
    """The seconds of each contender in each round.

    A round runs every contender once, so that a drift of the machine hits all of them. One round before warms up.
    """
    if warm_up:
        for run in runs.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(timed(run, clock)[0])
    return times


def less(times: Times, base: str) -> Times:
    """The seconds of each contender but the base, less those of the base in the same round."""
    return {
        name: [all_of - part for all_of, part in zip(own, times[base], strict=True)]
        for name, own in times.items()
        if name != base
    }


def medians(times: Times) -> dict[str, float]:
    """The median over the rounds of each contender's seconds."""
    return {name: statistics.median(own) for name, own in times.items()}


def ratios(times: Times, base: str) -> dict[str, float]:
    """The median over the rounds of each contender's time divided by that of the base in the same round."""
    return {
        name: statistics.median(mine / other for mine, other in zip(own, times[base], strict=True))
        for name, own in times.items()
    }


def row(label: str, cells: Iterable[object], *, width: int = 18, first: int = 30) -> str:
    """A line of a table: the label, then the cells to the right; floats with three decimals, None as a dash."""
    return f"{label:<{first}}" + "".join(f"{_shown(cell):>{width}}" for cell in cells)


def _shown(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)
