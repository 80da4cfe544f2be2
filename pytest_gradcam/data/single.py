"""One case of an audit as a test: its rows, settled as the checks that they came from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gradcam import overlay
from pytest_gradcam.data import picture
from pytest_gradcam.data.case import Case
from pytest_gradcam.data.plan import Row, check_of
from pytest_gradcam.data.results import Results
from pytest_gradcam.errors import FocusError, HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.record import Record, Subject

if TYPE_CHECKING:
    from PIL.Image import Image


def assert_case(audit: Results, case: Case | str) -> None:
    """The case, or the case of this name, passes all its checks, by the rows that the audit has of it.

    Raises FocusError or HeatmapError for the first that it does not pass, and HeatmapError for a case that is not there.
    """
    name = case if isinstance(case, str) else case.name
    rows = [row for row in audit.rows if row["case"] == name]
    if not rows:
        raise HeatmapError(f"the audit of {audit.name} has no case {name!r}; check its name")
    errors: list[FocusError | HeatmapError] = []
    for row in rows:
        try:
            settle.settle(_record(audit, row), lambda kept, row=row: _draw(audit, row, kept))  # type: ignore[misc]
        except (FocusError, HeatmapError) as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _record(audit: Results, row: Row) -> Record:
    known = {name: row[name] for name in ("target", "score", "rank", "classes", "predicted")}
    subject = Subject(image=row["case"], **known)
    check = check_of(row)
    record = replace(
        check.record(audit.identified(subject)),
        outcome=row["outcome"],
        reason=row["reason"],
        bound=row["bound"],
        mask_area=row["mask_area"],
        mass=row["mass"],
        lift=row["lift"],
        peak=tuple(row["peak"]) if row["peak"] else None,
    )
    if row["outcome"] not in ("passed", "failed"):
        return record
    record = replace(record, figure=row["figure"], finding=check.finding(record, row["figure"], row["bound"]))
    return record if row["outcome"] == "passed" else replace(record, advice=check.advice(record))


def _draw(audit: Results, row: Row, record: Record) -> Image:
    panels = picture.thumbnails(audit, [row]) or [picture.NOTHING]
    return overlay.draw_panels(panels, title=messages.title(record), lines=messages.lines(record))
