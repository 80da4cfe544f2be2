"""A report on disk: written whole, read again, merged, verified."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from pytest_gradcam.__main__ import main
from pytest_gradcam.evidence.record import VERSION, Record
from pytest_gradcam.report import Report, Run, load
from pytest_gradcam.report.document import JOURNAL
from pytest_gradcam.report.merge import merge
from pytest_gradcam.report.write import write


def check(test="test_a.py::test_cat", number=1, **changes):
    record = Record(
        check="focus_within",
        measure="relevance mass",
        outcome="passed",
        figure=0.7,
        bound=0.5,
        test=test,
        number=number,
    )
    return replace(record, **changes)


def run(*checks, id="1", **changes):
    return replace(Run(id=id, started="2026-01-02T03:04:05+00:00", checks=checks), **changes)


def with_picture(directory, name, content):
    (directory / "pictures").mkdir(parents=True, exist_ok=True)
    (directory / "pictures" / name).write_bytes(content)
    return check(picture=f"pictures/{name}")


def test_a_report_is_loaded_as_it_was_written(tmp_path):
    report = Report((run(check(peak=(3, 4), details=(("a", "b"),)), command=("pytest", "-q"), tests={"passed": 1}),))
    write(report, tmp_path)
    assert load(tmp_path) == load(tmp_path / "evidence.json") == report


def test_the_records_come_by_test_and_place_whatever_the_order_of_the_run(tmp_path):
    first, second, third = check("a", 1), check("a", 2), check("b", 1)
    assert Report((run(third, second), run(first))).records == (first, second, third)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"version": 2}', b'{"version": 2, "runs": [3]}', b"\xff"]
)
def test_what_is_no_report_is_refused_by_name(tmp_path, content):
    path = tmp_path / "evidence.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"evidence.json cannot be read as a report"):
        load(tmp_path)


def test_a_missing_report_and_one_of_a_later_version_are_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no report"):
        load(tmp_path)
    (tmp_path / "evidence.json").write_text(json.dumps({"version": VERSION + 1, "runs": []}))
    with pytest.raises(ValueError, match=f"this package reads up to {VERSION}"):
        load(tmp_path)


def test_a_journal_tells_what_a_killed_run_had_measured(tmp_path):
    write(Report((run(check("old")),)), tmp_path)
    lines = [
        run(id="2").to_plain(),
        {"test": "a", "checks": [check("a", outcome="failed").to_plain()]},
        {"test": "b", "checks": [check("b").to_plain()]},
        {"test": "a", "checks": [check("a").to_plain()]},  # it was run again
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"test": "c", "che'
    (tmp_path / JOURNAL).write_text(text)
    report = load(tmp_path)
    assert [found.id for found in report.runs] == ["2"]
    assert report.records == (check("a"), check("b"))


class TestManifest:
    def test_what_was_written_is_verified(self, tmp_path, capsys):
        write(Report((run(with_picture(tmp_path, "a.png", b"picture")),)), tmp_path)
        assert main(["verify", str(tmp_path)]) == 0
        assert "files are as written" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda path: path.unlink(), "pictures/a.png: missing"),
            (lambda path: path.write_bytes(b"Picture"), "pictures/a.png: changed"),
            (lambda path: path.with_name("b.png").write_bytes(b""), "pictures/b.png: not listed"),
        ],
    )
    def test_what_was_tampered_with_is_named(self, tmp_path, capsys, change, words):
        write(Report((run(with_picture(tmp_path, "a.png", b"picture")),)), tmp_path)
        change(tmp_path / "pictures" / "a.png")
        assert main(["verify", str(tmp_path)]) == 1
        assert capsys.readouterr().out == f"{words}\n"

    @pytest.mark.parametrize(
        "content",
        [
            None,
            b"",
            b"{",
            b"[]",
            b"\xff",
            b"[" * 100_000,
            b'{"version": 1, "files": []}',
            b'{"version": 1, "files": [{}]}',
            b'{"version": 1, "files": {"path": "a"}}',
            b'{"version": 1, "files": [{"path": "a\\u0000"}]}',
            b'{"version": 9, "files": []}',
        ],
    )
    def test_without_a_manifest_there_is_no_answer(self, tmp_path, capsys, content):
        if content is not None:
            (tmp_path / "manifest.json").write_bytes(content)
        assert main(["verify", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "manifest.json" in said
        assert said.count("\n") == 1

    def test_a_name_that_points_elsewhere_is_no_file_of_the_report(self, tmp_path, capsys):
        (tmp_path / "other.png").write_bytes(b"")
        (tmp_path / "report").mkdir()
        (tmp_path / "report" / "manifest.json").write_text('{"version": 1, "files": [{"path": "../other.png"}]}')
        assert main(["verify", str(tmp_path / "report")]) == 1
        assert "outside" in capsys.readouterr().out

    def test_the_next_report_leaves_no_picture_of_the_last_one_and_touches_no_other_file(self, tmp_path):
        write(Report((run(with_picture(tmp_path, "old.png", b"old")),)), tmp_path)
        (tmp_path / "pictures" / "mine.png").write_bytes(b"")
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        manifest["files"].append({"path": "../mine.png"})
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        write(Report((run(with_picture(tmp_path, "new.png", b"new")),)), tmp_path)
        assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["mine.png", "new.png"]


class TestMerge:
    def test_two_halves_hold_the_records_of_the_whole(self, tmp_path):
        write(Report((run(check("b"), check("a")),)), tmp_path / "whole")
        write(Report((run(check("b"), id="1"),)), tmp_path / "A")
        write(Report((run(check("a"), id="2"),)), tmp_path / "B")
        assert main(["merge", str(tmp_path / "A"), str(tmp_path / "B"), "--into", str(tmp_path / "AB")]) == 0
        assert load(tmp_path / "AB").records == load(tmp_path / "whole").records

    def test_a_run_that_is_in_both_is_there_once(self, tmp_path):
        write(Report((run(check()),)), tmp_path / "A")
        merge([tmp_path / "A"], tmp_path / "B")
        assert len(merge([tmp_path / "A", tmp_path / "B"], tmp_path / "AB").records) == 1

    def test_pictures_of_the_same_check_stay_apart(self, tmp_path):
        for name in ("A", "B"):
            record = with_picture(tmp_path / name, "a.png", name.encode())
            write(Report((run(record, id=name * 32),)), tmp_path / name)
        merged = merge([tmp_path / "A", tmp_path / "B"], tmp_path / "AB")
        contents = [(tmp_path / "AB" / record.picture).read_bytes() for record in merged.records]
        assert contents == [b"A", b"B"]
        assert main(["verify", str(tmp_path / "AB")]) == 0

    def test_a_report_that_cannot_be_read_is_an_error_in_one_line(self, tmp_path, capsys):
        assert main(["merge", str(tmp_path / "none"), "--into", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.startswith("error: there is no report")

    @pytest.mark.parametrize("how", ["AB", "AB/evidence.json", "AB/../AB", "link"])
    def test_into_one_of_its_parts_is_refused(self, tmp_path, capsys, how):
        write(Report((run(check("b"), id="1"),)), tmp_path / "AB")
        write(Report((run(check("a"), id="2"),)), tmp_path / "A")
        (tmp_path / "link").symlink_to("AB")
        assert main(["merge", str(tmp_path / "A"), str(tmp_path / how), "--into", str(tmp_path / "AB")]) == 2
        assert "is one of the reports to merge" in capsys.readouterr().err
        assert len(load(tmp_path / "AB").runs) == 1

    def test_into_a_folder_with_files_of_others_is_refused(self, tmp_path, capsys):
        write(Report((run(check()),)), tmp_path / "A")
        (tmp_path / "site").mkdir()
        (tmp_path / "site/index.html").write_text("mine")
        assert main(["merge", str(tmp_path / "A"), "--into", str(tmp_path / "site")]) == 2
        assert "left them (index.html)" in capsys.readouterr().err
        assert (tmp_path / "site/index.html").read_text() == "mine"

    @pytest.mark.parametrize("linked", ["evidence.json", "pictures", "pictures/a.png"])
    def test_a_link_out_of_a_report_is_not_followed(self, tmp_path, capsys, linked):
        write(Report((run(with_picture(tmp_path / "A", "a.png", b"picture")),)), tmp_path / "A")
        (tmp_path / "A" / linked).rename(tmp_path / "elsewhere")
        (tmp_path / "A" / linked).symlink_to(tmp_path / "elsewhere")
        assert main(["merge", str(tmp_path / "A"), "--into", str(tmp_path / "B")]) == 2
        assert "is a link to outside of its report" in capsys.readouterr().err
        assert not (tmp_path / "B").exists()

    def test_what_failed_before_a_rerun_comes_along_with_its_picture(self, tmp_path):
        first = with_picture(tmp_path / "A", "a.png", b"picture")
        write(Report((run(check(), retried=(first,)),)), tmp_path / "A")
        merged = merge([tmp_path / "A"], tmp_path / "B")
        assert merged.runs[0].retried == (first,)
        assert (tmp_path / "B/pictures/a.png").is_file()
        assert main(["verify", str(tmp_path / "B")]) == 0


MISTYPED = [
    ("", "it is not JSON"),
    ("[" * 100_000, "it is nested too deeply"),
    ("[]", "it is []; expected an object"),
    ("{}", "its version is None"),
    ('{"version": "2"}', "its version is '2'"),
    ('{"version": 2}', "runs is None; expected a list"),
    ('{"version": 2, "runs": {}}', "runs is {}; expected a list"),
    ('{"version": 2, "runs": [3]}', "runs[0]: it is 3; expected an object"),
    ('{"version": 2, "runs": [{}]}', "runs[0]: a run has no id"),
    ('{"version": 2, "runs": [{"id": "1", "checks": 3}]}', "runs[0]: checks is 3; expected a list"),
    ('{"version": 2, "runs": [{"id": "1", "checks": ["a"]}]}', "checks[0]: it is 'a'; expected an object"),
    ('{"version": 2, "runs": [{"id": "1", "checks": [{}]}]}', "checks[0]: a check has no check and no measure"),
]


@pytest.mark.parametrize(("text", "reason"), MISTYPED, ids=[reason for _, reason in MISTYPED])
def test_what_is_no_report_is_said_in_one_line(tmp_path, capsys, text, reason):
    (tmp_path / "evidence.json").write_text(text)
    for command in (["calibrate"], ["merge", "--into", str(tmp_path / "out")]):
        assert main([*command, str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1
        assert "Traceback" not in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", [], {}, True, 10**400])
@pytest.mark.parametrize("field", ["figure", "bound"])
def test_a_figure_that_is_no_number_is_refused(tmp_path, field, value):
    plain = run(check()).to_plain()
    plain["checks"][0][field] = value
    (tmp_path / "evidence.json").write_text(json.dumps({"version": VERSION, "runs": [plain]}))
    with pytest.raises(ValueError, match="cannot be read as a report"):
        load(tmp_path)


@pytest.mark.parametrize("part", ["run", "check"])
def test_no_field_of_another_type_is_a_traceback(tmp_path, part):
    """Every field of a run and of a check, in turn, holds each kind of value."""
    for name in run(check()).to_plain() if part == "run" else check().to_plain():
        for value in (None, True, 3, -0.5, "x", [], [1], [[1, 2, 3]], {}, {"a": []}):
            plain = run(check()).to_plain()
            (plain if part == "run" else plain["checks"][0])[name] = value
            (tmp_path / "evidence.json").write_text(json.dumps({"version": VERSION, "runs": [plain]}))
            try:
                found = load(tmp_path)
            except ValueError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                write(found, tmp_path / "out")


def test_the_command_line_as_a_user_calls_it_imports_nothing_heavy():
    probe = (
        "import sys, pytest_gradcam.__main__ as m; m.main(['verify', '/nowhere']); "
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "False False"
    assert "error: " in result.stderr
