"""A report as OSCAL Assessment Results (NIST, version 1.1.2), for tools that manage compliance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.coverage import NOTICE, Coverage, coverage
from pytest_gradcam.report.document import Report, Run

VERSION = "1.1.2"
_SPACE = UUID("6d7a1c0e-52f8-4c53-9d7e-9b5f0c1f6a55")  # ids are derived, so that the same report gives the same file
_NAMESPACE = "https://github.com/pytest-gradcam"
_UNKNOWN = "1970-01-01T00:00:00+00:00"  # for runs that do not say when they were


def assessment_results(report: Report, *, files: dict[str, str], written: str, version: str) -> dict[str, Any]:
    """The report as one OSCAL document; `files` are the report's files with their SHA-256, `written` the moment in ISO 8601.

    Each run is a result, each check an observation by test, each requirement for trustworthy AI that checks speak to a
    finding: satisfied if all of these passed and no test of the run is missing. It is not a statement of conformity.
    """
    identity = "".join(run.id for run in report.runs)
    return {
        "assessment-results": {
            "uuid": _id("report", identity),
            "metadata": {
                "title": "Checks of what a vision model looks at (pytest-gradcam)",
                "last-modified": written,
                "version": version,
                "oscal-version": VERSION,
                "remarks": NOTICE,
            },
            "import-ap": {
                "href": f"#{_id('plan', identity)}",
                "remarks": "The plan is the test suite that the runs name.",
            },
            "results": [_result(run) for run in report.runs],
            "back-matter": {"resources": list(_resources(files, identity))},
        }
    }


def _result(run: Run) -> dict[str, Any]:
    required = [one for one in coverage(run.checks) if one.outcomes]
    gaps = "; ".join(run.gaps)
    result: dict[str, Any] = {
        "uuid": _id("run", run.id),
        "title": f"pytest run {run.id[:12]}",
        "description": _text(
            f"{' '.join(run.command) or 'pytest'}" + (f". Checks may be missing: {gaps}" if gaps else "")
        ),
        "start": run.started or _UNKNOWN,
        "props": [_property(name, value) for name, value in _about(run) if value],
        "reviewed-controls": {
            "description": "The seven key requirements for trustworthy AI (EU High-Level Expert Group on AI, 2019).",
            "control-selections": [
                {"include-controls": [{"control-id": _token(one.name)} for one in required]}
                if required
                else {"description": "No check speaks to a requirement.", "include-all": {}}
            ],
        },
    }
    if run.ended:
        result["end"] = run.ended
    if run.checks:
        result["observations"] = [_observation(record, run) for record in run.checks]
    if required:
        result["findings"] = [_finding(one, run) for one in required]
    return result


def _about(run: Run) -> Iterator[tuple[str, str]]:
    yield "commit", run.commit
    yield "working-tree-clean", "" if run.clean is None else str(run.clean).lower()
    yield "user", run.user
    yield "host", run.host
    yield "python", run.python
    yield "platform", run.platform


def _observation(record: Record, run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uuid": _check_id(record, run),
        "title": _text(f"{record.check} in {record.test}"),
        "description": _text(messages.headline(record)),
        "props": [_property(name, value) for name, value in _measured(record) if value],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": run.ended or run.started or _UNKNOWN,
    }
    if record.picture:
        evidence = {"href": record.picture, "description": "The picture of the check."}
        found["relevant-evidence"] = [evidence]
    return found


def _measured(record: Record) -> Iterator[tuple[str, str]]:
    yield "outcome", record.outcome
    yield "measure", record.measure
    yield "figure", "" if record.figure is None else repr(record.figure)
    yield "bound", "" if record.bound is None else f"{record.direction} {record.bound!r}"
    yield "target", record.target
    yield "layer", record.layer
    yield "method", record.method
    yield "image", record.image
    yield "image-digest", record.image_digest
    yield "model", record.model
    yield "weights-sha256", record.weights


def _finding(requirement: Coverage, run: Run) -> dict[str, Any]:
    whole = not run.gaps and not run.unchecked
    satisfied = whole and set(requirement.outcomes) == {"passed"}
    failed = bool(requirement.outcomes["failed"])
    related = [record for record in run.checks if requirement.name in record.requirements]
    return {
        "uuid": _id("finding", run.id, requirement.name),
        "title": requirement.name,
        "description": _text(f"{requirement.phrase}. What no check covers: {requirement.open}."),
        "target": {
            "type": "objective-id",
            "target-id": _token(requirement.name),
            "status": {
                "state": "satisfied" if satisfied else "not-satisfied",
                "reason": "pass" if satisfied else "fail" if failed else "other",
                "remarks": NOTICE if whole else f"Checks may be missing. {NOTICE}",
            },
        },
        "related-observations": [{"observation-uuid": _check_id(record, run)} for record in related],
    }


def _resources(files: dict[str, str], identity: str) -> Iterator[dict[str, Any]]:
    yield {
        "uuid": _id("plan", identity),
        "title": "The test suite",
        "description": "The tests at the commit that each result names; evidence.json has the test of every check.",
    }
    for name, digest in files.items():
        hashes = [{"algorithm": "SHA-256", "value": digest}]
        yield {"uuid": _id("file", identity, name), "title": name, "rlinks": [{"href": name, "hashes": hashes}]}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": _NAMESPACE, "value": _text(value)}


def _check_id(record: Record, run: Run) -> str:
    return _id("check", run.id, record.test, str(record.number), record.check, record.measure)


def _id(*parts: str) -> str:
    return str(uuid5(_SPACE, "\0".join(parts)))


def _token(name: str) -> str:
    return re.sub(r"[^a-z]+", "-", name.lower()).strip("-")


def _text(text: str) -> str:
    """The text on one line: OSCAL's values begin and end with no space and are not empty."""
    return messages.one_line(" ".join(text.split())) or "-"
