"""Which checks an audit makes, on which of a case's masks, and the row that each leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_gradcam.checks.focus import FocusAvoids, FocusWithin, OnMask, Overlap, PeakWithin
from pytest_gradcam.data.case import Case
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.validation import nearest

Kind = Literal["mask", "invalid"]
Row = dict[str, Any]
_CLOSE = 1e-3  # how far figures of the same audit may be apart where a device does not repeat its bits

#: The check of each name, from its bound; the mask that it is about; the bound where none is given.
_KNOWN: dict[str, tuple[Any, Kind, float]] = {
    "focus_within": (FocusWithin, "mask", 0.5),
    "focus_avoids": (FocusAvoids, "invalid", 0.1),
    "peak_within": (PeakWithin, "mask", 0),
    "overlap": (lambda bound: Overlap(bound, 0.5), "mask", 0.3),
}
_BY_DEFAULT = ("focus_within", "peak_within", "focus_avoids")


@dataclass(frozen=True)
class Planned:
    """A check and the mask of a case that it is about."""

    check: OnMask
    kind: Kind


@dataclass(frozen=True)
class Plan:
    """The checks of an audit. Those of the default are made where a case has their mask, others on every case.

    A case without any mask counts against every check of the mask, so that all rates are over the same cases.
    """

    checks: tuple[Planned, ...]
    by_default: bool

    def of(self, case: Case) -> tuple[Planned, ...]:
        if not self.by_default:
            return self.checks
        made = tuple(each for each in self.checks if getattr(case, each.kind) is not None)
        return made or tuple(each for each in self.checks if each.kind == "mask")

    def plain(self) -> dict[str, float | str]:
        """The names and bounds, as the head of a file of rows has them."""
        return {each.check.name: _plain(each.check.bound) for each in self.checks}


def plan(checks: Mapping[str, Any] | Sequence[str] | None) -> Plan:
    """The plan of the names, or names and bounds, of checks. Raises HeatmapError for what decides nothing."""
    if checks is None:
        return Plan(tuple(_planned(name, {}) for name in _BY_DEFAULT), by_default=True)
    if isinstance(checks, str):
        raise HeatmapError(f"checks={checks!r} is one name; expected a list of them; pass [{checks!r}]")
    bounds = checks if isinstance(checks, Mapping) else {}
    if not checks:
        raise HeatmapError(f"checks={checks!r} holds no check; expected some of {', '.join(_KNOWN)}")
    return Plan(tuple(_planned(name, bounds) for name in dict.fromkeys(checks)), by_default=False)


def _planned(name: str, bounds: Mapping[str, Any]) -> Planned:
    if name not in _KNOWN:
        raise HeatmapError(f"checks has {name!r}; expected {', '.join(_KNOWN)}{nearest(str(name), _KNOWN)}")
    make, kind, usual = _KNOWN[name]
    check = make(bounds.get(name, usual))
    check.plain_bound()  # what decides nothing is refused before anything is computed
    return Planned(check, kind)


def check_of(row: Row) -> OnMask:
    """The check that a row came from."""
    return _planned(row["check"], {row["check"]: row["bound"]} if row["bound"] is not None else {}).check


def row(case: Case, place: int, record: Record, digest: str) -> Row:
    """What an audit keeps of one check on one case."""
    return {
        "place": place,
        "case": case.name,
        "check": record.check,
        "outcome": record.outcome,
        "figure": record.figure,
        "bound": record.bound,
        "direction": record.direction,
        "reason": record.reason,
        "target": record.target,
        "predicted": record.predicted,
        "score": record.score,
        "rank": record.rank,
        "classes": record.classes,
        "mass": record.mass,
        "lift": record.lift,
        "mask_area": record.mask_area,
        "peak": list(record.peak) if record.peak else None,
        "digest": digest,
        "slices": {str(name): str(value) for name, value in case.slices.items()},
    }


def alike(kept: Sequence[Row], again: Sequence[Row], *, exact: bool) -> bool:
    """Whether these are the same rows; `exact` says that the device repeats its bits."""
    if exact or len(kept) != len(again):
        return list(kept) == list(again)
    return all(_close(a, b) for a, b in zip(kept, again, strict=True))


def _close(a: Row, b: Row) -> bool:
    if (a["case"], a["check"], a["digest"]) != (b["case"], b["check"], b["digest"]):
        return False
    if a["figure"] is None or b["figure"] is None:
        return bool(a["figure"] == b["figure"])
    return bool(abs(a["figure"] - b["figure"]) <= _CLOSE * max(1.0, abs(a["figure"])))


def _plain(bound: Any) -> float | str:
    return float(bound) if isinstance(bound, (int, float)) else repr(bound)
