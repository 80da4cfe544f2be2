"""Two runs of the same checks: what got worse, what got better, and whether chance explains it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from pytest_gradcam.evidence.messages import number, percent
from pytest_gradcam.evidence.record import Record

#: The fewest images that changed with which a paired test can come out below 0.05: two of 2 ** 6 signs are as extreme.
FEWEST = 6
_RESAMPLES = 10_000
_ROUNDING = 1e-6  # of a bound: what another machine makes of the same figure
_SHOWN = 10


@dataclass(frozen=True)
class Pair:
    """One check in the old run and in the new one; `alike` if it was of the same target and image."""

    old: Record
    new: Record
    alike: bool = True

    @property
    def loss(self) -> float | None:
        """How far the figure moved in the wrong direction, as a share of the old bound; below 0 if in the right one.

        A bound of 0 counts as 1. None if either run has no figure, or measured something else.
        """
        old, new = self.old, self.new
        if old.figure is None or new.figure is None or old.bound is None or not (self.alike and self._one_measure):
            return None
        change = old.figure - new.figure if old.direction == "at_least" else new.figure - old.figure
        loss = change / (abs(old.bound) or 1)
        return loss if abs(loss) > _ROUNDING else 0.0

    @property
    def _one_measure(self) -> bool:
        return (self.old.measure, self.old.direction) == (self.new.measure, self.new.direction)

    @property
    def incomparable(self) -> bool:
        """Whether the check passed in both runs, but its figures cannot be compared."""
        return self.old.outcome == self.new.outcome == "passed" and self.loss is None

    @property
    def broke(self) -> bool:
        return self.old.outcome == "passed" and self.new.outcome != "passed"

    @property
    def mended(self) -> bool:
        return self.old.outcome != "passed" and self.new.outcome == "passed"

    @property
    def loosened(self) -> bool:
        """Whether the new run's bound is looser than the old one's."""
        old, new = self.old, self.new
        if old.bound is None or new.bound is None or not self._one_measure:
            return False
        return new.bound < old.bound if old.direction == "at_least" else new.bound > old.bound


@dataclass(frozen=True)
class Group:
    """The pairs of one check in one test function, whatever its parameters: what a change is judged on."""

    test: str
    check: str
    pairs: tuple[Pair, ...]

    @cached_property
    def losses(self) -> tuple[float, ...]:
        """The mean loss of each image, which may have been checked more than once; in no order."""
        by_image: dict[str, list[float]] = defaultdict(list)
        for pair in self.pairs:
            if pair.loss is not None:
                by_image[_image(pair.new) or pair.new.test].append(pair.loss)
        return tuple(sum(losses) / len(losses) for losses in by_image.values())

    @property
    def loss(self) -> float:
        """The mean over the images, 0 if there is none."""
        return sum(self.losses) / len(self.losses) if self.losses else 0.0

    @cached_property
    def p_value(self) -> float | None:
        """Of a paired permutation test of the mean loss over images, two-sided; None if too few of them changed.

        If old and new were exchangeable, either sign of each image's loss would be as likely; this is twice the share of
        the choices of signs whose mean is as far to one side, of all up to 13 images, of 10 000 seeded ones above.
        """
        if sum(loss != 0 for loss in self.losses) < FEWEST:
            return None
        import numpy as np
        from scipy import stats

        result = stats.permutation_test(
            (np.asarray(self.losses),),
            lambda signed, axis: signed.mean(axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=_RESAMPLES,
            random_state=np.random.default_rng(0),
        )
        return float(result.pvalue)


@dataclass(frozen=True)
class Comparison:
    """The checks of two runs, paired; what only one of them has is beside the pairs.

    `repeated` counts the checks that several of the old runs had made: each is compared with the best of them.
    """

    pairs: tuple[Pair, ...]
    vanished: tuple[Record, ...]
    added: tuple[Record, ...]
    repeated: int = 0

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """What was measured in both runs, the worst first."""
        by_name: dict[tuple[str, str], list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            if pair.loss is not None:
                by_name[function(pair.new.test), pair.new.check].append(pair)
        groups = [Group(test, check, tuple(pairs)) for (test, check), pairs in by_name.items()]
        return tuple(sorted(groups, key=lambda group: (-group.loss, group.test, group.check)))

    @property
    def broken(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.broke)

    def regressions(self, limit: float) -> tuple[str, ...]:
        """What is worse than the limit allows, a sentence each; also that no figure could be compared, if so."""
        if not self.groups:
            return ("no figure of the old run could be compared with one of this run, so regressions are undecided",)
        undecided = [
            f"{_name(record)} was not made, so it is undecided" for record in self.vanished if _is_check(record)
        ]
        undecided += [
            f"{_name(pair.new)} is {_difference(pair)}, so it is undecided" for pair in self.pairs if pair.incomparable
        ]
        broken = [f"{_name(pair.new)} passed before and is {pair.new.outcome} now" for pair in self.broken]
        worse = [
            f"{group.test} {group.check} got worse by {percent(group.loss, unlike=limit)} of its bound on average, "
            f"{percent(limit)} are allowed"
            for group in self.groups
            if group.loss > limit
        ]
        return (*broken, *worse, *undecided)


def compare_with_runs(runs: Iterable[Iterable[Record]], new: Iterable[Record]) -> Comparison:
    """The checks of a run and of several earlier ones: of a check that more than one made, the best is compared with."""
    best: dict[tuple[object, ...], Record] = {}
    repeated = set()
    for run in runs:
        found = sorted(run, key=lambda record: (record.test, record.number))
        for key, record in _keyed(found, subjects=True).items():
            if key in best:
                repeated.add(key)
            if key not in best or _merit(record) > _merit(best[key]):
                best[key] = record
    return replace(compare(best.values(), new), repeated=len(repeated))


def compare(old: Iterable[Record], new: Iterable[Record]) -> Comparison:
    """The checks of both runs, paired by test, check, target, image, perturbation and place among those alike.

    What is left is paired without target and image: a check of the predicted class is the same one, though it can't be
    compared in figures, after the prediction changed.
    """
    before, after = (sorted(records, key=lambda record: (record.test, record.number)) for records in (old, new))
    alike = [Pair(*pair) for pair in _matched(before, after, subjects=True)]
    before, after = (_without(records, pairs) for records, pairs in zip((before, after), _sides(alike), strict=True))
    others = [Pair(*pair, alike=False) for pair in _matched(before, after, subjects=False)]
    vanished, added = (_without(records, pairs) for records, pairs in zip((before, after), _sides(others), strict=True))
    return Comparison((*alike, *others), tuple(vanished), tuple(added))


def lines(comparison: Comparison, *, quiet: bool = False) -> Iterator[str]:
    """The comparison as a section of the terminal's summary; a quiet one leaves out what is unchanged or better."""
    pairs = comparison.pairs
    if not quiet:
        yield (
            f"{len(pairs)} checks compared; {len(comparison.vanished)} of the old run were not made, "
            f"{len(comparison.added)} are new"
        )
    if comparison.repeated:
        yield f"{comparison.repeated} checks were made in several of the old runs: each is compared with the best of them"
    yield from _section("passed before and do not now", (_before_and_now(pair) for pair in pairs if pair.broke))
    if not quiet:
        yield from _section("did not pass before and do now", (_before_and_now(pair) for pair in pairs if pair.mended))
    others = (f"{_name(pair.new)}, was {_about(pair.old)}" for pair in pairs if not pair.alike)
    yield from _section("are of another target or image than before, so their figures are not compared", others)
    changed = (f"{_name(pair.new)}: {_difference(pair)}" for pair in pairs if pair.alike and pair.incomparable)
    yield from _section("measure something else than before, so their figures are not compared", changed)
    yield from _section("have a looser bound than before", (_bounds(pair) for pair in pairs if pair.loosened))
    worse = [group for group in comparison.groups if group.loss > 0]
    better = [group for group in reversed(comparison.groups) if group.loss < 0]
    yield from _section("worse on average over the images", map(_mean, worse))
    if not quiet:
        yield from _section("better on average over the images", map(_mean, better))
    yield from _section("of the old run were not made", (_name(record) for record in comparison.vanished))


def plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison as built-ins: counts, and what changed by name."""
    return {
        "compared": len(comparison.pairs),
        "broken": [_before_and_now(pair) for pair in comparison.broken],
        "mended": [_before_and_now(pair) for pair in comparison.pairs if pair.mended],
        "loosened": [_bounds(pair) for pair in comparison.pairs if pair.loosened],
        "incomparable": [_name(pair.new) for pair in comparison.pairs if pair.incomparable],
        "groups": [
            {
                "test": group.test,
                "check": group.check,
                "images": len(group.losses),
                "loss": group.loss,
                "p_value": group.p_value,
            }
            for group in comparison.groups
        ],
        "vanished": [_name(record) for record in comparison.vanished],
        "added": [_name(record) for record in comparison.added],
    }


def function(test: str) -> str:
    """The test function of a test's id: what is before its parameters."""
    file, separator, name = test.partition("::")
    return file + separator + name.partition("[")[0]


def _matched(old: Sequence[Record], new: Sequence[Record], *, subjects: bool) -> list[tuple[Record, Record]]:
    before, after = _keyed(old, subjects), _keyed(new, subjects)
    return [(before[key], after[key]) for key in before if key in after]


def _keyed(records: Sequence[Record], subjects: bool) -> dict[tuple[object, ...], Record]:
    """The records by what makes two of them the same check; the last part is the place among those alike in the rest."""
    counts: dict[tuple[object, ...], int] = defaultdict(int)
    keyed = {}
    for record in records:
        subject = (record.target, _image(record)) if subjects else ()
        alike = (record.test, record.check, record.perturbation, *subject)
        keyed[*alike, counts[alike]] = record
        counts[alike] += 1
    return keyed


def _merit(record: Record) -> tuple[bool, float]:
    """How good the record is: passed before not passed, then by how far the figure is on the right side of the bound."""
    if record.figure is None:
        return record.outcome == "passed", -math.inf
    return record.outcome == "passed", record.figure if record.direction == "at_least" else -record.figure


def _is_check(record: Record) -> bool:
    """Whether it is a check, and not the record of a test that broke before its check."""
    return record.check != "test"


def _difference(pair: Pair) -> str:
    """Why the figures of a pair are not compared."""
    if not pair.alike:
        return f"of another target or image: was {_about(pair.old) or 'unnamed'}"
    old, new = (f"{record.measure} {record.direction}" for record in (pair.old, pair.new))
    return "without a figure in one of the runs" if old == new else f"now on {new}, was on {old}"


def _sides(pairs: Sequence[Pair]) -> tuple[list[Record], list[Record]]:
    return [pair.old for pair in pairs], [pair.new for pair in pairs]


def _without(records: Sequence[Record], others: Sequence[Record]) -> list[Record]:
    known = set(map(id, others))
    return [record for record in records if id(record) not in known]


def _image(record: Record) -> str:
    """What identifies an image on any machine: its digest, or the file's name if there is none."""
    path = PureWindowsPath(record.image) if "\\" in record.image else PurePosixPath(record.image)
    return record.image_digest or path.name


def _section(title: str, rows: Iterable[str]) -> Iterator[str]:
    found = list(rows)
    if found:
        yield f"{len(found)} {title}:"
        yield from (f"  {row}" for row in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"  ... and {len(found) - _SHOWN} more"


def _name(record: Record) -> str:
    about = _about(record)
    return f"{record.test} {record.check}" + (f" ({about})" if about else "")


def _about(record: Record) -> str:
    return ", ".join(part for part in (record.target and repr(record.target), record.image) if part)


def _before_and_now(pair: Pair) -> str:
    def one(record: Record) -> str:
        return f"{record.outcome} " + ("" if record.figure is None else f"at {number(record.figure)}")

    return f"{_name(pair.new)}: {one(pair.old).strip()}, now {one(pair.new).strip()}"


def _bounds(pair: Pair) -> str:
    assert pair.old.bound is not None
    assert pair.new.bound is not None
    old, new = number(pair.old.bound, unlike=pair.new.bound), number(pair.new.bound, unlike=pair.old.bound)
    return f"{_name(pair.new)}: {pair.new.direction}={new}, was {old}"


def _mean(group: Group) -> str:
    sign = 1 if group.loss > 0 else -1
    worst = max(group.pairs, key=lambda pair: sign * (pair.loss or 0))
    assert worst.old.figure is not None
    assert worst.new.figure is not None
    moved = "worse" if group.loss > 0 else "better"
    changed = sum(loss != 0 for loss in group.losses)
    p = group.p_value
    chance = f"p = {p:.2g}" if p is not None else f"no p-value: {changed} changed, {FEWEST} needed"
    return (
        f"{group.test} {group.check}: {moved} by {percent(abs(group.loss))} of its bound over {len(group.losses)} images "
        f"({chance}); most {number(worst.old.figure, unlike=worst.new.figure)} to "
        f"{number(worst.new.figure, unlike=worst.old.figure)}{' on ' + worst.new.image if worst.new.image else ''}"
    )
