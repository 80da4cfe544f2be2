"""One report of the runs of several, such as the parts of a suite that ran on different machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pytest_gradcam.evidence import files
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.document import EVIDENCE, Report, Run, load
from pytest_gradcam.report.write import refuse_foreign, write


def merge(sources: Sequence[Path], directory: Path) -> Report:
    """The runs of all reports, each once, written with their pictures to a directory of their own.

    Raises ValueError for a report that cannot be read or has a link to outside of it, and for a directory that is one of
    the reports or holds files of others; OSError for a disk that cannot be written to. Nothing is written before all is read.
    """
    folders = [source if source.is_dir() else source.parent for source in sources]
    if any(folder.resolve() == directory.resolve() for folder in folders):
        raise ValueError(f"{directory} is one of the reports to merge, and would be replaced; pass another --into")
    refuse_foreign(directory, "--into")
    reports = [load(source) for source in sources]
    for source, folder, report in zip(sources, folders, reports, strict=True):
        _refuse_links(source, folder, report)
    runs: dict[str, Run] = {}
    for folder, report in zip(folders, reports, strict=True):
        for run in report.runs:
            if run.id not in runs:
                runs[run.id] = _with_pictures(run, folder, directory)
    merged = Report(tuple(sorted(runs.values(), key=lambda run: (run.started, run.id))))
    write(merged, directory)
    return merged


def _refuse_links(source: Path, folder: Path, report: Report) -> None:
    """Raises ValueError for a file of the report that lies outside it, and so is not part of it."""
    names = {
        Path(record.picture).name for run in report.runs for record in (*run.checks, *run.retried) if record.picture
    }
    own = [source / EVIDENCE] if source.is_dir() else []
    for path in (*own, *(folder / "pictures" / name for name in sorted(names))):
        if path.exists() and not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"{path} is a link to outside of its report, which is not followed; replace it by the file itself"
            )


def _with_pictures(run: Run, source: Path, directory: Path) -> Run:
    checks, retried = (
        tuple(_with_picture(record, run.id, source, directory) for record in records)
        for records in (run.checks, run.retried)
    )
    return replace(run, checks=checks, retried=retried)


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
