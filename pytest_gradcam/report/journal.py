"""What a run has measured so far, on disk: each check as it is made, so that no crash or interrupt loses it.

The file of the run begins with the run itself. A check is a line of its own when it is made, and all checks of a test
are one more line when the test ends, which says how. Each pytest-xdist worker keeps the checks that it makes in a file
beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_gradcam.evidence import files, plain
from pytest_gradcam.evidence.record import Record

JOURNAL = "journal.jsonl"
_PARTS = "journal-*.jsonl"

#: The checks of one test by its tries, from 1.
Tries = dict[int, list[Record]]


class Journal:
    """Lines in a file, each of them whole: a partly written one is removed again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = False

    def append(self, line: dict[str, Any]) -> None:
        """Raises OSError if the line is not on the disk."""
        content = json.dumps(line, allow_nan=False).encode() + b"\n"
        if not self._begun:  # the file comes to be with its first line, so that one that is there holds a run
            files.replace(self._path, content)
            self._begun = True
            return
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            size = os.fstat(file).st_size
            if os.write(file, content) != len(content):
                os.ftruncate(file, size)
                raise OSError(f"no space left for {self._path}")
        finally:
            os.close(file)


class WorkerJournal:
    """The checks that one pytest-xdist worker makes. The controller reports a disk that cannot be written to."""

    def __init__(self, directory: Path, worker: str) -> None:
        self._journal = Journal(directory / _PARTS.replace("*", worker))

    def made(self, test: str, record: Record, attempt: int) -> None:
        with suppress(OSError):
            self._journal.append({"test": test, "try": attempt, "check": record.to_plain()})


def check_line(test: str, record: Record, attempt: int) -> dict[str, Any]:
    return {"test": test, "try": attempt, "check": in_report(record).to_plain()}


def test_line(test: str, records: tuple[Record, ...]) -> dict[str, Any]:
    return {"test": test, "checks": [in_report(record).to_plain() for record in records]}


def in_report(record: Record) -> Record:
    """The record with its picture's path from the report's directory, where all pictures lie in one place."""
    return replace(record, picture=f"pictures/{Path(record.picture).name}") if record.picture else record


def parts(directory: Path) -> list[Path]:
    """The files of the workers."""
    return sorted(directory.glob(_PARTS))


def remove(directory: Path) -> None:
    """Remove the journals from the directory."""
    for path in (*parts(directory), directory / JOURNAL):
        path.unlink(missing_ok=True)


def made(directory: Path) -> dict[str, Tries]:
    """The checks in the files of the workers, by test. What cannot be read is left out."""
    found: dict[str, Tries] = {}
    for path in parts(directory):
        with suppress(OSError, ValueError):
            for line in _lines(path):
                _add(found, line)
    return found


def read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[Record, ...]], dict[str, Tries]]:
    """The run, the checks of tests that ended, and those of tests that did not, in the journal and its workers' files.

    Raises ValueError for a file that is not a journal.
    """
    lines = iter(list(_lines(path)))
    run = next(lines, None)
    if run is None:
        raise ValueError("it holds no run")
    ended: dict[str, tuple[Record, ...]] = {}
    begun = made(path.parent)
    for line in lines:
        if "checks" in line:
            checks = plain.sequence(line["checks"], "checks")
            ended[_test(line)] = tuple(Record.from_plain(plain.mapping(check, "a check")) for check in checks)
        else:
            _add(begun, line)
    return run, ended, {test: tries for test, tries in begun.items() if test not in ended}


def _add(found: dict[str, Tries], line: dict[str, Any]) -> None:
    attempt = line.get("try")
    if type(attempt) is not int:
        raise ValueError(f"try is {attempt!r}; expected a whole number")
    record = Record.from_plain(plain.mapping(line.get("check"), "check"))
    found.setdefault(_test(line), {}).setdefault(attempt, []).append(record)


def _test(line: dict[str, Any]) -> str:
    if not isinstance(line.get("test"), str):
        raise ValueError(f"test is {line.get('test')!r}; expected a test's id")
    return str(line["test"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines; a last one without an end is from a killed writer. Raises ValueError for one that is not an object."""
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            yield plain.parse(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
