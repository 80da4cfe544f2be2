"""Bounds proposed from a run: one for each check of each test function, as a line to paste.

The bound is the worst figure of the checks that passed, moved by a margin, and rounded to two digits away from the figures.
The margin is the largest of half of the figures' standard deviation, a tenth of the worst figure and 0.01 (for distances
1 pixel).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

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
_SPREAD = 3  # figures, from which on their standard deviation says something
#: Where the argument is not called as the direction is: for each measure of `assert_stable` its own. One has no number.
_ARGUMENTS = {
    "change of the score": "score_within={}",
    "relevance mass in the moved mask": "mass_at_least={}",
    "lift in the moved mask": "mass_at_least=masks.lift({})",
    "similarity of the heatmaps": "similarity_at_least={}",
    bounds.DISTANCE: "tolerance={}",
}
#: How each check is called, as far as a line to paste can know it.
CALLS = {
    "focus_within": "heatmap.assert_focus_within(mask, {})",
    "focus_avoids": "heatmap.assert_focus_avoids(mask, {})",
    "peak_within": "heatmap.assert_peak_within(mask, {})",
    "overlap": "heatmap.assert_overlap(mask, {})",
    "similar": "heatmap.assert_similar(other, {})",
    "matches_baseline": "heatmap.assert_matches_baseline({})",
    "ignores": "gradcam.assert_ignores(image, mask, {})",
    "relies_on": "gradcam.assert_relies_on(image, mask, {})",
    "no_reliance": "gradcam.assert_no_reliance(images, masks, {})",
    "stable": "gradcam.assert_stable(image, perturbation, {})",
    "faithful": "gradcam.assert_faithful(image, {})",
    "depends_on_weights": "gradcam.assert_depends_on_weights(image, {})",
    "deterministic": "gradcam.assert_deterministic(image, {})",
}
_WITHOUT_BOUND = "the predicted class is kept"
_LIFTS = (bounds.LIFT, "lift in the moved mask")
_UNLIMITED = (*_LIFTS, bounds.DISTANCE, "change of the score")
#: The other way to bound the same attention: its share in place of its lift, and the reverse.
_OTHER_SCALE = {bounds.RELEVANCE_MASS: (bounds.LIFT, "lift"), bounds.LIFT: (bounds.RELEVANCE_MASS, "mass")}
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
    """The bound to write for one check of one test function, None if `notes` say why not, and what it rests on.

    `argument` is the keyword with a place for the bound; `other` the same bound on the other scale, of lift or of share,
    as an argument, empty if there is none; `left_out` counts the checks of the group whose figures were not taken.
    """

    test: str
    check: str
    argument: str
    bound: float | None
    figures: tuple[float, ...]
    margin: float
    notes: tuple[str, ...]
    other: str = ""
    left_out: int = 0

    @property
    def text(self) -> str:
        """The argument as it would be written."""
        return "no bound" if self.bound is None else self.argument.format(f"{self.bound:g}")

    @property
    def line(self) -> str:
        """The call to paste into the test, empty if there is no bound."""
        return "" if self.bound is None else CALLS.get(self.check, f"assert_{self.check}(..., {{}})").format(self.text)


def propose(records: Iterable[Record], *, take_failed: bool = False) -> list[Proposal]:
    """A proposal for each check of each test function that has a bound, from the figures of those that passed.

    `take_failed` takes the figures of failed checks as well. Raises ValueError if no check that is taken has a figure and a
    bound.
    """
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.bound is not None and record.measure != _WITHOUT_BOUND:
            groups[function(record.test), record.check, record.measure].append(record)
    outcomes = ("passed", "failed") if take_failed else ("passed",)
    taken = {
        key: [one for one in group if one.outcome in outcomes and one.figure is not None]
        for key, group in groups.items()
    }
    proposals = [
        replace(_proposal(key[0], key[1], found), left_out=len(groups[key]) - len(found))
        for key, found in taken.items()
        if found
    ]
    if not proposals:
        failed = sum(record.outcome == "failed" for group in groups.values() for record in group)
        hint = (
            f"; {failed} failed with one: if their pictures are as they should be, pass --take-failed" if failed else ""
        )
        raise ValueError(f"no check that passed has a figure and a bound, so there is nothing to base a bound on{hint}")
    return proposals


def ground(report: Report) -> Report:
    """The report. Raises ValueError if tests of its runs are missing, whose figures may be the worst."""
    if report.gaps:
        raise ValueError(
            f"checks of this run may be missing ({missing(report.gaps)}), so its worst figures are not known; let the run finish"
        )
    return report


def plain(proposals: Sequence[Proposal]) -> list[dict[str, Any]]:
    """The proposals as built-ins."""
    return [{**asdict(one), "text": one.text, "line": one.line} for one in proposals]


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
        if proposal.line:
            yield f"  {'':<18} {proposal.line}" + (f"    # or {proposal.other}" if proposal.other else "")
        yield from (f"  {'':<18} {note}" for note in proposal.notes)
    yield from _taken(proposals)
    yield (
        "margin: the largest of half of the figures' standard deviation, a tenth of the worst figure, and 0.01 "
        "(distances: 1 px)"
    )


def _taken(proposals: Sequence[Proposal]) -> Iterator[str]:
    taken, left = sum(len(one.figures) for one in proposals), sum(one.left_out for one in proposals)
    yield f"taken: {taken} checks with a figure" + (
        f"; left out: {left} that did not pass or have none" if left else ""
    )


def _proposal(test: str, check: str, group: Sequence[Record]) -> Proposal:
    first, figures = group[0], tuple(float(one.figure) for one in group if one.figure is not None)
    worst = min(figures) if first.direction == "at_least" else max(figures)
    margin = _margin(first, figures, worst)
    bound, kept = _bound(first, worst, margin), ""
    default = _default(first)
    if default is not None and _is_looser(first, bound, default) and not _is_looser(first, worst, default):
        bound, kept = default, "the check's default, which the figures meet by less than the margin"
    alone = len(figures) == 1 and not kept
    usable = _can_fail(group, bound) and not alone
    notes = [kept] if kept else []
    if alone:
        notes = [
            "one figure does not show how far figures differ, so no bound can rest on it: run the check on several images"
        ]
    elif not usable:
        notes = ["the figures are too near the end of the scale, or too far apart, for a bound that can fail"]
    elif default is not None and _is_looser(first, bound, default):
        notes = [f"looser than the default, {default:g}: keep that, unless the figures are meant to be like this"]
    named = "masks.lift({})" if first.measure == bounds.LIFT else "{}"
    argument = _ARGUMENTS.get(first.measure, f"{first.direction}={named}")
    notes += _notes(group, figures, bound)
    return Proposal(test, check, argument, bound if usable else None, figures, margin, tuple(notes), _other(group))


def _margin(first: Record, figures: Sequence[float], worst: float) -> float:
    spread = statistics.stdev(figures) / 2 if len(figures) >= _SPREAD else 0.0
    return max(spread, abs(worst) / 10, 1 if first.measure == bounds.DISTANCE else 0.01)


def _other(group: Sequence[Record]) -> str:
    """The bound on the other scale, as an argument; empty where a record lacks the figure, or no bound can fail."""
    measure, name = _OTHER_SCALE.get(group[0].measure, ("", ""))
    figures = [getattr(one, name) for one in group] if name else []
    if not figures or None in figures:
        return ""
    on_it = [replace(one, measure=measure, figure=figure) for one, figure in zip(group, figures, strict=True)]
    worst = min(figures) if group[0].direction == "at_least" else max(figures)
    bound = _bound(on_it[0], worst, _margin(on_it[0], figures, worst))
    value = f"masks.lift({bound:g})" if measure == bounds.LIFT else f"{bound:g}"
    return f"{group[0].direction}={value}" if _can_fail(on_it, bound) else ""


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


def _default(first: Record) -> float | None:
    """The check's default bound, in the units of this measure."""
    return None if first.measure in _LIFTS else DEFAULTS.get(first.check)


def _is_looser(first: Record, bound: float, default: float) -> bool:
    return bound < default if first.direction == "at_least" else bound > default


def _notes(group: Sequence[Record], figures: Sequence[float], bound: float) -> Iterator[str]:
    if 1 < len(figures) < FEW:
        yield f"few: the worst of {len(figures)} says little about the next run; take {FEW} images or more"
    areas = [record.mask_area for record in group if record.measure == bounds.RELEVANCE_MASS and record.mask_area]
    below = sum(area >= bound for area in areas)
    if below and group[0].direction == "at_least":
        yield f"on {below} of {len(areas)} masks, which are large, chance alone would meet it: use a lift as bound (masks.lift)"


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """The value with two significant digits, at or beyond it in the direction of the rounding."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - _DIGITS + 1
    # A product with a negative power would not be the shortest decimal: 41 * 0.01 is not 0.41.
    return float(f"{towards(round(value / 10**exponent, 9))}e{exponent}")
