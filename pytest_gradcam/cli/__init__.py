"""The commands on reports: arguments to calls, nothing else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pytest_gradcam.evidence.messages import one_line

_REPORT = "a report's directory or evidence.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the command: 0, 1 if it answers no, 2 with one line on stderr if it cannot answer."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, ValueError) as error:
        print(one_line(f"error: {' '.join(str(error).split())}"), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_gradcam", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = _command(commands, "calibrate", _calibrate)
    command.add_argument("report", type=Path, metavar="REPORT", help=_REPORT)
    command.add_argument(
        "--despite-failures", action="store_true", help="leave the checks that did not pass out, in place of refusing"
    )

    command = _command(commands, "merge", _merge)
    command.add_argument("reports", type=Path, nargs="+", metavar="REPORT", help=_REPORT)
    command.add_argument(
        "--into", type=Path, default=Path("gradcam-merged"), metavar="DIR", help="where to write [gradcam-merged]"
    )

    command = _command(commands, "verify", _verify)
    command.add_argument("directory", type=Path, metavar="DIR", help="the directory of the report")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """A command whose help is what its function says."""
    text = run.__doc__ or ""
    command = commands.add_parser(name, help=text.splitlines()[0], description=text)
    command.set_defaults(run=run)
    return command


def _calibrate(options: argparse.Namespace) -> int:
    """Propose bounds from a known-good run: one for each check of each test function.

    The bound is the worst figure of the run moved by a margin. Exit status 0 if every check got a bound, 1 if one did
    not, 2 if the run is no ground for any.
    """
    from pytest_gradcam.report import calibrate, load

    records = calibrate.ground(load(options.report)).records
    proposals = calibrate.propose(records, despite_failures=options.despite_failures)
    _say(*calibrate.lines(proposals))
    return 0 if all(proposal.bound is not None for proposal in proposals) else 1


def _merge(options: argparse.Namespace) -> int:
    """Make one report of the runs of several, such as the parts of a suite that ran on different machines."""
    from pytest_gradcam.report import merge

    report = merge.merge(options.reports, options.into)
    _say(f"{len(report.records)} checks of {len(report.runs)} runs in {options.into}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Check a report against its manifest: every file that was written is there, unchanged.

    Exit status 0 if so, 1 if a file is missing, changed or not listed, 2 if there is nothing to compare with.
    """
    from pytest_gradcam.report import manifest

    found = list(manifest.differences(options.directory))
    _say(*found)
    if not found:
        _say(f"{len(manifest.names(options.directory))} files are as written; the manifest's SHA-256 is")
        _say(manifest.digest(options.directory))
    return 1 if found else 0


def _say(*lines: str) -> None:
    for line in lines:
        print(one_line(line))
