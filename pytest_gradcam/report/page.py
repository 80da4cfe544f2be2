"""index.html: the whole report on one page that needs nothing but its pictures."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from importlib import metadata, resources
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_gradcam.evidence import baseline_paths, messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.requirements import REQUIREMENTS
from pytest_gradcam.report.coverage import NOTICE, coverage
from pytest_gradcam.report.data_sets import data_sets
from pytest_gradcam.report.document import Report, Run
from pytest_gradcam.report.order import OUTCOMES, alarms, expected, worst_first
from pytest_gradcam.report.overview import WIDTH, model_names, rows
from pytest_gradcam.report.plot import plots

_MARKS = {"failed": "✕", "invalid": "!", "no evidence": "○", "passed": "✓"}
_WITHOUT_SCRIPT = 20


@dataclass(frozen=True)
class _Tile:
    """One outcome and how many checks had it."""

    name: str
    count: int

    @property
    def css(self) -> str:
        return self.name.replace(" ", "-")

    @property
    def mark(self) -> str:
        return _MARKS[self.name]


@dataclass(frozen=True)
class Extras:
    """What a page shows besides its report: `compared` are lines on an earlier run, `pictures` PNGs by name to put into it."""

    compared: Sequence[str] = ()
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def render(report: Report, extras: Extras = Extras()) -> str:
    """The page. Names of tests, files and models are text in it, whatever they hold."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("pytest_gradcam.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"grouped": grouped, "moment": _moment}
    records = worst_first(report.records)
    style, script = _own("page.css"), _own("page.js")
    return environment.get_template("page.html.j2").render(
        style=Markup(style),
        script=Markup(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
        evidence=Markup(embedded(records, _runs(report), extras.pictures)),
        compared=list(extras.compared),
        **_said(report, records),
    )


def _said(report: Report, records: Sequence[Record]) -> dict[str, Any]:
    counts = Counter(record.outcome for record in records)
    return {
        "verdict": _verdict(records, whole=not report.gaps),
        "about": _about(records),
        "overview": rows(records),
        "data_sets": data_sets(records),
        "sparkline": WIDTH,
        "baselines": [
            record for record in records if record.check == "matches_baseline" and record.outcome != "passed"
        ],
        "alarms": list(alarms(report)),
        "started": min((run.started for run in report.runs if run.started), default=""),
        "outcomes": [_Tile(outcome, counts[outcome]) for outcome in OUTCOMES],
        "filters": _filters(records),
        "worst": [_bare(record) for record in records[:_WITHOUT_SCRIPT]],
        "plots": plots(records),
        "coverage": coverage(records),
        "notice": NOTICE,
        "runs": [list(_run(run)) for run in report.runs],
        "version": metadata.version("pytest-gradcam"),
    }


def _runs(report: Report) -> dict[int, str]:
    """When the run of each record began, by the record's identity; nothing if there is one run only."""
    return {id(record): run.started for run in report.runs for record in run.checks} if len(report.runs) > 1 else {}


def embedded(records: Sequence[Record], runs: Mapping[int, str], pictures: Mapping[str, bytes] | None = None) -> str:
    """The records as JSON that can stand in a script element: strings once each, checks as their places."""
    places: dict[str, int] = {}
    models = model_names(records)

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    checks = [
        [
            place(record.outcome),
            place(record.check),
            place(models.get((record.model, record.weights), "")),
            place(record.test),
            place(_near(record.image)),
            place(messages.headline(record)),
            place(PurePosixPath(record.picture).name) if record.picture else None,
            [place(name) for name in record.requirements],
            place(_line(record)),
            [place(part) for row in _rows(record) for part in row],
            [place(part) for row in _record(record, runs.get(id(record), "")) for part in row],
        ]
        for record in records
    ]
    inside = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in (pictures or {}).items()}
    text = json.dumps({"strings": list(places), "checks": checks, "pictures": inside}, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def grouped(count: int) -> str:
    """12,345 with a thin space, as ISO 80000 has it."""
    return f"{count:,}".replace(",", "\u2009")


def _verdict(records: Sequence[Record], *, whole: bool = True) -> str:
    """The page in one sentence; `whole` if no test of its runs is missing."""
    bad = sum(record.outcome != "passed" for record in records)
    wanted = sum(record.outcome != "passed" and expected(record) for record in records)
    total = grouped(len(records))
    missing = "" if whole else "; tests are missing"
    if not records:
        return f"No check was made{missing}"
    if bad > wanted:
        also = f", and {grouped(wanted)} more as expected" if wanted else ""
        return f"{grouped(bad - wanted)} of {total} checks did not pass{also}{missing}"
    if bad:
        return f"{grouped(len(records) - bad)} of {total} checks passed, {grouped(bad)} did not, as expected{missing}"
    if missing:
        return f"{total} checks passed{missing}"
    return "The only check passed" if len(records) == 1 else f"All {total} checks passed"


def _about(records: Sequence[Record]) -> str:
    tests = len({record.test for record in records})
    images = len({record.image_digest or record.image for record in records} - {""})
    models = sorted(model_names(records).values())
    parts = [f"{grouped(tests)} tests", f"{grouped(images)} images"]
    return " · ".join([*parts, *models[:3]]) + (f" and {len(models) - 3} more models" if len(models) > 3 else "")


def _filters(records: Sequence[Record]) -> list[dict[str, Any]]:
    present = {name for record in records for name in record.requirements}
    return [
        {"name": "check", "label": "Check", "values": sorted({record.check for record in records})},
        {"name": "model", "label": "Model", "values": sorted(model_names(records).values())},
        {"name": "requirement", "label": "Requirement", "values": [name for name in REQUIREMENTS if name in present]},
    ]


def _near(path: str) -> str:
    """The path relative to the working directory if it lies below it, else as it is."""
    return baseline_paths.shown(Path(path)) if path.startswith("/") else path


def _bare(record: Record) -> dict[str, str]:
    return {"outcome": record.outcome, "finding": messages.headline(record), "test": record.test}


def _line(record: Record) -> str:
    """What stands beside the outcome: where the test came out another way than its check, it says so."""
    if record.outcome != "passed" and expected(record):
        return f"expected: the test {record.test_outcome}"
    return ""


def _rows(record: Record) -> Iterator[tuple[str, str]]:
    for label, phrase in messages.rows(record):
        if label != "picture":
            yield label, _near(phrase) if label == "image" else phrase
    if record.outcome == "failed" and (advice := messages.advice(record)):
        yield "try", advice


def _record(record: Record, run: str) -> Iterator[tuple[str, str]]:
    known = [
        ("requirements", ", ".join(record.requirements)),
        ("weights", record.weights and f"sha256 {record.weights}"),
        ("class", record.model_class),
        ("image", record.image_digest),
        ("device", record.device),
        ("perturbation", record.perturbation),
        ("seed", "" if record.seed is None else str(record.seed)),
        ("parameters", ", ".join(f"{name} {messages.number(value)}" for name, value in record.parameters.items())),
        ("duration", "" if record.duration is None else f"{record.duration:.3g} s"),
        ("test", record.test_outcome),
        ("place", f"check {record.number} of its test"),
        ("run", run and f"began {run}"),
    ]
    return ((label, phrase) for label, phrase in known if phrase)


def _run(run: Run) -> Iterator[tuple[str, str]]:
    state = {True: "", False: ", with changes that are not in it", None: ""}[run.clean]
    known = [
        ("started", run.started),
        ("ended", run.ended or "it did not"),
        ("tests", ", ".join(f"{count} {outcome}" for outcome, count in run.tests.items())),
        ("exit status", "" if run.exit_status is None else str(run.exit_status)),
        ("command", " ".join(run.command)),
        ("commit", run.commit and run.commit + state),
        ("in no commit", ", ".join(run.uncommitted)),
        ("without a check", ", ".join(run.unchecked)),
        ("ran again", "; ".join(f"{record.test}: {messages.headline(record)}" for record in run.retried)),
        ("who", " on ".join(part for part in (run.user, run.host) if part)),
        ("pipeline", _listed(run.ci)),
        ("settings", _listed({name: value for name, value in run.settings.items() if value is not None})),
        ("seeds", _listed(run.seeds)),
        ("python", f"{run.python}, {run.platform}"),
        ("packages", _listed(run.packages)),
        ("run", run.id),
    ]
    return ((label, phrase) for label, phrase in known if phrase)


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%d %B %Y, %H:%M %Z").lstrip("0").rstrip(", ")
    except ValueError:
        return text


def _own(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode()).digest()).decode()
