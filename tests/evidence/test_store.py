"""The store: what goes in comes out, and nothing else ever does."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import pytest_gradcam
from pytest_gradcam import GradcamWarning
from pytest_gradcam.evidence.store import Store, read

GRID = np.arange(49, dtype=np.float32).reshape(7, 7)
SUBJECT = {"target": "pedestrian", "score": 1.5, "rank": None, "classes": 2}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def files(root):
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture
def entry(store, tmp_path):
    """The path of the one entry in the store, under the key 'a'."""
    store.put("a", {"grid": GRID}, SUBJECT)
    [path] = files(tmp_path)
    return path


def test_nothing_is_made_before_the_first_put(store, tmp_path):
    assert store.get("a") is None
    store.prune(0)
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    array=arrays(st.sampled_from([np.float32, np.float64, np.uint8, np.bool_, np.int64]), array_shapes(min_side=0)),
    metadata=st.dictionaries(
        st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
    ),
    key=st.text(st.characters(codec="utf-8")),
)
def test_what_was_put_comes_back(store, array, metadata, key):
    store.put(key, {"grid": array, "other": GRID}, metadata)
    found = store.get(key)
    assert found.key == key
    assert found.metadata == metadata
    assert found.arrays.keys() == {"grid", "other"}
    assert found.arrays["grid"].dtype == array.dtype
    np.testing.assert_array_equal(found.arrays["grid"], array)


def test_what_comes_back_is_the_callers_own(store, entry):
    store.get("a").arrays["grid"][:] = 0
    np.testing.assert_array_equal(store.get("a").arrays["grid"], GRID)


def test_the_last_put_counts(store, tmp_path):
    store.put("a", {"grid": GRID}, {})
    store.put("a", {"grid": GRID + 1}, {})
    np.testing.assert_array_equal(store.get("a").arrays["grid"], GRID + 1)
    assert len(files(tmp_path)) == 1


def test_an_entry_is_an_npz_in_a_folder_of_its_prefix_and_the_same_bytes_each_time(store, entry):
    before = entry.read_bytes()
    with np.load(entry, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["grid"], GRID)
        assert json.loads(archive["metadata.json"])["metadata"] == SUBJECT
    assert entry.parent.name == entry.name[:2]
    store.put("a", {"grid": GRID}, dict(reversed(SUBJECT.items())))
    assert entry.read_bytes() == before


def test_python_objects_are_refused_and_leave_nothing(store, tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        store.put("a", {"grid": np.array([object()])}, {})
    with pytest.raises(TypeError, match="JSON"):
        store.put("a", {}, {"score": np.float32(1)})
    assert files(tmp_path) == []


def test_every_flipped_bit_is_a_miss(store, entry):
    whole = entry.read_bytes()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        entry.write_bytes(broken)
        assert store.get("a") is None, place


def test_every_truncation_is_a_miss(store, entry):
    whole = entry.read_bytes()
    for length in (*range(0, len(whole), 5), len(whole) - 1):
        entry.write_bytes(whole[:length])
        assert store.get("a") is None, length
    entry.write_bytes(whole + b"x")
    assert store.get("a") is None


def foreign_archive(path):
    np.savez(path, grid=GRID)


def pickled(path):
    np.savez(path, grid=np.array([{"a": 1}], dtype=object))


def other_version(path):
    from hashlib import sha256

    content = path.read_bytes()[:-64].replace(b"store 1 sha256", b"store 2 sha256")
    path.write_bytes(content + sha256(content).hexdigest().encode())


def sealed_nonsense(path):
    from hashlib import sha256

    content = b"PK\x03\x04 nonsense" + path.read_bytes()[-94:-64]
    path.write_bytes(content + sha256(content).hexdigest().encode())


def directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [foreign_archive, pickled, other_version, sealed_nonsense, directory])
def test_foreign_files_are_misses(store, entry, spoil):
    spoil(entry)
    assert read(entry) is None
    assert store.get("a") is None


def test_an_entry_under_the_name_of_another_is_a_miss(store, entry, tmp_path):
    store.put("b", {"grid": GRID + 1}, {})
    [other] = set(files(tmp_path)) - {entry}
    other.replace(entry)
    assert store.get("a") is None


def test_a_corrupt_entry_is_replaced_at_the_next_put(store, entry):
    entry.write_bytes(b"")
    store.put("a", {"grid": GRID}, SUBJECT)
    assert store.get("a").metadata == SUBJECT


def test_a_disk_that_cannot_be_written_warns_once_and_then_holds_nothing(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put("a", {"grid": GRID}, SUBJECT)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(GradcamWarning, match="cannot be written to .*No space left.*; nothing is stored .* Free space"):
        store.put("b", {"grid": GRID}, {})
    monkeypatch.undo()
    store.put("c", {"grid": GRID}, {})
    assert [store.get(key) for key in "abc"] == [None, None, None]
    assert len(files(tmp_path)) == 1


def test_a_directory_that_is_cleared_during_a_put_is_made_again(store, entry, tmp_path, monkeypatch):
    write = Path.write_bytes

    def cleared_first(path, content):
        monkeypatch.setattr(Path, "write_bytes", write)
        shutil.rmtree(tmp_path / "store")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", cleared_first)
    store.put("a", {"grid": GRID}, SUBJECT)
    assert store.get("a").metadata == SUBJECT


def test_a_root_that_is_a_file_warns_once(tmp_path):
    (tmp_path / "root").write_text("")
    store = Store(tmp_path / "root")
    assert store.get("a") is None
    with pytest.warns(GradcamWarning, match="cannot be written to"):
        store.put("a", {"grid": GRID}, {})
    store.put("a", {"grid": GRID}, {})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_directory_warns_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.warns(GradcamWarning, match="cannot be written to"):
        Store(tmp_path / "store").put("a", {"grid": GRID}, {})
    tmp_path.chmod(0o700)


def test_prune_leaves_the_most_recently_used(store, tmp_path):
    for number in range(6):
        store.put(str(number), {"grid": GRID}, {})
        [path] = [path for path in files(tmp_path) if read(path).key == str(number)]
        os.utime(path, (1000 + number, 1000 + number))
    size = path.stat().st_size
    assert store.get("0") is not None  # used now
    store.prune(3 * size)
    assert [number for number in range(6) if store.get(str(number))] == [0, 4, 5]
    store.prune(0)
    assert files(tmp_path) == []


def test_prune_leaves_what_is_being_written_and_foreign_files(store, entry, tmp_path):
    writing, abandoned = entry.with_name("new.part"), entry.with_name("old.part")
    for path in (writing, abandoned, tmp_path / "store" / "README"):
        path.write_text("x")
    os.utime(abandoned, (time.time() - 7200,) * 2)
    store.prune(10**6)
    assert {path.name for path in files(tmp_path)} == {entry.name, "new.part", "README"}


WRITER = """
import sys
import numpy as np
from pathlib import Path
from pytest_gradcam.evidence.store import Store

store = Store(Path(sys.argv[1]))
for turn in range(60 if len(sys.argv) == 2 else 10**9):
    for key in range(8):
        store.put(str(key), {"grid": np.full((40, 40), 1000 * key + turn, np.float32)}, {"turn": turn})
        found = store.get(str(key))
        assert found is not None and (found.arrays["grid"] == 1000 * key + found.metadata["turn"]).all()
"""


#: Forks writers, so that each costs no start of Python, and kills each at a moment of its own.
KILLER = """
import os, random, signal, sys, time
import pytest_gradcam.evidence.store

chance = random.Random(0)
for _ in range(int(sys.argv[3])):
    child = os.fork()
    if child == 0:
        exec(sys.argv[2])
    time.sleep(chance.uniform(0.01, 0.08))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    print("killed", flush=True)
    sys.stdin.readline()
"""


def python(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(pytest_gradcam.__file__).parents[1])},
    )


def verify(root):
    """Every entry is whole: it holds what some put wrote, all of it."""
    paths = list(root.glob("??/*.npz"))
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        found = read(path)
        assert found.arrays["grid"].shape == (40, 40)
        assert (found.arrays["grid"] == 1000 * int(found.key) + found.metadata["turn"]).all()
    return len(paths)


def test_processes_that_write_the_same_keys_never_see_a_broken_one(tmp_path):
    writers = [python(WRITER, tmp_path) for _ in range(2)]
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert verify(tmp_path) == 8
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writers are forked")
def test_killed_writers_leave_whole_entries_only(tmp_path):
    with python(KILLER, tmp_path, WRITER, 30) as killer:
        for _ in range(30):
            assert killer.stdout.readline() == "killed\n"
            verify(tmp_path)
            killer.stdin.write("next\n")
            killer.stdin.flush()
    assert killer.returncode == 0
    # On a busy machine none of the killed ones may have come to the last entry.
    with python(WRITER, tmp_path) as writer:
        assert writer.wait() == 0
    assert verify(tmp_path) == 8
    leftovers = list(tmp_path.rglob("*.part"))
    for path in leftovers:
        os.utime(path, (0, 0))
    Store(tmp_path).prune(10**9)
    assert list(tmp_path.rglob("*.part")) == []
    assert verify(tmp_path) == 8
