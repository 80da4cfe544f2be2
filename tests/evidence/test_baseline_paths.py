"""Where baselines lie: names that any file system takes, that no two tests share, and that tell orphans."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam.evidence import baseline_paths

FILE = Path("/repo/tests/test_cats.py")
HOSTILE = ["test_a[../../etc/passwd]", "test_a[a::b]", "test_a[x\x00y]", "test_a[\ud800]", "CON", "..", "", "é" * 300]


def test_a_file_says_which_tests_it_is():
    path = baseline_paths.baseline(FILE, "TestCats::test_tabby[left]", "1")
    assert path.parent == Path("/repo/tests/__gradcam__/test_cats")
    assert path.name.startswith("TestCats-test_tabby-left-")
    assert path.name.endswith("-1.npz")


def test_files_of_other_kinds_have_a_folder_of_their_own():
    assert baseline_paths.folder(Path("a/test_cats.md")) == Path("a/__gradcam__/test_cats.md")


@given(st.text(st.characters(), max_size=300) | st.sampled_from(HOSTILE))
def test_any_id_makes_a_name_that_any_file_system_takes(test):
    path = baseline_paths.baseline(FILE, test, "1")
    assert path.parent == baseline_paths.folder(FILE)
    assert path.name.isascii()
    assert len(path.name) < 128
    assert not set(path.name) & set('/\\:*?"<>|[] ')


@given(st.lists(st.text(max_size=40), min_size=2, max_size=2, unique=True))
def test_no_two_tests_share_a_file(tests):
    first, second = (baseline_paths.baseline(FILE, test, "1") for test in tests)
    assert first.name.lower() != second.name.lower()


def test_orphans_are_the_files_of_no_test(tmp_path):
    file = tmp_path / "test_cats.py"
    names = {}
    for test, label in [("test_a", "1"), ("test_a", "2"), ("test_b[x-y]", "left_eye"), ("test_gone", "1")]:
        path = baseline_paths.baseline(file, test, label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        names[test] = path
    (baseline_paths.folder(file) / "notes.txt").write_text("not ours")
    assert baseline_paths.orphans(file, ["test_a", "test_b[x-y]"]) == [names["test_gone"]]
    assert baseline_paths.orphans(tmp_path / "test_dogs.py", []) == []


@pytest.mark.parametrize("below", [True, False])
def test_paths_are_shown_from_the_working_directory(tmp_path, monkeypatch, below):
    monkeypatch.chdir(tmp_path if below else "/")
    path = tmp_path / "a.npz"
    assert baseline_paths.shown(path) == ("a.npz" if below else str(path).lstrip("/"))
