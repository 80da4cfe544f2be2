"""The verdicts on whole data sets: one part of the page for each data set, not a card for each image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record

_NAME = "data set"  # the label of the detail that names it


@dataclass(frozen=True)
class Verdict:
    """One check on a data set: its outcome, its finding, its figures in rows, and its picture's path."""

    outcome: str
    finding: str
    rows: tuple[tuple[str, str], ...]
    picture: str | None

    @property
    def css(self) -> str:
        return self.outcome.replace(" ", "-")


@dataclass(frozen=True)
class DataSet:
    """A data set and the checks on it, in the order in which they were made."""

    name: str
    verdicts: tuple[Verdict, ...]


def data_sets(records: Iterable[Record]) -> list[DataSet]:
    """The data sets that checks were made on as a whole, by name."""
    found: dict[str, list[Record]] = {}
    for record in records:
        name = dict(record.details).get(_NAME)
        if name is not None:
            found.setdefault(name, []).append(record)
    return [DataSet(name, tuple(map(_verdict, own))) for name, own in sorted(found.items())]


def _verdict(record: Record) -> Verdict:
    rows = tuple((label, phrase) for label, phrase in record.details if label != _NAME)
    return Verdict(record.outcome, messages.headline(record), rows, record.picture)
