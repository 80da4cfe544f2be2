"""Intervals against closed forms and other implementations, and how often they are right; benchmarks has it in full."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pytest_gradcam.data import statistics


@pytest.mark.parametrize(("passed", "count"), [(0, 1), (0, 30), (30, 30), (1, 2), (17, 20), (900, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_rate_is_clopper_and_pearson(passed, count, confidence):
    found = statistics.rate(passed, count, confidence)
    known = stats.binomtest(passed, count).proportion_ci(confidence, "exact")
    assert (found.lower, found.upper) == pytest.approx((known.low, known.high), abs=1e-6)
    assert found.value == passed / count


def test_rate_of_nothing():
    found = statistics.rate(0, 0)
    assert math.isnan(found.value)
    assert (found.lower, found.upper) == (0, 1)


def covered(trials, draw, true, interval):
    return np.mean([found.lower <= true <= found.upper for found in (interval(draw()) for _ in range(trials))])


@pytest.mark.parametrize(("count", "true"), [(30, 0.9), (50, 0.5), (40, 1.0), (40, 0.0)])
def test_rates_are_covered(count, true):
    rng = np.random.default_rng(0)
    assert covered(400, lambda: int(rng.binomial(count, true)), true, lambda k: statistics.rate(k, count)) >= 0.93


DRAWS = {
    "uniform": (lambda rng: rng.uniform(0, 1, 40), 0.5),
    "skewed": (lambda rng: rng.beta(8, 2, 40), 0.8),
    "ties": (lambda rng: rng.integers(0, 3, 40) / 2, 0.5),
    "all at a limit": (lambda rng: np.ones(40), 1.0),
}


@pytest.mark.parametrize("name", DRAWS)
def test_means_are_covered(name, monkeypatch):
    monkeypatch.setattr(statistics, "_RESAMPLES", 299)
    draw, true = DRAWS[name]
    rng = np.random.default_rng(1)
    share = covered(400, lambda: draw(rng), true, lambda values: statistics.mean(values, limits=(0, 1)))
    assert 0.92 <= share <= (1 if name == "all at a limit" else 0.98)


def test_mean_of_a_constant_is_not_certain():
    found = statistics.mean(np.full(20, 0.9), limits=(0, 1))
    assert found.value == pytest.approx(0.9)
    assert (found.lower, found.upper) == pytest.approx((0.9 - 0.9 * (1 - 0.025**0.05), 0.9 + 0.1 * (1 - 0.025**0.05)))
    assert statistics.mean(np.full(20, 0.9)).upper == math.inf
    assert statistics.mean(np.array([])).count == 0


def test_mean_of_many_is_students():
    values = np.random.default_rng(0).normal(3, 2, 1500)
    found = statistics.mean(values)
    known = stats.t.interval(0.95, 1499, values.mean(), stats.sem(values))
    assert (found.lower, found.upper) == pytest.approx(known)


def test_few_values_beside_a_tie():
    values = np.ones(30)
    values[0] = 0
    found = statistics.mean(values, limits=(0, 1))
    assert found.lower <= statistics.rate(29, 30).lower + 1e-9


def test_difference_is_newcombes():
    found = statistics.difference((56, 70), (48, 80))  # the first example of Newcombe (1998), method 10
    assert (found.value, found.lower, found.upper) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_p_beyond_agrees_with_the_interval():
    a, b = (40, 100), (80, 100)
    level = statistics.p_beyond(a, b, 0.1)
    found = statistics.difference(a, b, 1 - level)
    assert found.upper == pytest.approx(-0.1, abs=1e-6)
    assert statistics.p_beyond((79, 100), (80, 100), 0.1) == 1


def test_paired():
    found = statistics.paired(10, 4, 100)
    assert found.value == pytest.approx(0.06)
    assert found.lower < 0.06 < found.upper
    assert math.isnan(statistics.paired(0, 0, 0).value)


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (0, 6), (5, 5), (9, 2)])
def test_mcnemar(better, worse):
    known = stats.binomtest(better, better + worse).pvalue if better + worse else 1
    assert statistics.p_mcnemar(better, worse) == pytest.approx(known)


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


@pytest.mark.parametrize(("passed", "count", "bound"), [(19, 20, 0.9), (95, 100, 0.9), (5, 10, 0.9)])
def test_more_to_decide_decides(passed, count, bound):
    more = statistics.more_to_decide(passed, count, bound, 0.95)
    assert more is not None

    def open_at(number):
        found = statistics.rate(round(passed / count * number), number)
        return found.lower < bound <= found.upper

    assert not open_at(count + more)


def test_nothing_decides_a_rate_at_its_bound():
    assert statistics.more_to_decide(9, 10, 0.9, 0.95) is None


def test_power_against_simulation():
    rng = np.random.default_rng(0)
    passes, fails, undecided = statistics.power(0.97, 0.9, 150)
    drawn = [statistics.rate(int(k), 150) for k in rng.binomial(150, 0.97, 2000)]
    assert passes == pytest.approx(np.mean([found.lower >= 0.9 for found in drawn]), abs=0.03)
    assert passes + fails + undecided == pytest.approx(1)
    assert statistics.power(0.9, 0.9, 150)[0] <= 0.025  # false alarms at the bound itself
    assert statistics.power(0.9, 0.9, 150)[1] <= 0.025
