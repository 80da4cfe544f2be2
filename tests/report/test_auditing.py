"""Evidence for people who sign: OSCAL, the extract for Annex IV, and signatures that find every changed byte."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from pytest_gradcam.cli import main
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run, dossier, oscal
from pytest_gradcam.report.write import write

ROBUST, SEEN, FAIR = "technical robustness and safety", "transparency", "diversity, non-discrimination and fairness"


def check(number, outcome="passed", figure=0.8, requirements=(ROBUST, SEEN)):
    return Record(
        check="focus_within",
        measure="relevance mass",
        outcome=outcome,
        figure=figure,
        bound=0.5,
        finding=f"{figure} of the attention lies inside the mask",
        test=f"tests/test_a.py::test_x[{number}]",
        number=1,
        image=f"photos/{number}.png",
        image_digest=f"{number:064x}",
        target="cat",
        model="ResNet (11.2 M parameters)",
        weights="ab" * 32,
        requirements=requirements,
        picture="pictures/a.png" if number == 1 else None,
    )


def run(*checks, **about):
    known = {
        "id": "0" * 32,
        "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T10:01:00+00:00",
        "exit_status": 0,
        "command": ("pytest", "tests"),
        "commit": "c" * 40,
        "clean": True,
        "user": "someone",
        "host": "machine",
        "tests": {"passed": 2},
    }
    return Run(checks=checks, **known | about)


@pytest.fixture
def report(tmp_path):
    directory = tmp_path / "report"
    (directory / "pictures").mkdir(parents=True)
    (directory / "pictures/a.png").write_bytes(b"picture")
    write(Report((run(check(1), check(2, "failed", 0.3, (ROBUST,))),)), directory)
    return directory


class TestOscal:
    def document(self, report, capsys):
        assert main(["evidence", str(report), "--format", "oscal"]) == 0
        return json.loads(capsys.readouterr().out)["assessment-results"]

    def test_a_finding_is_satisfied_only_if_all_of_its_checks_passed(self, report, capsys):
        [result] = self.document(report, capsys)["results"]
        states = {found["title"]: found["target"]["status"]["state"] for found in result["findings"]}
        assert states == {ROBUST: "not-satisfied", SEEN: "satisfied"}
        observations = {one["uuid"]: one["title"] for one in result["observations"]}
        [robust] = [found for found in result["findings"] if found["title"] == ROBUST]
        assert {observations[one["observation-uuid"]] for one in robust["related-observations"]} == set(
            observations.values()
        )

    @pytest.mark.parametrize("gap", [{"ended": ""}, {"tests": {"crashed": 1}}, {"unchecked": ("test_b",)}])
    def test_nothing_is_satisfied_where_checks_may_be_missing(self, gap):
        document = oscal.assessment_results(Report((run(check(1), **gap),)), files={}, written="2026", version="0")
        states = [
            found["target"]["status"]["state"] for found in document["assessment-results"]["results"][0]["findings"]
        ]
        assert states == ["not-satisfied", "not-satisfied"]

    def test_the_figures_and_the_digests_of_the_files_are_there(self, report, capsys):
        document = self.document(report, capsys)
        properties = {one["name"]: one["value"] for one in document["results"][0]["observations"][1]["props"]}
        assert properties["figure"] == "0.3"
        assert properties["bound"] == "at_least 0.5"
        assert properties["weights-sha256"] == "ab" * 32
        files = {
            one["title"]: one["rlinks"][0]["hashes"][0]["value"] for one in document["back-matter"]["resources"][1:]
        }
        assert {"evidence.json", "index.html", "pictures/a.png"} <= set(files)
        assert document["import-ap"]["href"] == "#" + document["back-matter"]["resources"][0]["uuid"]

    def test_ids_names_and_times_have_the_form_that_the_schema_asks_for(self, report, capsys):
        """The whole document was validated with the models of compliance-trestle, which is too heavy for this suite."""

        def walk(value, key=""):
            if isinstance(value, dict):
                for name, part in value.items():
                    yield from walk(part, name)
            elif isinstance(value, list):
                for part in value:
                    yield from walk(part, key)
            else:
                yield key, value

        for key, value in walk(self.document(report, capsys)):
            if key.endswith("uuid"):
                assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value)
            if key in ("name", "target-id", "control-id"):
                assert re.fullmatch(r"[A-Za-z_][\w.\-]*", value)
            if key in ("start", "end", "collected", "last-modified"):
                assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value)
            if key == "value":
                assert re.fullmatch(r"\S(.*\S)?", value)

    def test_the_same_report_gives_the_same_ids(self, report, capsys):
        assert self.document(report, capsys)["uuid"] == self.document(report, capsys)["uuid"]


class TestAnnexIv:
    def test_it_says_what_the_annex_asks_for(self, report, capsys):
        assert main(["evidence", str(report), "--format", "annex-iv"]) == 0
        text = capsys.readouterr().out
        for words in (
            "2 images were tested, of 1 classes",
            "| focus_within | 2 | 1 | 0 | 0 | 1 |",
            "0.3 / 0.55 / 0.8",
            "ab" * 32,
            f"photos/1.png: {1:064x}",
            "No check of this report speaks to discriminatory impacts",
            "Commit: " + "c" * 40,
            "The report is not signed",
            "started 2026-01-01T10:00:00+00:00",
        ):
            assert words in text

    def test_what_is_missing_is_said_first(self):
        text = dossier.annex_iv(Report((run(check(1), ended="", clean=False),)), digest="d", written="w", signature="")
        assert "Checks may be missing" in text.split("## Testing")[0]
        assert "did not end" in text
        assert "with uncommitted changes" in text

    def test_checks_on_fairness_are_counted(self):
        text = dossier.annex_iv(Report((run(check(1, requirements=(FAIR,))),)), digest="d", written="w", signature="")
        assert "1 checks: 1 passed marked as evidence on diversity" in text


def test_markdown_lists_every_check(report, tmp_path, capsys):
    target = tmp_path / "all.md"
    assert main(["evidence", str(report), "--format", "markdown", "--into", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == str(target)
    text = target.read_text()
    assert text.count("focus_within") >= 3
    assert text.startswith("## Grad-CAM: 2 checks: 1 failed, 1 passed")


def test_no_evidence_is_written_of_a_changed_report(report, capsys):
    (report / "evidence.json").write_bytes((report / "evidence.json").read_bytes() + b" ")
    assert main(["evidence", str(report), "--format", "oscal"]) == 1
    assert capsys.readouterr().out == "evidence.json: changed\n"


@pytest.fixture
def keys(tmp_path):
    """Two pairs of key files: private, public."""
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization as form

    pairs = []
    for name in ("own", "other"):
        key = ed25519.Ed25519PrivateKey.generate()
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
        pairs.append((str(private), str(public)))
    return pairs


class TestSignature:
    def verified(self, report, public, capsys):
        status = main(["verify", str(report), "--signature", public])
        return status, capsys.readouterr().out

    def test_a_signed_report_is_verified_and_the_extract_names_who_signed(self, report, keys, capsys):
        assert main(["sign", str(report), "--key", keys[0][0], "--signer", "Ada Lovelace"]) == 0
        assert "signed by Ada Lovelace on" in capsys.readouterr().out
        status, out = self.verified(report, keys[0][1], capsys)
        assert status == 0
        assert "signed by Ada Lovelace" in out
        assert main(["evidence", str(report), "--format", "annex-iv"]) == 0
        assert "The report is signed: by Ada Lovelace" in capsys.readouterr().out

    def test_a_changed_byte_in_any_file_is_found(self, report, keys, capsys):
        main(["sign", str(report), "--key", keys[0][0]])
        files = [path for path in sorted(report.rglob("*")) if path.is_file()]
        assert len(files) >= 7
        for path in files:
            content = path.read_bytes()
            places = {0, len(content) // 2, len(content) - 1}
            if path.name.startswith("manifest"):
                places = range(len(content))
            for place in places:
                path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
                assert main(["verify", str(report), "--signature", keys[0][1]]) in (1, 2), (path.name, place)
            path.write_bytes(content)
        capsys.readouterr()
        assert self.verified(report, keys[0][1], capsys)[0] == 0

    def test_a_new_manifest_for_a_changed_file_is_found(self, report, keys, capsys):
        from pytest_gradcam.report import manifest

        main(["sign", str(report), "--key", keys[0][0]])
        (report / "summary.md").write_text("all passed")
        manifest.write(report, manifest.names(report))
        capsys.readouterr()
        assert main(["verify", str(report)]) == 0  # the manifest alone shows accidents only
        status, out = self.verified(report, keys[0][1], capsys)
        assert status == 1
        assert "manifest.json: changed since it was signed" in out

    def test_another_key_is_refused(self, report, keys, capsys):
        main(["sign", str(report), "--key", keys[1][0]])
        status, out = self.verified(report, keys[0][1], capsys)
        assert status == 1
        assert "signed with another key" in out

    def test_a_public_key_that_is_swapped_in_the_signature_is_found(self, report, keys, capsys):
        main(["sign", str(report), "--key", keys[1][0]])
        other = json.loads((report / "manifest.sig.json").read_text())
        main(["sign", str(report), "--key", keys[0][0]])
        own = json.loads((report / "manifest.sig.json").read_text())
        (report / "manifest.sig.json").write_text(json.dumps({**other, "key": own["key"]}))
        capsys.readouterr()
        assert "does not belong to what it says" in self.verified(report, keys[0][1], capsys)[1]

    def test_the_next_report_is_not_signed(self, report, keys, capsys):
        main(["sign", str(report), "--key", keys[0][0]])
        write(Report((run(check(1)),)), report)
        assert main(["verify", str(report), "--signature", keys[0][1]]) == 2
        assert "the report is not signed" in capsys.readouterr().err

    def test_bad_keys_and_changed_reports_are_refused(self, report, keys, tmp_path, capsys):
        rsa = tmp_path / "rsa.pem"
        subprocess.run(["openssl", "genrsa", "-out", str(rsa), "2048"], check=True, capture_output=True)
        for arguments, words in (
            (["sign", str(report), "--key", str(rsa)], "expected an Ed25519 key"),
            (["sign", str(report), "--key", keys[0][1]], "cannot be read as a private key"),
            (["verify", str(report), "--signature", keys[0][0]], "not signed"),
        ):
            assert main(arguments) == 2
            assert words in capsys.readouterr().err
        (report / "summary.md").write_text("changed")
        assert main(["sign", str(report), "--key", keys[0][0]]) == 2
        assert "so it is not signed" in capsys.readouterr().err


def test_without_the_extra_it_is_named(report, monkeypatch, capsys):
    import builtins

    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    key = report.parent / "key.pem"
    Path(key).write_text("x")
    assert main(["sign", str(report), "--key", str(key)]) == 2
    assert "pip install pytest-gradcam[sign]" in capsys.readouterr().err
