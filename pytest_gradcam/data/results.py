"""What an audit found: its rows, and rates, means and comparisons over them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np

from pytest_gradcam.data import rows as row_files
from pytest_gradcam.data import statistics
from pytest_gradcam.data.case import Cases
from pytest_gradcam.data.plan import Row
from pytest_gradcam.data.statistics import Interval
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.validation import brief, nearest

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.questions.explained_model import ExplainedModel

_Subject = TypeVar("_Subject", bound=Subject)
_SHARES = ("focus_within", "focus_avoids", "overlap")  # checks whose figure lies between 0 and 1
#: Slices that every row has.
CLASS, PREDICTED = "class", "predicted"


@dataclass(frozen=True)
class Rate:
    """How many of the different images of a group pass a check.

    `interval` is that of the rate among the decided ones; `lower` counts the undecided as failed, `upper` as passed, and so
    they bound the rate however the undecided would have come out. `copies` are further images that are copies and do not
    count.
    """

    check: str
    group: str
    passed: int
    failed: int
    undecided: int
    copies: int
    confidence: float

    @property
    def count(self) -> int:
        """The different images."""
        return self.passed + self.failed + self.undecided

    @property
    def interval(self) -> Interval:
        return statistics.rate(self.passed, self.passed + self.failed, self.confidence)

    @property
    def lower(self) -> float:
        return statistics.rate(self.passed, self.count, self.confidence).lower

    @property
    def upper(self) -> float:
        return statistics.rate(self.passed + self.undecided, self.count, self.confidence).upper

    def __str__(self) -> str:
        if self.passed + self.failed == 0:
            return f"none of {self.count} images is decided"
        undecided = f", {self.undecided} undecided" if self.undecided else ""
        return (
            f"{100 * self.interval.value:.1f} % of {self.count} images ({100 * self.lower:.1f} % to {100 * self.upper:.1f} % at "
            f"{100 * self.confidence:g} %{undecided})"
        )


@dataclass(frozen=True)
class Comparison:
    """One check on the same images in two audits: `better` and `worse` count images whose outcome changed.

    `change` is that of the rate, with its interval; `p_value` that of McNemar's exact test; `figures` the mean change of the
    figure with its interval; `unpaired` counts images that only one of the audits has decided.
    """

    check: str
    better: int
    worse: int
    same: int
    unpaired: int
    change: Interval
    p_value: float
    figures: Interval


class View(Protocol):
    """What was looked at over a data set without a verdict: it goes into the evidence of the verdicts that follow."""

    @property
    def picture(self) -> Image: ...

    def lines(self) -> Iterator[str]:
        """What stands out, a sentence each."""


class Results:
    """The rows of an audit, and what follows from them for the whole data set.

    Images count by content: copies of one count once in every rate, mean, interval and p-value. A group is a value of a
    slice; the slices "class" (what was explained) and "predicted" are there for every data set.
    """

    def __init__(self, name: str, path: Path, cases: Cases | None, model: ExplainedModel | None) -> None:
        self.name = name
        self.path = path
        self.cases = cases
        self._model = model
        self.view: View | None = None

    @classmethod
    def load(cls, *paths: str | Path) -> Self:
        """The audit whose rows are in this file, without its model: all but what asks the model.

        Several files are parts of the same data set, audited elsewhere in the same way: copies count once over all parts.
        Raises HeatmapError for a file that holds no rows, or not those of all cases, and for parts that were audited in another
        way, naming what differs.
        """
        if not paths or not all(isinstance(path, (str, Path)) for path in paths):
            raise HeatmapError(
                f"Audit.load({brief(', '.join(map(repr, paths)))}) names no file of rows; expected Audit.load(path), or "
                "Audit.load(*paths) for the files of several parts; check that there are any"
            )
        files = [Path(path) for path in paths]
        head, _ = row_files.read(files[0])
        found = cls(str(head.get("name", "")), files[0], None, None)
        found.rows = _interned(row_files.joined(files))
        return found

    @cached_property
    def rows(self) -> list[Row]:
        """A dict for each case and check, in the order of the cases."""
        return _interned(row_files.read(self.path)[1])

    @cached_property
    def images(self) -> int:
        """How many cases there are, copies included."""
        return len({row["place"] for row in self.rows})

    @property
    def checks(self) -> list[str]:
        """The names of the checks, in order."""
        return list(dict.fromkeys(row["check"] for row in self.rows))

    @property
    def slices(self) -> list[str]:
        """The names of the slices that the cases have."""
        return sorted({name for row in self.rows for name in row["slices"]})

    def distinct(self, check: str) -> list[Row]:
        """The rows of a check, one for each content: the first of its copies. Raises HeatmapError for another check."""
        if check not in self.checks:
            raise HeatmapError(
                f"check={check!r} is not in this audit; expected {', '.join(self.checks)}{nearest(str(check), self.checks)}"
            )
        first: dict[str, Row] = {}
        for row in self.rows:
            if row["check"] == check:
                first.setdefault(row["digest"] or f"case {row['place']}", row)
        return list(first.values())

    def groups(self, check: str, by: str | None) -> dict[str, list[Row]]:
        """The different images of a check by the values of a slice; without one all of them, under an empty name."""
        found = self.distinct(check)
        if by is None:
            return {"": found}
        there = [CLASS, PREDICTED, *self.slices]
        if by not in there:
            raise HeatmapError(
                f"by={by!r} is not a slice of this data set; expected {', '.join(there)}{nearest(str(by), there)}"
            )
        groups: dict[str, list[Row]] = {}
        for row in found:
            groups.setdefault(group_of(row, by), []).append(row)
        return dict(sorted(groups.items()))

    def rate(self, check: str, *, confidence: float = 0.95) -> Rate:
        """How many of the different images pass the check, with the Clopper-Pearson interval."""
        return self.rates(check, confidence=confidence)[""]

    def rates(self, check: str, *, by: str | None = None, confidence: float = 0.95) -> dict[str, Rate]:
        """The rate of each group of a slice."""
        times = Counter((row["digest"]) for row in self.rows if row["check"] == check and row["digest"])
        return {
            name: _rate(check, name, own, sum(times[row["digest"]] - 1 for row in own if row["digest"]), confidence)
            for name, own in self.groups(check, by).items()
        }

    def mean(self, check: str, *, confidence: float = 0.95) -> Interval:
        """The mean figure of the check over the different images that have one, with its bootstrap-t interval."""
        return self.means(check, confidence=confidence)[""]

    def means(self, check: str, *, by: str | None = None, confidence: float = 0.95) -> dict[str, Interval]:
        """The mean figure of each group of a slice."""
        limits = (0.0, 1.0) if check in _SHARES and not self._in_lifts(check) else None
        return {
            name: statistics.mean(figures(own), confidence, limits=limits)
            for name, own in self.groups(check, by).items()
        }

    def compare(self, other: Results, check: str, *, confidence: float = 0.95) -> Comparison:
        """The check on the images that both audits have, by content: this audit after the other one.

        Raises HeatmapError if they share no image on which both are decided.
        """
        mine, theirs = (
            {row["digest"]: row for row in audit.distinct(check) if _decided(row)} for audit in (self, other)
        )
        shared = sorted(set(mine) & set(theirs))
        if not shared:
            raise HeatmapError(
                f"the audits share no image on which {check} is decided by both; expected the same images, and the same masks"
            )
        now, before = ([audit[key]["outcome"] == "passed" for key in shared] for audit in (mine, theirs))
        better = sum(a and not b for a, b in zip(now, before, strict=True))
        worse = sum(b and not a for a, b in zip(now, before, strict=True))
        moved = np.array([mine[key]["figure"] - theirs[key]["figure"] for key in shared])
        limits = (-1.0, 1.0) if check in _SHARES and not self._in_lifts(check) else None
        return Comparison(
            check,
            better,
            worse,
            len(shared) - better - worse,
            len(set(mine) ^ set(theirs)),
            statistics.paired(better, worse, len(shared), confidence),
            statistics.p_mcnemar(better, worse),
            statistics.mean(moved, confidence, limits=limits),
        )

    def frame(self) -> Any:
        """The rows as a pandas frame, with a column "slice.NAME" for each slice. Needs `pytest-gradcam[data]`."""
        pandas = _extra("pandas")
        frame = pandas.DataFrame([{key: value for key, value in row.items() if key != "slices"} for row in self.rows])
        for name in self.slices:
            frame[f"slice.{name}"] = [row["slices"].get(name) for row in self.rows]
        return frame

    def to_csv(self, path: str | Path) -> None:
        """Write the rows to a CSV file. Needs `pytest-gradcam[data]`."""
        self.frame().to_csv(path, index=False)

    def to_parquet(self, path: str | Path) -> None:
        """Write the rows to a Parquet file. Needs `pytest-gradcam[data]`."""
        _extra("pyarrow")
        self.frame().to_parquet(path, index=False)

    @property
    def model(self) -> ExplainedModel:
        """The model. Raises HeatmapError for an audit that was loaded from its rows."""
        if self._model is None or self.cases is None:
            raise HeatmapError(
                "this audit was loaded from its rows, without a model to ask; run it again with rows= this file"
            )
        return self._model

    def identified(self, record: _Subject) -> _Subject:
        """The record with what is known about the model; unchanged for an audit that was loaded from its rows."""
        return record if self._model is None else self._model.engine.identified(record)

    def about(self, judged: str) -> tuple[tuple[str, str], ...]:
        """How the details of a record on this data set begin, by which reports gather it, and what was seen before."""
        seen = () if self.view is None else tuple(("seen", line) for line in self.view.lines())
        return (("data set", f"{self.name}: {self.images} images"), ("judged", judged), *seen)

    def summary(self) -> Iterator[str]:
        """A line for each check: its rate and its mean."""
        for check in self.checks:
            yield f"{check}: passes on {self.rate(check)}"

    def _in_lifts(self, check: str) -> bool:
        """Whether the figures are lifts, which have another limit on every mask, and no shares."""
        return any(row["figure"] == row["lift"] != row["mass"] for row in self.rows if row["check"] == check)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}: {self.images} images, {', '.join(self.checks)}>"


def _interned(rows: Iterable[Row]) -> list[Row]:
    """The rows, in which texts that are the same share their memory."""
    found = []
    for row in rows:
        for name in ("check", "outcome", "direction", "target", "predicted"):
            row[name] = sys.intern(row[name]) if isinstance(row[name], str) else row[name]
        row["slices"] = {sys.intern(name): sys.intern(value) for name, value in row["slices"].items()}
        found.append(row)
    return found


def group_of(row: Row, by: str) -> str:
    """The value of a slice in a row; what has none is called "none"."""
    value = {CLASS: row["target"], PREDICTED: row["predicted"]}.get(by, row["slices"].get(by))
    return str(value) if value not in (None, "") else "none"


def figures(rows: Sequence[Row]) -> Any:
    """The figures (N,) of the rows that have one."""
    return np.array([row["figure"] for row in rows if row["figure"] is not None], np.float64)


def _decided(row: Row) -> bool:
    return row["outcome"] in ("passed", "failed") and bool(row["digest"])


def _rate(check: str, group: str, rows: Sequence[Row], copies: int, confidence: float) -> Rate:
    times = Counter(row["outcome"] for row in rows)
    undecided = len(rows) - times["passed"] - times["failed"]
    return Rate(check, group, times["passed"], times["failed"], undecided, copies, confidence)


def _extra(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise HeatmapError(f"{name} is not installed; install the extra: pip install 'pytest-gradcam[data]'") from None
