"""The commands on evidence that people sign and hand on."""

from __future__ import annotations

import getpass
import json
import os
from importlib.metadata import version
from pathlib import Path

import click

from pytest_gradcam.cli.shared import answer, as_json, path, wants_json

_FORMATS = ("oscal", "annex-iv", "markdown")


@click.command(short_help="A report for auditors: OSCAL, Annex IV, Markdown.")
@click.argument("directory", type=path(must_be="folder"), metavar="REPORT")
@click.option("--format", "form", type=click.Choice(_FORMATS), required=True, help="What to write.")
@click.option("--into", type=path(may_be="file"), help="The file to write.  [standard output]")
@as_json
def evidence(directory: Path, form: str, into: Path | None) -> int:
    """Evidence of a report for people who have to sign: NIST's OSCAL Assessment Results, an extract for Annex IV 2(g) of the
    EU's AI Act, or all checks in Markdown.

    The report must be as its manifest says. Exit status 1 if it is not: then nothing is written.
    """
    from pytest_gradcam.evidence import files
    from pytest_gradcam.report import load, manifest
    from pytest_gradcam.report import signature as signatures
    from pytest_gradcam.report.run import now

    changed = list(manifest.differences(directory))
    if changed:
        answer(lambda: {"written": None, "differences": changed}, lambda: changed)
        return 1
    report, signed = load(directory), signatures.read(directory)
    if form == "oscal":
        from pytest_gradcam.report.oscal import assessment_results

        found = assessment_results(
            report, files=manifest.digests(directory), written=now(), version=version("pytest-gradcam")
        )
        text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    else:
        from pytest_gradcam.report import dossier

        shown = "" if signed is None else signed.phrase
        digest = manifest.digest(directory)
        annex = form == "annex-iv"
        text = (
            dossier.annex_iv(report, digest=digest, written=now(), signature=shown)
            if annex
            else dossier.everything(report)
        )
    if into is None:
        if wants_json():
            raise click.UsageError("--json reports what was written; pass --into FILE as well")
        print(text, end="")
        return 0
    files.replace(into, text.encode())
    answer(lambda: {"written": str(into), "differences": []}, lambda: [f"{form} of {directory} in {into}"])
    return 0


@click.command(short_help="Sign a report with an Ed25519 key.")
@click.argument("directory", type=path(must_be="folder"), metavar="REPORT")
@click.option("--key", type=path(must_be="file"), required=True, help="The private key, PEM or OpenSSH.")
@click.option("--signer", help="Who signs, as the report will show it.  [user and host of this machine]")
@as_json
def sign(directory: Path, key: Path, signer: str | None) -> None:
    """Sign a report: its manifest, and by that every file in it. GRADCAM_KEY_PASSWORD has the password of the key, if it has one.

    Make a key with: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out key.pub
    """
    from pytest_gradcam.report import signature as signatures

    password = os.environ.get("GRADCAM_KEY_PASSWORD")
    name = signer or getpass.getuser()
    made = signatures.sign(directory, key, signer=name, password=password.encode() if password else None)
    answer(
        lambda: {
            "signer": made.signer,
            "signed": made.signed,
            "manifest_sha256": made.manifest_sha256,
            "key": made.key,
        },
        lambda: [f"signed {made.phrase}", f"check it with: pytest-gradcam verify {directory} --signature PUBLIC_KEY"],
    )


COMMANDS = (evidence, sign)
