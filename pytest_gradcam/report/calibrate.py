"""Propose bounds from a known-good run: one for each check of each test function.

The bound is the worst figure of the run moved by a margin, and rounded to two digits away from the figures. The margin
is a tenth of the worst figure, and at least 0.01 (for distances 1 pixel).
Exit status 0 if every check got a bound, 1 if one did not, 2 if the run is no ground for any.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_gradcam.evidence import bounds
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.compare import function
from pytest_gradcam.report.document import load

#: With fewer figures than this, the worst of them says little about the worst of the next run.
FEW = 10
_DIGITS = 2


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
            "is not known to be good; mend it, or pass --despite-failures to rest on the checks that passed"
        )
    for record in found:
        if record.bound is not None:
            groups[function(record.test), record.check, record.measure].append(record)
    proposals = [_proposal(test, check, group) for (test, check, _), group in groups.items() if _figures(group)]
    if not proposals:
        raise ValueError("no check that passed has a figure and a bound, so there is nothing to rest a bound on")
    return proposals


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
    at_least = first.direction == "at_least"
    worst = min(figures) if at_least else max(figures)
    distance = first.measure == bounds.DISTANCE
    margin = max(abs(worst) / 10, 1 if distance else 0.01)
    bound = _rounded(worst - margin, math.floor) if at_least else _rounded(worst + margin, math.ceil)
    notes = list(_notes(group, figures, bound))
    usable = bound > 0 if at_least else bound < 1 or distance or first.measure == bounds.LIFT
    if not usable:
        notes.insert(0, "the figures are too near the end of the scale, or too far apart, for a bound that can fail")
    argument = bounds.argument(first.measure, first.direction) + "={}"
    if first.measure == bounds.LIFT:
        argument = argument.replace("{}", "masks.lift({})")
    return Proposal(test, check, argument, bound if usable else None, figures, margin, tuple(notes))


def _notes(group: Sequence[Record], figures: Sequence[float], bound: float) -> Iterator[str]:
    if len(figures) < FEW:
        yield f"few: the worst of {len(figures)} says little about the next run; take {FEW} images or more"
    if len(figures) < len(group):
        yield f"{len(group) - len(figures)} that did not pass, or have no figure, are left out"
    areas = [record.mask_area for record in group if record.measure == bounds.RELEVANCE_MASS and record.mask_area]
    below = sum(area >= bound for area in areas)
    if below and group[0].direction == "at_least":
        yield f"chance alone would keep it on {below} of {len(areas)} masks, which are that large: bound the lift (masks.lift)"


def _figures(group: Sequence[Record]) -> tuple[float, ...]:
    return tuple(record.figure for record in group if record.outcome == "passed" and record.figure is not None)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """The value with two significant digits, at or beyond it in the direction of the rounding."""
    if value == 0:
        return 0.0
    exponent = math.floor(math.log10(abs(value))) - _DIGITS + 1
    # A product with a negative power would not be the shortest decimal: 41 * 0.01 is not 0.41.
    return float(f"{towards(round(value / 10**exponent, 9))}e{exponent}")


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("report", type=Path, metavar="REPORT", help="a report's directory or evidence.json")
    parser.add_argument(
        "--despite-failures", action="store_true", help="leave the checks that did not pass out, in place of refusing"
    )


def run(options: Namespace) -> int:
    proposals = propose(load(options.report).records, despite_failures=options.despite_failures)
    for line in lines(proposals):
        print(line)
    return 0 if all(proposal.bound is not None for proposal in proposals) else 1
