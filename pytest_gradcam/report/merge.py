"""Make one report of the runs of several, such as the parts of a suite that ran on different machines."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_gradcam.evidence import files
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.document import Report, Run, load
from pytest_gradcam.report.write import write


def merge(sources: Sequence[Path], directory: Path) -> Report:
    """The runs of all reports, each once, written with their pictures to a directory of their own.

    Raises ValueError for a report that cannot be read, OSError for a disk that cannot be written to.
    """
    runs: dict[str, Run] = {}
    for source in sources:
        for run in load(source).runs:
            if run.id not in runs:
                runs[run.id] = _with_pictures(run, source if source.is_dir() else source.parent, directory)
    report = Report(tuple(sorted(runs.values(), key=lambda run: (run.started, run.id))))
    write(report, directory)
    return report


def _with_pictures(run: Run, source: Path, directory: Path) -> Run:
    return replace(run, checks=tuple(_with_picture(record, run.id, source, directory) for record in run.checks))


def _with_picture(record: Record, run_id: str, source: Path, directory: Path) -> Record:
    """The record, its picture copied; another name sets it apart from another run's picture of the same check."""
    name = Path(record.picture or "").name
    if not name or not (source / "pictures" / name).is_file():
        return record
    content = (source / "pictures" / name).read_bytes()
    path = directory / "pictures" / name
    if path.is_file() and path.read_bytes() != content:
        path = path.with_name(f"{run_id[:8]}-{name}")
    files.replace(path, content)
    return replace(record, picture=f"pictures/{path.name}")


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help="a report's directory or evidence.json")
    parser.add_argument(
        "--into", type=Path, default=Path("gradcam-merged"), metavar="DIR", help="where to write [gradcam-merged]"
    )


def run(options: Namespace) -> int:
    report = merge(options.reports, options.into)
    print(f"{len(report.records)} checks of {len(report.runs)} runs in {options.into}")
    return 0
