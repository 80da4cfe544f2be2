"""The files of a report, from its runs."""

from __future__ import annotations

import json
from pathlib import Path

from pytest_gradcam.evidence import files
from pytest_gradcam.evidence.record import VERSION
from pytest_gradcam.report import figures, manifest, markdown, page
from pytest_gradcam.report.coverage import NOTICE, coverage
from pytest_gradcam.report.document import EVIDENCE, JOURNAL, Report


def write(report: Report, directory: Path) -> None:
    """The directory holds the report, and nothing more of the one that it held before.

    Each file appears whole, the manifest last. Raises OSError if the disk cannot be written to.
    """
    before = manifest.names(directory)
    written = {
        EVIDENCE: evidence(report),
        "metrics.json": json.dumps(figures.flat(report.records), indent=1),
        "summary.md": markdown.summary(report.records),
        "index.html": page.render(report),
    }
    for name, text in written.items():
        files.replace(directory / name, text.encode(errors="replace"))
    pictures = sorted({record.picture for record in report.records if record.picture})
    present = [name for name in pictures if (directory / name).is_file()]
    manifest.write(directory, [*written, *present])
    for name in set(before) - set(written) - set(present):
        _remove(directory, name)
    (directory / JOURNAL).unlink(missing_ok=True)


def attempt(report: Report, directory: Path) -> str:
    """Write the report; why that failed, or an empty string."""
    try:
        write(report, directory)
    except OSError as error:
        return str(error)
    return ""


def evidence(report: Report) -> str:
    """evidence.json."""
    plain = {
        "version": VERSION,
        "notice": NOTICE,
        "requirements": [requirement.to_plain() for requirement in coverage(report.records)],
        "runs": [run.to_plain() for run in report.runs],
    }
    return json.dumps(plain, allow_nan=False)


def _remove(directory: Path, name: str) -> None:
    """Only what can be a picture of ours goes: a manifest is a file that anyone may have edited."""
    path = directory / name
    if path.suffix == ".png" and path.resolve().parent == (directory / "pictures").resolve():
        path.unlink(missing_ok=True)
