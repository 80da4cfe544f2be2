"""The files of a report, from its runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence import baseline_paths, files
from pytest_gradcam.evidence.record import VERSION
from pytest_gradcam.report import figures, journal, manifest, markdown, page
from pytest_gradcam.report.coverage import NOTICE, coverage
from pytest_gradcam.report.document import EVIDENCE, Report

SINGLE = "report.html"
_NAMES = (EVIDENCE, "metrics.json", "summary.md", "index.html", SINGLE)
_PICTURE = re.compile(r"-[0-9a-f]{8}-\d+-\w+(-try\d+)?\.png$")  # how the names of our pictures end


def write(report: Report, directory: Path, *, compared: Sequence[str] = (), single: bool = False) -> None:
    """Write the report to the directory, and remove what is left of an earlier one.

    `compared` are lines on an earlier run for its page; `single` writes the page a second time, with its pictures in it. Each
    file appears whole, the manifest last. Raises OSError if the disk cannot be written to.
    """
    before = manifest.names(directory)
    written = {
        EVIDENCE: evidence(report),
        "metrics.json": json.dumps(figures.of_report(report), indent=1),
        "summary.md": markdown.summary(report),
        "index.html": page.render(report, page.Extras(compared)),
    }
    for name, text in written.items():
        files.replace(directory / name, text.encode(errors="replace"))
    records = [record for run in report.runs for record in (*run.checks, *run.retried)]
    pictures = sorted({record.picture for record in records if record.picture})
    present = [name for name in pictures if (directory / name).is_file()]
    if single:
        inside = {PurePosixPath(name).name: (directory / name).read_bytes() for name in present}
        written[SINGLE] = page.render(report, page.Extras(compared, inside))
        files.replace(directory / SINGLE, written[SINGLE].encode(errors="replace"))
    elif (directory / SINGLE).is_file() and SINGLE in before:
        (directory / SINGLE).unlink()
    (directory / manifest.SIGNATURE).unlink(missing_ok=True)  # of an earlier report
    manifest.write(directory, [*written, *present])
    for name in {*before, *_drawn(directory)} - {*written, *present}:
        _remove(directory, name)
    journal.remove(directory)


def refuse_foreign(directory: Path, setting: str) -> None:
    """Raises SettingsError for a directory with files of a report's names that no run of this package left there."""
    names = [name for name in (*_NAMES, manifest.MANIFEST) if (directory / name).exists()]
    if not names or (directory / journal.JOURNAL).is_file():  # of a run that was killed
        return
    ours = set(manifest.unchanged(directory, names))
    foreign = [name for name in names if name not in ours]
    if foreign:
        raise SettingsError(
            f"{setting} = {baseline_paths.shown(directory)!r} would replace files that are not as a run of "
            f"pytest-gradcam left them ({', '.join(foreign)}); choose another directory, or remove them"
        )


def attempt(report: Report, directory: Path, *, compared: Sequence[str] = (), single: bool = False) -> str:
    """Write the report; why that failed, or an empty string."""
    try:
        write(report, directory, compared=compared, single=single)
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


def _drawn(directory: Path) -> Iterator[str]:
    """The pictures in the directory whose names are of ours: a killed run, or one without a report, left some."""
    return (f"pictures/{path.name}" for path in directory.glob("pictures/*.png") if _PICTURE.search(path.name))


def _remove(directory: Path, name: str) -> None:
    """Only what can be a picture of ours goes: a manifest is a file that anyone may have edited."""
    path = directory / name
    if path.suffix == ".png" and path.resolve().parent == (directory / "pictures").resolve():
        path.unlink(missing_ok=True)
