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


@pytest.mark.parametrize("count", [15, 30, 60])
@pytest.mark.parametrize(("share", "tie", "true"), [(0.9, 1.0, 0.95), (0.95, 0.0, 0.025)])
def test_means_beside_a_tie_are_covered(count, share, tie, true, monkeypatch):
    """Three values that differ say little of how far others lie."""
    monkeypatch.setattr(statistics, "_RESAMPLES", 299)
    rng = np.random.default_rng(3)

    def draw():
        return np.where(rng.random(count) < share, tie, rng.uniform(0, 1, count))

    assert covered(500, draw, true, lambda values: statistics.mean(values, limits=(0, 1))) >= 0.93


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


def wilson(passed, count, confidence):
    """SciPy's, which shares no code with ours."""
    found = stats.binomtest(passed, count).proportion_ci(confidence, "wilson")
    return passed / count, found.low, found.high


@pytest.mark.parametrize(("a", "b"), [((56, 70), (48, 80)), ((3, 10), (8, 9)), ((10, 10), (0, 20)), ((0, 5), (5, 5))])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_difference_is_made_of_wilsons_intervals(a, b, confidence):
    (first, low, high), (second, lowest, highest) = wilson(*a, confidence), wilson(*b, confidence)
    found = statistics.difference(a, b, confidence)
    assert found.value == first - second
    assert found.lower == pytest.approx(first - second - math.hypot(first - low, highest - second), abs=1e-9)
    assert found.upper == pytest.approx(first - second + math.hypot(high - first, second - lowest), abs=1e-9)
    assert -1 <= found.lower <= found.upper <= 1
    assert found.count == a[1] + b[1]


def test_p_beyond_has_no_direction_and_falls_with_the_distance():
    for margin in (0.05, 0.1, 0.3):
        assert statistics.p_beyond((80, 100), (40, 100), margin) == statistics.p_beyond((40, 100), (80, 100), margin)
    further = [statistics.p_beyond((80, 100), (80 - step, 100), 0.1) for step in (11, 20, 40, 60)]
    assert further == sorted(further, reverse=True)
    assert further[0] > 0.5
    assert further[-1] < 1e-8
    assert statistics.p_beyond((3, 4), (1, 2), 0.25) == 1  # at the margin itself


@pytest.mark.parametrize(("a", "b"), [((80, 100), (40, 100)), ((40, 100), (80, 100))])
def test_p_beyond_is_the_level_at_which_the_interval_leaves_the_margin(a, b):
    level = statistics.p_beyond(a, b, 0.1)
    inner, outer = (statistics.difference(a, b, 1 - level * factor) for factor in (1.001, 0.999))
    nearest = [min(abs(found.lower), abs(found.upper)) for found in (inner, outer)]
    assert nearest[0] > 0.1 > nearest[1]


def test_paired_is_bonett_and_prices():
    """Their formula, with one more change for the better and one more for the worse among two more images."""
    up, down, count = 11 / 102, 5 / 102, 102
    reach = stats.norm.ppf(0.95) * math.sqrt((up + down - (up - down) ** 2) / count)
    found = statistics.paired(10, 4, 100, 0.9)
    assert (found.lower, found.upper) == pytest.approx((up - down - reach, up - down + reach))
    assert found.count == 100
    assert statistics.paired(0, 3, 3).lower == -1
    assert statistics.paired(3, 0, 3).upper == 1
    nothing = statistics.paired(0, 0, 0)
    assert (nothing.lower, nothing.upper, nothing.count) == (-1, 1, 0)


def test_mean_of_skewed_values_reaches_further_on_the_long_side():
    values = np.random.default_rng(0).exponential(1, 40)
    found, mirrored = statistics.mean(values), statistics.mean(-values)
    assert found.upper - found.value > 1.2 * (found.value - found.lower)
    assert (mirrored.lower, mirrored.upper) == pytest.approx((-found.upper, -found.lower))


def test_mean_is_the_bootstrap_t_of_efron():
    """Resampled one by one, with other random numbers."""
    values = np.random.default_rng(0).exponential(1, 25)
    rng, ratios = np.random.default_rng(5), []
    for _ in range(4000):
        drawn = values[rng.integers(0, 25, 25)]
        ratios.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / 5))
    low, high = np.quantile(ratios, [0.05, 0.95])
    error = stats.sem(values)
    found = statistics.mean(values, 0.9)
    assert found.lower == pytest.approx(values.mean() - high * error, abs=0.1 * error)
    assert found.upper == pytest.approx(values.mean() - low * error, abs=0.25 * error)


def test_mean_takes_its_confidence_and_its_limits():
    values = np.random.default_rng(0).exponential(1, 40)
    narrow, wide = statistics.mean(values, 0.8), statistics.mean(values, 0.99)
    assert wide.lower < narrow.lower < narrow.value == wide.value < narrow.upper < wide.upper
    inner = (narrow.lower + 0.01, narrow.upper - 0.01)
    cut = statistics.mean(values, 0.8, limits=inner)
    assert (cut.lower, cut.upper) == inner
    assert statistics.mean(values, seed=1).lower != statistics.mean(values, seed=0).lower


def test_mean_of_few_values_that_differ_is_students_or_wider():
    """Of two values, half of the resamples have no spread."""
    found = statistics.mean(np.array([1.0, 2.0]))
    reach = stats.t.ppf(0.975, 1) * 0.5
    assert found.lower <= 1.5 - reach + 1e-9
    assert found.upper >= 1.5 + reach - 1e-9


def test_mean_of_one_value_or_none():
    alone = statistics.mean(np.array([0.25]), limits=(0, 1))
    assert (alone.value, alone.count) == (0.25, 1)
    assert (alone.lower, alone.upper) == pytest.approx((0.25 - 0.975 * 0.25, 0.25 + 0.975 * 0.75))
    none = statistics.mean(np.array([]), limits=(0, 1))
    assert (none.lower, none.upper, none.count) == (0, 1, 0)
    unlimited = statistics.mean(np.array([]))
    assert (unlimited.lower, unlimited.upper) == (-math.inf, math.inf)
    assert statistics.mean(np.full(20, 0.9)).lower == -math.inf


def test_beside_a_tie_the_number_of_those_that_differ_is_uncertain():
    """Three zeros among 30 ones may be as few or as many as the interval of 3 in 30 says."""
    values = np.ones(30)
    values[:3] = 0
    share = statistics.rate(3, 30)
    found = statistics.mean(values)
    assert found.lower <= 1 - share.upper + 1e-9
    assert found.upper >= 1 - share.lower - 1e-9
    half = np.arange(30.0)  # no tie
    half[:12] = 0
    assert statistics._beside_a_tie(half, 0.95, (5.0, 6.0)) == (5.0, 6.0)


@pytest.mark.parametrize(("passed", "count", "bound"), [(19, 20, 0.9), (95, 100, 0.9), (5, 10, 0.9), (1, 30, 0.1)])
def test_more_to_decide_is_about_the_least(passed, count, bound):
    more = statistics.more_to_decide(passed, count, bound, 0.95)

    def decides(number):
        found = statistics.rate(round(passed / count * number), number)
        return found.lower >= bound or found.upper < bound

    assert decides(count + more) or more == 1
    assert not decides(count + more - 1) or more == 1


def test_more_to_decide_where_nothing_or_all_is_known():
    assert statistics.more_to_decide(0, 0, 0.9, 0.95) is None
    assert statistics.more_to_decide(500, 500, 0.9, 0.95) == 1
    assert statistics.more_to_decide(90_001, 100_000, 0.9, 0.95) is None  # more than ten million


def test_power_to_fail():
    passes, fails, undecided = statistics.power(0.6, 0.9, 60)
    assert fails > 0.95
    assert passes < 1e-6
    assert undecided == pytest.approx(1 - fails, abs=1e-6)
    assert statistics.power(0.0, 0.5, 20) == pytest.approx((0, 1, 0))
    assert statistics.power(1.0, 0.5, 20) == pytest.approx((1, 0, 0))


@pytest.mark.parametrize("count", [5, 20, 60, 200])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_rates_are_covered_at_least_as_often_as_stated(count, confidence):
    """Exactly, over all outcomes: at no true rate is the share of intervals that contain it below the confidence."""
    found = [statistics.rate(passed, count, confidence) for passed in range(count + 1)]
    for true in np.linspace(0, 1, 101):
        chances = stats.binom.pmf(np.arange(count + 1), count, true)
        contain = [each.lower <= true <= each.upper for each in found]
        assert chances[contain].sum() >= confidence - 1e-9


def test_mcnemar_raises_no_more_false_alarms_than_stated():
    for changed in (1, 5, 20, 60):
        chances = stats.binom.pmf(np.arange(changed + 1), changed, 0.5)
        alarms = [statistics.p_mcnemar(better, changed - better) <= 0.05 for better in range(changed + 1)]
        assert chances[alarms].sum() <= 0.05


@pytest.mark.parametrize(
    ("n", "m", "p", "q"), [(30, 30, 0.9, 0.9), (50, 200, 0.8, 0.9), (60, 60, 0.5, 0.3), (40, 40, 1, 0.9)]
)
def test_differences_are_covered(n, m, p, q):
    """Exactly, over all pairs of outcomes that are not next to impossible."""
    first, second = (stats.binom.pmf(np.arange(size + 1), size, rate) for size, rate in ((n, p), (m, q)))
    covered = sum(
        first[a] * second[b]
        for a in np.flatnonzero(first > 1e-6)
        for b in np.flatnonzero(second > 1e-6)
        if (found := statistics.difference((int(a), n), (int(b), m))).lower <= p - q <= found.upper
    )
    assert 0.93 <= covered <= (1 if p == 1 else 0.98)


@pytest.mark.parametrize(("n", "up", "down"), [(30, 0.1, 0.1), (100, 0.05, 0.1), (50, 0.2, 0.05)])
def test_changes_of_a_rate_are_covered(n, up, down):
    drawn = np.random.default_rng(0).multinomial(n, [up, down, 1 - up - down], 2000)
    found = [statistics.paired(int(better), int(worse), n) for better, worse, _ in drawn]
    assert 0.93 <= np.mean([each.lower <= up - down <= each.upper for each in found]) <= 0.98


def test_nothing_counts_as_no_image():
    assert statistics.rate(0, 0).count == 0


def test_the_mean_of_two_values_has_their_spread():
    found = statistics.mean(np.array([0.2, 0.8]))
    reach = stats.t.ppf(0.975, 1) * np.std([0.2, 0.8], ddof=1) / np.sqrt(2)
    assert (found.lower, found.upper) == pytest.approx((0.5 - reach, 0.5 + reach))


def test_the_difference_of_low_rates_is_newcombes():
    """Where Wilson's interval of a rate ends near 0."""
    found = statistics.difference((1, 50), (0, 50))
    low, high = stats.binomtest(1, 50).proportion_ci(method="wilson")
    _, other = stats.binomtest(0, 50).proportion_ci(method="wilson")
    assert found.lower == pytest.approx(0.02 - np.hypot(0.02 - low, other))
    assert found.upper == pytest.approx(high)


def test_a_bound_of_one_is_never_missed_where_all_pass():
    assert statistics.power(1.0, 1.0, 10) == pytest.approx((0, 0, 1))
