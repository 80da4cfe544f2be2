"""The summary at the end of a run, as lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_gradcam.evidence import Outcome, Record

_ORDER: tuple[Outcome, ...] = ("failed", "invalid", "no evidence", "passed")
_PICTURES = 50


def summary(records: Sequence[Record]) -> Iterator[str]:
    """How many checks came out how, and where their pictures are; nothing for no records."""
    if not records:
        return
    counts = Counter(record.outcome for record in records)
    yield f"{len(records)} checks: " + ", ".join(
        f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome]
    )
    pictured = sorted((r for r in records if r.picture), key=lambda record: _ORDER.index(record.outcome))
    for record in pictured[:_PICTURES]:
        yield f"{record.outcome:<11} {record.check:<13} {record.picture}"
    if len(pictured) > _PICTURES:
        yield f"... and {len(pictured) - _PICTURES} more pictures beside them"


def baselines(written: Sequence[str], orphans: Sequence[str]) -> Iterator[str]:
    """Which baselines were written, and which belong to no test any more."""
    if written:
        yield f"{len(set(written))} baselines written, which nothing was compared with; look at the changes, commit them:"
        yield from _first(sorted(set(written)))
    if orphans:
        yield f"{len(set(orphans))} baselines belong to no test of their file; rename or delete them:"
        yield from _first(sorted(set(orphans)))


def _first(paths: Sequence[str]) -> Iterator[str]:
    yield from (f"  {path}" for path in paths[:_PICTURES])
    if len(paths) > _PICTURES:
        yield f"  ... and {len(paths) - _PICTURES} more"
