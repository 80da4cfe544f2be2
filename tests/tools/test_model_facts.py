"""What a heatmap costs: measured often where it is cheap, once where it takes seconds."""

import pytest

from pytest_gradcam.tools import model_facts


class Clock:
    """An engine that takes this long for a heatmap, and the clock that it moves."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def predict(self, _images):
        self.now += 0.1

    def heatmaps(self, _images, _targets, *, method):
        self.now += self.seconds


@pytest.mark.parametrize(("seconds", "runs"), [(0.2, 5), (1.5, 2), (60, 1)])
def test_a_slow_method_is_timed_once(monkeypatch, seconds, runs):
    clock = Clock(seconds)
    monkeypatch.setattr(model_facts.time, "perf_counter", lambda: clock.now)
    found = model_facts._cost(clock, None, "rise", 5)
    assert found["runs"] == runs
    assert found["heatmap_ms"] == pytest.approx(1000 * seconds)
    assert found["ratio"] == pytest.approx(10 * seconds)
