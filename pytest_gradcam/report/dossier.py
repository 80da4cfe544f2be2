"""A report for people who have to sign: along Annex IV, point 2(g), of the EU's AI Act, and as plain Markdown.

Regulation (EU) 2024/1689, Annex IV, 2(g): the validation and testing procedures used, the test data and their main
characteristics, the metrics, and test logs and reports that are dated and signed by the responsible persons.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.messages import number
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.requirements import FAIRNESS
from pytest_gradcam.report import markdown
from pytest_gradcam.report.compare import function
from pytest_gradcam.report.coverage import NOTICE, coverage
from pytest_gradcam.report.document import Report, Run
from pytest_gradcam.report.order import OUTCOMES, alarms
from pytest_gradcam.report.terminal import counts

_NAMED = 8  # classes of a slice
_METRICS = {
    "relevance mass": "share of the heatmap's total inside a region (Arras et al. 2022)",
    "lift": "relevance mass over the region's share of the area; 1 is chance",
    "distance of the peak": "pixels from the heatmap's maximum to the region: the pointing game (Zhang et al. 2018)",
    "IoU": "intersection over union of the thresholded heatmap and the region (Zhou et al. 2016)",
}


def annex_iv(report: Report, *, digest: str, written: str, signature: str) -> str:
    """The extract for a technical file, as Markdown; `digest` is the manifest's SHA-256, `signature` who signed it, or empty."""
    records = report.records
    sections = [
        [
            "# Testing of what the model looks at",
            "",
            "Extract for Annex IV, point 2(g), of Regulation (EU) 2024/1689.",
            "",
        ],
        [f"**{NOTICE}**", "", *(f"- **{markdown.plain(alarm)}**" for alarm in alarms(report)), ""],
        ["## Testing procedures used", "", *_procedures(records), ""],
        ["## Model", "", *_models(records), ""],
        ["## Test data and their main characteristics", "", *_data(records), ""],
        ["## Metrics and results", "", *_metrics(records), ""],
        ["## Potentially discriminatory impacts", "", *_fairness(records), ""],
        ["## What no check covers", "", *(f"- {one.name}: {one.open}" for one in coverage(records)), ""],
        ["## Test logs", "", *(line for run in report.runs for line in _log(run)), ""],
        ["## Date and signature", "", *_signed(report, digest, written, signature), ""],
    ]
    return "\n".join(line for section in sections for line in section)


def everything(report: Report) -> str:
    """summary.md and, below it, every check with its figure and bound."""
    rows = [
        (record.outcome, record.check, messages.headline(record), record.image, record.test)
        for record in report.records
    ]
    table = _table(("outcome", "check", "finding", "image", "test"), rows)
    return "\n".join([markdown.summary(report), "## Every check", "", *table, ""])


def _procedures(records: Sequence[Record]) -> Iterator[str]:
    yield (
        "Automated tests (pytest with pytest-gradcam). Each check holds one figure of one or more images against a bound "
        "that was written before the run; what cannot be decided does not pass."
    )
    yield ""
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[record.check].append(record)
    rows = [(kind, *_numbers(found)) for kind, found in sorted(by_kind.items())]
    yield from _table(("check", "made", *OUTCOMES), rows)


def _models(records: Sequence[Record]) -> Iterator[str]:
    known = Counter((record.model, record.weights) for record in records if record.model)
    rows = [(model, weights or "unknown", count) for (model, weights), count in known.items()]
    yield from _table(("model", "SHA-256 of the weights", "checks"), rows) if rows else ["No check names a model."]


def _data(records: Sequence[Record]) -> Iterator[str]:
    images = {_image(record): record for record in records if _image(record)}
    yield f"{len(images)} images were tested, of {len({one.target for one in records if one.target})} classes. By test:"
    yield ""
    slices: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        slices[function(record.test)].append(record)
    rows = [(test, len(set(map(_image, found))), _classes(found)) for test, found in sorted(slices.items())]
    yield from _table(("slice (test)", "images", "classes"), rows)
    yield from ("", "Digests of the images (SHA-256 of the file, where nothing else is said):", "")
    for digest, record in sorted(images.items(), key=lambda pair: pair[1].image):
        yield f"- {markdown.plain(record.image)}: {markdown.plain(digest if record.image_digest else 'unknown')}"


def _image(record: Record) -> str:
    return record.image_digest or record.image


def _classes(records: Sequence[Record]) -> str:
    names = sorted({record.target for record in records if record.target})
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _metrics(records: Sequence[Record]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.figure is not None:
            groups[record.check, record.measure].append(record)
    rows = []
    for (check, measure), found in sorted(groups.items()):
        figures = [one.figure for one in found if one.figure is not None]
        limits = {f"{one.direction.replace('_', ' ')} {number(one.bound)}" for one in found if one.bound is not None}
        span = f"{number(min(figures))} / {number(fmean(figures))} / {number(max(figures))}"
        rows.append((check, measure, _METRICS.get(measure, ""), ", ".join(sorted(limits)[:4]), span))
    yield from _table(("check", "metric", "definition", "bound", "least / mean / largest"), rows)


def _fairness(records: Sequence[Record]) -> Iterator[str]:
    covered = [record for record in records if FAIRNESS in record.requirements]
    if covered:
        yield f"{counts(covered)} marked as evidence on {FAIRNESS}. Whether groups of people are treated alike is not measured."
    else:
        yield "**No check of this report speaks to discriminatory impacts.**"


def _log(run: Run) -> Iterator[str]:
    ended = f"ended {run.ended}" if run.ended else "**did not end**"
    yield f"- Run {run.id[:12]}: started {run.started or 'unknown'}, {ended}, exit status {run.exit_status}."
    yield f"  Command: {markdown.plain(' '.join(run.command))}"
    clean = {True: "no uncommitted change", False: "**with uncommitted changes**", None: "state unknown"}[run.clean]
    yield f"  Commit: {run.commit or 'none'} ({clean}); user {markdown.plain(run.user)} on {markdown.plain(run.host)}."
    tests = ", ".join(f"{count} {outcome}" for outcome, count in sorted(run.tests.items()))
    yield f"  Tests: {tests or 'unknown'}."


def _signed(report: Report, digest: str, written: str, signature: str) -> Iterator[str]:
    yield f"This extract was written {written} from a report whose manifest has the SHA-256 `{digest}`."
    yield ""
    unsigned = "**The report is not signed.** Sign it with `pytest-gradcam sign`."
    yield f"The report is signed: {markdown.plain(signature)}." if signature else unsigned
    yield from ("", "| responsible person | date | signature |", "| --- | --- | --- |", "|  |  |  |")


def _numbers(records: Iterable[Record]) -> tuple[int, ...]:
    found = Counter(record.outcome for record in records)
    return (sum(found.values()), *(found[outcome] for outcome in OUTCOMES))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(markdown.plain(str(cell)) for cell in row)} |"
