"""Contenders in turn, differences and ratios within a round, medians over the rounds."""

import pytest

from benchmarks.timing import children, interleaved, less, medians, peak_memory, ratios, row, timed

TIMES = {"base": [1.0, 2.0, 10.0], "own": [3.0, 2.0, 20.0]}


class Clock:
    """Stands still but for what runs."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def takes(self, seconds, name, log):
        def run():
            self.now += seconds
            log.append(name)
            return name

        return run


def test_timed():
    clock = Clock()
    assert timed(clock.takes(2.5, "a", []), clock) == (2.5, "a")


@pytest.mark.parametrize("warm_up", [True, False])
def test_a_round_runs_every_contender_once(warm_up):
    clock, log = Clock(), []
    runs = {"a": clock.takes(1.0, "a", log), "b": clock.takes(3.0, "b", log)}
    assert interleaved(runs, 2, clock, warm_up=warm_up) == {"a": [1, 1], "b": [3, 3]}
    assert "".join(log) == "ab" * (2 + warm_up)


def test_differences_ratios_and_medians_are_taken_within_a_round_first():
    assert less(TIMES, "base") == {"own": [2, 0, 10]}
    assert ratios(TIMES, "base") == {"base": 1, "own": 2}
    assert medians(TIMES) == {"base": 2, "own": 3}


def test_clocks_and_memory_count():
    assert children() >= 0
    assert peak_memory() > 10  # MiB: a Python process with pytest in it


def test_row():
    assert row("name", ["text", 1.23456, None], width=6, first=8) == "name      text 1.235     -"
