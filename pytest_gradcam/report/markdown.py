"""summary.md: the run for a pull request's comment or a pipeline's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.coverage import NOTICE, coverage
from pytest_gradcam.report.document import Report
from pytest_gradcam.report.order import alarms, expected, worst_first
from pytest_gradcam.report.terminal import counts

_WORST = 20


def summary(report: Report) -> str:
    """The counts, what is missing, the worst checks and the requirements, as GitHub-flavoured Markdown."""
    records = report.records
    return "\n".join(
        [f"## Grad-CAM: {counts(records)}", "", *_alarms(report), *_worst(records), *_requirements(records), ""]
    )


def _alarms(report: Report) -> Iterator[str]:
    for alarm in alarms(report):
        yield from (f"**{plain(alarm)}**", "")


def _worst(records: Sequence[Record]) -> Iterator[str]:
    bad = [record for record in worst_first(records) if record.outcome != "passed"]
    if not bad:
        return
    yield from ("| outcome | check | finding | test |", "| --- | --- | --- | --- |")
    for record in bad[:_WORST]:
        wanted = f" (expected: the test {record.test_outcome})" if expected(record) else ""
        cells = (record.outcome + wanted, record.check, messages.headline(record), record.test)
        yield f"| {' | '.join(map(plain, cells))} |"
    if len(bad) > _WORST:
        yield from ("", f"... and {len(bad) - _WORST} more.")
    yield ""


def _requirements(records: Sequence[Record]) -> Iterator[str]:
    yield from ("| requirement (EU, 2019) | evidence |", "| --- | --- |")
    for requirement in coverage(records):
        yield f"| {requirement.name} | {requirement.phrase} |"
    yield from ("", NOTICE)


def plain(text: str) -> str:
    """The text on one line, with nothing in it that Markdown, GitHub or HTML would act on."""
    return re.sub(r"[\\`*\[\]<>#|~&@$!]|:(?=//)", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
