"""The commands on reports."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from pytest_gradcam.cli.shared import answer, as_json, path


class _Share(click.FloatRange):
    """A finite number of at least 0: NaN and infinity would let everything pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        share = super().convert(value, param, ctx)
        if not math.isfinite(share):
            self.fail(f"{value} cannot be used; expected a number of at least 0, 0.05 for 5 percent", param, ctx)
        return share


_REPORT = "REPORT is a report's directory or its evidence.json."


@click.command(epilog=_REPORT, short_help="Bounds for the tests, from a run.")
@click.argument("report", type=path())
@click.option(
    "--take-failed", is_flag=True, help="Take the figures of failed checks too: you looked, and they are right."
)
@as_json
def calibrate(report: Path, take_failed: bool) -> int:
    """Propose bounds from a run: one for each check of each test function, as a line to paste.

    The bound is the worst figure of the checks that passed, moved by a margin from their spread. Checks that did not pass
    are left out, and counted. Exit status 0 if every check got a bound, 1 if one did not, 2 if no bound can be based on the run.
    """
    from pytest_gradcam.report import calibrate as calibration
    from pytest_gradcam.report import load

    proposals = calibration.propose(calibration.ground(load(report)).records, take_failed=take_failed)
    answer(lambda: calibration.plain(proposals), lambda: calibration.lines(proposals))
    return 0 if all(proposal.bound is not None for proposal in proposals) else 1


@click.command(epilog=_REPORT, short_help="One report of several.")
@click.argument("reports", type=path(), nargs=-1, required=True, metavar="REPORT...")
@click.option(
    "--into", type=path(may_be="folder"), default=Path("gradcam-merged"), show_default=True, help="Where to write."
)
@as_json
def merge(reports: tuple[Path, ...], into: Path) -> None:
    """Make one report of the runs of several, such as the parts of a suite that ran on different machines."""
    from pytest_gradcam.report import merge as merging

    merged = merging.merge(reports, into)
    answer(
        lambda: {"checks": len(merged.records), "runs": len(merged.runs), "directory": str(into)},
        lambda: [f"{len(merged.records)} checks of {len(merged.runs)} runs; open {into / 'index.html'}"],
    )


@click.command(short_help="Whether a report is as it was written.")
@click.argument("directory", type=path())
@click.option("--signature", "key", type=path(must_be="file"), help="Check the signature too, with this public key.")
@as_json
def verify(directory: Path, key: Path | None) -> int:
    """Check a report against its manifest: every file that was written is there, unchanged; with --signature also that the
    owner of the key signed it so.

    Exit status 0 if so, 1 if a file is missing, changed or not listed, or the signature is not of this key or this report, 2
    if there is nothing to compare with.
    """
    from pytest_gradcam.report import manifest
    from pytest_gradcam.report import signature as signatures

    found = list(manifest.differences(directory))
    found += [] if key is None else signatures.problems(directory, key)
    files, digest = manifest.names(directory), manifest.digest(directory)
    intact = [f"{len(files)} files are as written; the manifest's SHA-256 is", digest]
    signed = signatures.read(directory) if key is not None else None
    intact += [] if signed is None else [f"signed {signed.phrase}"]
    answer(
        lambda: {"intact": not found, "differences": found, "files": len(files), "manifest_sha256": digest},
        lambda: found or intact,
    )
    return 1 if found else 0


@click.command(epilog=_REPORT, short_help="What got worse, and better, between reports.")
@click.argument("old", type=path(), metavar="OLD")
@click.argument("new", type=path(), metavar="NEW")
@click.option(
    "--fail-on-regression",
    "limit",
    type=_Share(min=0),
    metavar="SHARE",
    help="Exit status 1 if a check broke, is missing or cannot be compared, or if the mean of a check's figures got worse by "
    "more than this share of its bound: 0.05 for 5 percent.",
)
@as_json
def compare(old: Path, new: Path, limit: float | None) -> int:
    """What got worse and better from one report to another, as --gradcam-compare says it at the end of a run."""
    from pytest_gradcam.report import compare as comparing
    from pytest_gradcam.report import load

    runs = [run.checks for run in load(old).runs]
    comparison = comparing.compare_with_runs(runs, load(new).records)
    regressions = () if limit is None else comparison.regressions(limit)
    answer(
        lambda: {**comparing.plain(comparison), "regressions": list(regressions)},
        lambda: [*comparing.lines(comparison), *(f"REGRESSION: {line}" for line in regressions)],
    )
    return 1 if regressions else 0


COMMANDS = (calibrate, compare, merge, verify)
