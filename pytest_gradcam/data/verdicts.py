"""The verdicts on a data set, each with a stated error rate: an interval decides, and what it leaves open never passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_gradcam import validation
from pytest_gradcam.data import picture, statistics
from pytest_gradcam.data.plan import Row
from pytest_gradcam.data.results import Rate, Results
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import percent
from pytest_gradcam.evidence.record import Record, Subject

if TYPE_CHECKING:
    from PIL.Image import Image

_NAMED = 5  # images and groups that a record names


def assert_rate(audit: Results, check: str, *, at_least: float = 0.9, confidence: float = 0.95) -> None:
    """At least this share of images like these passes the check: the whole interval of the rate lies at or above it.

    The interval is Clopper and Pearson's (1934), two-sided: where the true rate is below `at_least`, this passes in at most
    (1 - confidence) / 2 of all samples, and it fails as rarely where the true rate is not. Copies of an image count once;
    an image without a verdict counts as failed for passing and as passed for failing. Raises FocusError if the whole
    interval lies below; HeatmapError if it contains `at_least`, saying how many more images would decide.
    """
    asked = RateAtLeast(at_least, confidence)
    _settle(audit, asked, check, lambda record: asked.judged(record, audit, check))


def assert_slices_equal(audit: Results, check: str, *, by: str, margin: float = 0.1, confidence: float = 0.95) -> None:
    """The rate at which images pass the check differs by at most `margin` between each group of a slice and all others.

    Passes if the intervals of all differences (Newcombe 1998) lie within the margin; fails if one group's difference is
    beyond it, at a chance of a false alarm of 1 - confidence over all groups together (Holm 1979).
    Raises FocusError for the groups that differ; HeatmapError if it is undecided, or if there is only one group.
    """
    asked = SlicesEqual(margin, confidence, by)
    _settle(audit, asked, check, lambda record: asked.judged(record, audit, check))


@dataclass(frozen=True)
class _OnSet(Check):
    """A check on a whole data set, at a confidence."""

    confidence: Any

    name: ClassVar[str]
    measure: ClassVar[str]

    @property
    def parameters(self) -> dict[str, Any]:
        return {"confidence": self.confidence}

    def plain_parameters(self) -> dict[str, float]:
        expected = "a share above 0.5 and below 1, such as 0.95"
        return {"confidence": validation.number("confidence", self.confidence, expected, lambda level: 0.5 < level < 1)}

    def advice(self, record: Record) -> str:
        return "look at the picture: it shows the images furthest on the wrong side of the bound; audit.rows has all of them"


@dataclass(frozen=True)
class RateAtLeast(_OnSet):
    """The rate of images that pass a check is at least this."""

    name, measure = "rate", "rate of images that pass"

    def judged(self, record: Record, audit: Results, check: str) -> Record:
        level = record.parameters["confidence"]
        found, bound = audit.rate(check, confidence=level), record.bound
        assert bound is not None
        record = replace(record, details=(*record.details, *rate_rows(audit, check, found)))
        if found.passed + found.failed == 0:
            raise HeatmapError(f"{check} is undecided on all {found.count} images: {_reasons(audit.distinct(check))}")
        passed, failed = found.lower >= bound, found.upper < bound
        if not passed and not failed:
            return replace(record, outcome="invalid", reason=_open(found, bound, audit.distinct(check)))
        said = f"{check} passes on {found}; expected the whole interval to be at least {percent(bound)}"
        advice = "" if passed else self.advice(record)
        outcome = "passed" if passed else "failed"
        return replace(record, figure=found.interval.value, outcome=outcome, finding=said, advice=advice)  # type: ignore[arg-type]

    def finding(self, record: Record, figure: float, bound: float) -> str:
        return record.finding


@dataclass(frozen=True)
class SlicesEqual(_OnSet):
    """The rates of the groups of a slice lie within a margin of each other."""

    by: str

    name, measure, direction = "slices_equal", "difference of rates", "at_most"

    def plain_bound(self) -> float:
        return validation.bound("margin", self.bound, "a share above 0 and below 1", lambda share: 0 < share < 1)

    def judged(self, record: Record, audit: Results, check: str) -> Record:
        level = record.parameters["confidence"]
        rates = audit.rates(check, by=self.by, confidence=level)
        if len(rates) < 2:
            raise HeatmapError(
                f"by={self.by!r} has one group only, {', '.join(rates)}; expected at least two to compare"
            )
        bound = record.bound
        assert bound is not None
        gaps = [Gap.of(rate, rates.values(), bound, level) for rate in rates.values()]
        adjusted = statistics.holm([gap.p_value for gap in gaps])
        apart = [gap for gap, p_value in zip(gaps, adjusted, strict=True) if p_value <= 1 - level]
        widest = max(gaps, key=lambda gap: abs(gap.value))
        rows = [(f"{self.by} {gap.group}", f"{gap}, p {p:.2g}") for gap, p in zip(gaps, adjusted, strict=True)]
        record = replace(record, details=(*record.details, *rows))
        if apart:
            named = " and ".join(f"{gap.group} ({gap})" for gap in apart[:_NAMED])
            said = (
                f"{check} passes at a different rate for {self.by} {named} than for the other images; expected at "
                f"most {percent(bound)} apart"
            )
            return replace(record, figure=abs(widest.value), outcome="failed", finding=said, advice=self.advice(record))
        if loose := [gap for gap in gaps if max(-gap.lower, gap.upper) > bound]:
            gap = max(loose, key=lambda gap: max(-gap.lower, gap.upper))
            reason = (
                f"{self.by} {gap.group} differs by {gap}, which reaches beyond the margin of {percent(bound)}: too few "
                f"images to say more ({rates[gap.group].count} of {gap.group}); add images of it, or allow a wider margin"
            )
            return replace(record, outcome="invalid", reason=reason)
        said = f"{check} passes at the same rate, within {percent(bound)}, for all {len(gaps)} values of {self.by}"
        return replace(record, figure=abs(widest.value), outcome="passed", finding=said)

    def finding(self, record: Record, figure: float, bound: float) -> str:
        return record.finding


@dataclass(frozen=True)
class Gap:
    """By how much the rate of a group lies above that of all other images, however the undecided would have come out."""

    group: str
    value: float
    lower: float
    upper: float
    p_value: float

    @classmethod
    def of(cls, rate: Rate, rates: Iterable[Rate], margin: float, confidence: float) -> Gap:
        others = [other for other in rates if other.group != rate.group]
        passed, undecided = (sum(getattr(other, name) for other in others) for name in ("passed", "undecided"))
        count = sum(other.count for other in others)
        low, high = (
            ((rate.passed, rate.count), (passed + undecided, count)),
            ((rate.passed + rate.undecided, rate.count), (passed, count)),
        )
        ends = [statistics.difference(*pair, confidence) for pair in (low, high)]
        # Between a lower and a higher rate than that of the others, the undecided may make none.
        either = ends[0].value < 0 < ends[1].value
        return cls(
            rate.group,
            statistics.difference((rate.passed, rate.count), (passed, count)).value,
            ends[0].lower,
            ends[1].upper,
            1.0 if either else max(statistics.p_beyond(*pair, margin) for pair in (low, high)),
        )

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} %, {100 * self.lower:+.1f} to {100 * self.upper:+.1f} %"


def rate_rows(audit: Results, check: str, found: Rate) -> list[tuple[str, str]]:
    """What a record says about a rate besides its finding: means, copies, slices, the worst images."""
    average = audit.mean(check, confidence=found.confidence)
    rows = [("figures", f"{average.value:.3g} on average, {average.lower:.3g} to {average.upper:.3g}")]
    if found.copies:
        rows.append(("copies", f"{found.copies} images are copies of others by content, and do not count"))
    if found.undecided:
        rows.append(("undecided", f"{found.undecided} images: {_reasons(audit.distinct(check))}"))
    for name in audit.slices:
        rates = sorted(audit.rates(check, by=name, confidence=found.confidence).values(), key=lambda rate: rate.upper)
        rows += [(f"{name}", f"{rate.group}: {rate}") for rate in rates[:_NAMED]]
    failed = picture.worst_first([row for row in audit.distinct(check) if row["outcome"] == "failed"])
    if failed:
        rows.append(("worst", ", ".join(f"{row['case']} ({row['figure']:.3g})" for row in failed[:_NAMED])))
    return rows


def _settle(audit: Results, asked: Check, check: str, judged: Callable[[Record], Record]) -> None:
    """Judge the data set, and settle the record."""

    def measure(record: Record) -> Record:
        return judged(asked.checked(record))

    def draw(record: Record) -> Image:
        return picture.below(picture.of_check(audit, check, record), audit.view)

    record = replace(asked.record(Subject()), details=audit.about(check))
    settle.judge(audit.identified(record), measure, draw)


def _open(found: Rate, bound: float, rows: Sequence[Row]) -> str:
    """Why an interval leaves a rate open, and what would decide it."""
    decided = found.passed + found.failed
    more = statistics.more_to_decide(found.passed, decided, bound, found.confidence)
    advice = (
        f"about {more:,} more images would decide, if the rate stays as it is"
        if more is not None
        else "no number of images decides if the rate stays as it is; choose another bound"
    )
    undecided = f"; {found.undecided} images have no verdict: {_reasons(rows)}" if found.undecided else ""
    return f"{found.check} passes on {found}, which contains the bound of {percent(bound)}: {advice}{undecided}"


def _reasons(rows: Sequence[Row]) -> str:
    reasons = list(dict.fromkeys(row["reason"] for row in rows if row["outcome"] not in ("passed", "failed")))
    more = f" and {len(reasons) - 2} other reasons" if len(reasons) > 2 else ""
    return "; ".join(reason.splitlines()[0] for reason in reasons[:2] if reason) + more
