"""Bounds proposed from a known-good run: one for each check of each test function.

The bound is the worst figure of the run moved by a margin, and rounded to two digits away from the figures. The margin
is a tenth of the worst figure, and at least 0.01 (for distances 1 pixel).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pytest_gradcam.evidence import bounds
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.compare import function
from pytest_gradcam.report.document import Report
from pytest_gradcam.report.order import missing

#: With fewer figures than this, the worst of them says little about the worst of the next run.
FEW = 10
_DIGITS = 2
_FLOOR = 0.01  # the least bound from above on a share
#: Where the argument is not called as the direction is: for each measure of `assert_stable` its own. One has no number.
_ARGUMENTS = {
    "change of the score": "score_within={}",
    "relevance mass in the moved mask": "mass_at_least={}",
    "lift in the moved mask": "mass_at_least=masks.lift({})",
    "similarity of the heatmaps": "similarity_at_least={}",
    bounds.DISTANCE: "tolerance={}",
}
_WITHOUT_BOUND = "the predicted class is kept"
_LIFTS = (bounds.LIFT, "lift in the moved mask")
_UNLIMITED = (*_LIFTS, bounds.DISTANCE, "change of the score")
#: The checks' default bounds: a note says if a proposed bound is looser.
DEFAULTS = {
    "focus_within": 0.5,
    "focus_avoids": 0.1,
    "overlap": 0.3,
    "similar": 0.8,
    "matches_baseline": 0.95,
    "ignores": 0.25,
    "relies_on": 0.5,
    "faithful": 0.9,
    "depends_on_weights": 0.4,
    "deterministic": 1e-3,
}


@dataclass(frozen=True)
class Proposal:
    """The bound to write for one check of one test function, None if `notes` say why not, and what it rests on."""

    test: str
    check: str
    argument: str
    bound: float | None
    figures: tuple[float, ...]
    margin: float
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The argument as it would be written."""
        return "no bound" if self.bound is None else self.argument.format(f"{self.bound:g}")


def propose(records: Iterable[Record], *, despite_failures: bool = False) -> list[Proposal]:
    """A proposal for each check of each test function that has a bound.

    `despite_failures` leaves the checks that did not pass out. Raises ValueError if there are some without it, or if no
    check that passed has a figure and a bound.
    """
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    found = list(records)
    bad = [record for record in found if record.outcome != "passed"]
    if bad and not despite_failures:
        raise ValueError(
            f"{len(bad)} of {len(found)} checks did not pass, the first of them {bad[0].check} in {bad[0].test}, so this run "
            "is not known to be good; fix them, or pass --despite-failures to use only the checks that passed"
        )
    for record in found:
        if record.bound is not None and record.measure != _WITHOUT_BOUND:
            groups[function(record.test), record.check, record.measure].append(record)
    proposals = [_proposal(test, check, group) for (test, check, _), group in groups.items() if _figures(group)]
    if not proposals:
        raise ValueError("no check that passed has a figure and a bound, so there is nothing to rest a bound on")
    return proposals


def ground(report: Report) -> Report:
    """The report. Raises ValueError if tests of its runs are missing, whose figures may be the worst."""
    if report.gaps:
        raise ValueError(
            f"checks of this run may be missing ({missing(report.gaps)}), so its worst figures are not known; let the run finish"
        )
    return report


def lines(proposals: Sequence[Proposal]) -> Iterator[str]:
    """The proposals by test function, then how the margin is defined."""
    last = ""
    for proposal in proposals:
        if proposal.test != last:
            yield proposal.test
        last = proposal.test
        low, high = min(proposal.figures), max(proposal.figures)
        span = number(low) if low == high else f"{number(low, unlike=high)} .. {number(high, unlike=low)}"
        yield (
            f"  {proposal.check:<18} {proposal.text:<24} {len(proposal.figures)} figures {span}, "
            f"margin {number(proposal.margin)}"
        )
        yield from (f"  {'':<18} {note}" for note in proposal.notes)
    yield "margin: a tenth of the worst figure, and at least 0.01 (distances: 1 px)"


def _proposal(test: str, check: str, group: Sequence[Record]) -> Proposal:
    first, figures = group[0], _figures(group)
    worst = min(figures) if first.direction == "at_least" else max(figures)
    margin = max(abs(worst) / 10, 1 if first.measure == bounds.DISTANCE else 0.01)
    bound = _bound(first, worst, margin)
    usable = _can_fail(group, bound)
    notes = list(_notes(group, figures, bound))
    if not usable:
        notes.insert(0, "the figures are too near the end of the scale, or too far apart, for a bound that can fail")
    elif _is_looser(first, bound):
        notes.insert(
            0, f"looser than the default, {DEFAULTS[check]:g}: keep that, unless the figures are meant to be like this"
        )
    named = "masks.lift({})" if first.measure == bounds.LIFT else "{}"
    argument = _ARGUMENTS.get(first.measure, f"{first.direction}={named}")
    return Proposal(test, check, argument, bound if usable else None, figures, margin, tuple(notes))


def _bound(first: Record, worst: float, margin: float) -> float:
    """The figure moved by the margin, kept to what the check takes."""
    if first.direction == "at_least":
        bound = _rounded(worst - margin, math.floor)
        return bound if first.measure in _UNLIMITED else min(bound, 1.0)
    bound = _rounded(worst + margin, math.ceil)
    return bound if first.measure in _UNLIMITED else max(bound, _FLOOR)


def _can_fail(group: Sequence[Record], bound: float) -> bool:
    """Whether the check takes the bound: one that some heatmaps keep, and others do not."""
    first = group[0]
    if first.direction == "at_least":
        return bound > 0
    if first.measure in _LIFTS:
        return all(bound < 1 / record.mask_area for record in group if record.mask_area)
    return bound < 1 or first.measure in _UNLIMITED


def _is_looser(first: Record, bound: float) -> bool:
    """Whether the bound asks for less than the check does by default, in the same units."""
    default = DEFAULTS.get(first.check)
    if default is None or first.measure in _LIFTS:
        return False
    return bound < default if first.direction == "at_least" else bound > default


def _notes(group: Sequence[Record], figures: Sequence[float], bound: float) -> Iterator[str]:
    if len(figures) < FEW:
        yield f"few: the worst of {len(figures)} says little about the next run; take {FEW} images or more"
    if len(figures) < len(group):
        yield f"{len(group) - len(figures)} did not pass or have no figure, and are left out"
    areas = [record.mask_area for record in group if record.measure == bounds.RELEVANCE_MASS and record.mask_area]
    below = sum(area >= bound for area in areas)
    if below and group[0].direction == "at_least":
        yield f"on {below} of {len(areas)} masks, which are large, chance alone would meet it: use a lift as bound (masks.lift)"


def _figures(group: Sequence[Record]) -> tuple[float, ...]:
    return tuple(record.figure for record in group if record.outcome == "passed" and record.figure is not None)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """The value with two significant digits, at or beyond it in the direction of the rounding."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - _DIGITS + 1
    # A product with a negative power would not be the shortest decimal: 41 * 0.01 is not 0.41.
    return float(f"{towards(round(value / 10**exponent, 9))}e{exponent}")
