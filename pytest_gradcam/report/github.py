"""GitHub Actions: failures beside the code, and the summary on the page of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import markdown
from pytest_gradcam.report.document import Report, Run
from pytest_gradcam.report.order import expected, worst_first

_MOST = 10  # GitHub shows no more annotations of one kind for a step


def errors(
    records: Sequence[Record], places: Mapping[str, tuple[str, int]], environment: Mapping[str, str]
) -> Iterator[str]:
    """A workflow command for each of the worst checks that made their test fail; `places` are file and line of tests."""
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    for record in [record for record in worst_first(records) if not expected(record)][:_MOST]:
        file, line = places.get(record.test, (record.test.partition("::")[0], 1))
        title = f"{record.check} {record.outcome}: {record.test}"
        yield f"::error file={_property(file)},line={line},title={_property(title)}::{_data(messages.headline(record))}"


def write_summary(run: Run, environment: Mapping[str, str]) -> None:
    """Append the summary to the file that GitHub names, if it names one."""
    path = environment.get("GITHUB_STEP_SUMMARY")
    if path and (run.checks or run.unchecked):
        with suppress(OSError), open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(markdown.summary(Report((run,))))


def _data(text: str) -> str:
    text = "".join(sign for sign in text if sign in "\r\n" or sign.isprintable())
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
