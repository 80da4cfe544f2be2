"""Intervals and tests for rates, means and differences over the images of a data set.

Rates: Clopper and Pearson (1934). Means: the bootstrap-t of Efron (1981). Differences of two rates: Newcombe's hybrid
score interval (1998, method 10). Paired rates: Bonett and Price (2012); their test is McNemar's, exact. Several
hypotheses at once: Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_RESAMPLES = 1999
_MANY = 1000  # values from which on Student's t interval is as good as resampling
_FEW = 10  # values apart from a tie, up to which their number is what is uncertain
_MOST = 10_000_000  # images that are thought of when asked how many would decide


@dataclass(frozen=True)
class Interval:
    """An estimate with the two-sided interval around it, from `count` independent images."""

    value: float
    lower: float
    upper: float
    count: int


def rate(passed: int, count: int, confidence: float = 0.95) -> Interval:
    """The rate and its Clopper-Pearson interval, which covers the true rate at least this often."""
    if count == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    tail = (1 - confidence) / 2
    lower = float(scipy.special.betaincinv(passed, count - passed + 1, tail)) if passed else 0.0
    upper = float(scipy.special.betaincinv(passed + 1, count - passed, 1 - tail)) if passed < count else 1.0
    return Interval(passed / count, lower, upper, count)


def mean(
    values: Floats, confidence: float = 0.95, *, limits: tuple[float, float] | None = None, seed: int = 0
) -> Interval:
    """The mean of values (N,) and its bootstrap-t interval, cut to the `limits` between which any value must lie.

    Values that are all the same show no spread, so that the interval is as wide as the limits allow: a share of the images that
    none of N showed, up to 1 - (tail)^(1/N), may lie at either limit. Without limits it is then unbounded.
    """
    count = len(values)
    if count == 0:
        return Interval(math.nan, *(limits or (-math.inf, math.inf)), 0)
    centre, spread = float(values.mean()), float(values.std(ddof=1)) if count > 1 else 0.0
    if spread <= 1e-12 * max(abs(centre), 1e-300):
        return _of_constant(centre, count, confidence, limits)
    error, tail = spread / math.sqrt(count), (1 - confidence) / 2
    if count >= _MANY:
        low = high = float(scipy.special.stdtrit(count - 1, 1 - tail))
    else:
        low, high = _studentised(values, tail, seed)
    lower, upper = centre - high * error, centre + low * error
    lower, upper = _beside_a_tie(values, confidence, (lower, upper), limits)
    if limits is not None:
        lower, upper = max(lower, limits[0]), min(upper, limits[1])
    return Interval(centre, lower, upper, count)


def difference(a: tuple[int, int], b: tuple[int, int], confidence: float = 0.95) -> Interval:
    """The difference of two rates, each (passed, count), with Newcombe's interval."""
    first, second = (_wilson(*each, confidence) for each in (a, b))
    gap = first.value - second.value
    lower = gap - math.hypot(first.value - first.lower, second.upper - second.value)
    upper = gap + math.hypot(first.upper - first.value, second.value - second.lower)
    return Interval(gap, max(lower, -1.0), min(upper, 1.0), a[1] + b[1])


def p_beyond(a: tuple[int, int], b: tuple[int, int], margin: float) -> float:
    """The p-value of the hypothesis that two rates differ by at most the margin: the level at which the interval leaves it."""
    if abs(a[0] / a[1] - b[0] / b[1]) <= margin:
        return 1.0

    def clear(level: float) -> bool:
        found = difference(a, b, 1 - level)
        return found.lower > margin or found.upper < -margin

    return _lowest(clear)


def paired(better: int, worse: int, count: int, confidence: float = 0.95) -> Interval:
    """The change of a rate over the same images, of which so many got better and worse, after Bonett and Price."""
    if count == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    up, down = (better + 1) / (count + 2), (worse + 1) / (count + 2)
    reach = float(scipy.special.ndtri((1 + confidence) / 2)) * math.sqrt((up + down - (up - down) ** 2) / (count + 2))
    return Interval((better - worse) / count, max(up - down - reach, -1.0), min(up - down + reach, 1.0), count)


def p_mcnemar(better: int, worse: int) -> float:
    """The two-sided exact p-value of the hypothesis that as many images get better as worse."""
    both = better + worse
    return min(1.0, 2 * float(scipy.special.bdtr(min(better, worse), both, 0.5))) if both else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, adjusted so that the chance of any false alarm among them stays below the level."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def more_to_decide(passed: int, count: int, bound: float, confidence: float) -> int | None:
    """How many more images would decide whether the rate reaches the bound, if it stays as it is; None for no number."""
    if count == 0 or passed / count == bound:
        return None

    def decides(number: int) -> bool:
        found = rate(round(passed / count * number), number, confidence)
        return found.lower >= bound or found.upper < bound

    number = count
    while not decides(number):
        number *= 2
        if number > _MOST:
            return None
    low, high = number // 2, number
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return max(high - count, 1)


def power(true: float, bound: float, count: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """How often so many images pass, fail and leave undecided whether a rate reaches the bound, at a true rate."""
    passes = fails = 0.0
    for passed in range(count + 1):
        weight = math.exp(_log_binomial(passed, count, true))
        found = rate(passed, count, confidence)
        passes += weight if found.lower >= bound else 0.0
        fails += weight if found.upper < bound else 0.0
    return passes, fails, 1 - passes - fails


def _log_binomial(passed: int, count: int, true: float) -> float:
    choose = (
        scipy.special.gammaln(count + 1) - scipy.special.gammaln(passed + 1) - scipy.special.gammaln(count - passed + 1)
    )
    return float(choose + scipy.special.xlogy(passed, true) + scipy.special.xlog1py(count - passed, -true))


def _of_constant(centre: float, count: int, confidence: float, limits: tuple[float, float] | None) -> Interval:
    if limits is None:
        return Interval(centre, -math.inf, math.inf, count)
    unseen = 1 - ((1 - confidence) / 2) ** (1 / count)
    reach = [centre + unseen * (limit - centre) for limit in limits]
    return Interval(centre, reach[0], reach[1], count)


def _beside_a_tie(
    values: Floats, confidence: float, ends: tuple[float, float], limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The interval, widened where all but a few values are the same: how many differ, and how far, is then what is uncertain.

    Resampling a handful of differing values understates how many there may be, and that others may lie nearer to a limit.
    """
    found, times = np.unique(values, return_counts=True)
    most = found[times.argmax()]
    apart = values[values != most]
    if len(apart) > min(_FEW, len(values) // 2):
        return ends
    share, centre = rate(len(apart), len(values), confidence), apart.mean()
    wider = [*ends, *(float(most + bound * (centre - most)) for bound in (share.lower, share.upper))]
    if limits is not None:
        unseen = 1 - ((1 - confidence) / 2) ** (1 / len(apart))
        far = centre + unseen * (limits[int(centre > most)] - centre)
        wider.append(float(most + share.value * (far - most)))
    return min(wider), max(wider)


def _studentised(values: Floats, tail: float, seed: int) -> tuple[float, float]:
    """How many standard errors below and above the mean the bootstrap-t interval reaches."""
    drawn = values[np.random.default_rng(seed).integers(0, len(values), (_RESAMPLES, len(values)))]
    spread = drawn.std(axis=1, ddof=1)
    seen = spread > 0
    if seen.mean() < 1 - tail:  # few values differ: resamples of one value have no spread
        reach = float(scipy.special.stdtrit(len(values) - 1, 1 - tail))
        return reach, reach
    ratios = (drawn.mean(axis=1)[seen] - values.mean()) / (spread[seen] / math.sqrt(len(values)))
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return -float(low), float(high)


def _wilson(passed: int, count: int, confidence: float) -> Interval:
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    share, weight = passed / count, 1 + z * z / count
    centre = (share + z * z / (2 * count)) / weight
    reach = z / weight * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Interval(share, max(centre - reach, 0.0), min(centre + reach, 1.0), count)


def _lowest(clear: Callable[[float], bool]) -> float:
    """The lowest level at which something is clear, by bisection of its logarithm."""
    low, high = -30.0, 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if clear(10**middle) else (middle, high)
    return float(10**high)
