"""Baselines: what is written, what is compared, and every way in which there is no verdict."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pytest_gradcam import FocusError, Heatmap, HeatmapError, NoEvidenceError
from pytest_gradcam.checks import baseline
from pytest_gradcam.evidence import baseline_paths, store
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.heatmap import SeenImage

GRID = np.random.default_rng(0).random((7, 7)).astype(np.float32)
VIEW = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
SUBJECT = Subject(
    target="cat", target_index=1, score=2.5, model="Net", layer="features", method="gradcam", image="/home/me/cat.png"
)


class Running:
    """A test, in a run that updates baselines or does not."""

    def __init__(self, path, *, updates=False, name="test_cat"):
        self.marker = {}
        self.path, self.name, self.updates = path, name, updates
        self.baselines, self.written, self.records, self.pictures = [], [], [], []

    def wrote(self, path):
        self.written.append(path)

    def keep(self, record, draw):
        self.records.append(record)
        if record.outcome != "passed":
            self.pictures.append(draw(record))
        return record


@pytest.fixture
def file(tmp_path):
    return tmp_path / "test_cats.py"


def heatmap(grid=GRID, *, view=VIEW, subject=SUBJECT, **changes):
    return Heatmap(grid, SeenImage(view.shape[:2], lambda: (view, None)), replace(subject, **changes))


def check(file, one, *, updates=False, test="test_cat", **arguments):
    """One check in a test of its own, which is given back."""
    test = Running(file, updates=updates, name=test)
    with running(test):
        one.assert_matches_baseline(**arguments)
    return test


def written(file, one=None, **arguments):
    [path] = check(file, one or heatmap(), updates=True, **arguments).written
    return path


def test_a_heatmap_matches_the_baseline_that_was_written_from_it(file):
    path = written(file)
    assert path.parent == file.parent / "__gradcam__" / "test_cats"
    [record] = check(file, heatmap(), at_least=1).records
    assert (record.outcome, record.figure, record.bound) == ("passed", 1, 1)
    assert record.check == "matches_baseline"


def test_one_that_moved_fails_and_shows_both(file):
    written(file)
    test = Running(file)
    with running(test), pytest.raises(FocusError) as caught:
        heatmap(GRID[::-1]).assert_matches_baseline()
    message = str(caught.value)
    assert message.startswith("the heatmap for 'cat' has a rank correlation of 0.388 with its baseline")
    assert "; expected at least 0.95" in message
    assert "baseline   " in message
    assert "then       the score was 2.5" in message
    assert "run this test with --gradcam-update and commit the file" in message
    assert "versions" not in message  # they are the same
    assert test.pictures[0].height > 800  # four panels
    assert test.records[0].figure == pytest.approx(heatmap(GRID[::-1]).similarity(heatmap()))


def test_the_bound_itself_passes_and_just_above_it_fails(file):
    written(file)
    other = heatmap(GRID + 0.3 * GRID[::-1])
    figure = other.similarity(heatmap())
    check(file, other, at_least=figure)
    with pytest.raises(FocusError):
        check(file, other, at_least=np.nextafter(figure, 1))


def test_a_missing_baseline_is_no_verdict_and_is_not_written(file):
    test = Running(file)
    with running(test), pytest.raises(HeatmapError, match="no verdict on matches_baseline: there is no baseline .*npz"):
        heatmap().assert_matches_baseline()
    assert test.records[0].outcome == "invalid"
    assert not (file.parent / "__gradcam__").exists()


OTHER_VIEW = VIEW.copy()
OTHER_VIEW[8:24, 8:24] = 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (heatmap(target="dog", target_index=2), "it explains 'cat', this heatmap 'dog'"),
        (heatmap(layer="head"), "its layer is 'features', here 'head'"),
        (heatmap(method="hirescam"), "its method is 'gradcam', here 'hirescam'"),
        (heatmap(view=OTHER_VIEW), r"the model saw another picture: the two differ by up to \d+ of 255 shades"),
        (heatmap(view=VIEW[:32, :32]), "its view is 64 x 64, here 32 x 32"),
        (heatmap(view=VIEW[:32]), "its view is 64 x 64, here 32 x 64"),
        (heatmap(np.kron(GRID, np.ones((2, 2), np.float32))), "its grid is 7 x 7, here 14 x 14"),
    ],
)
def test_a_stale_baseline_is_no_verdict(file, other, message):
    path = written(file)
    before = path.read_bytes()
    with pytest.raises(HeatmapError, match=f"is stale: .*{message}.*--gradcam-update"):
        check(file, other)
    assert path.read_bytes() == before
    assert written(file, other) == path
    check(file, other)


def test_the_same_picture_from_another_decoder_is_not_stale(file):
    written(file)
    noise = np.random.default_rng(2).integers(-3, 4, VIEW.shape)
    check(file, heatmap(view=(VIEW.astype(int) + noise).clip(0, 255).astype(np.uint8)))
    smaller = np.asarray(Image.fromarray(VIEW).rotate(90))
    with pytest.raises(HeatmapError, match="another picture"):
        check(file, heatmap(view=smaller))


def test_another_model_score_or_file_name_is_what_a_baseline_is_there_for(file):
    written(file)
    test = check(file, heatmap(model="Net2", score=9.0, image="C:/elsewhere/kitten.png", weights="abc"))
    assert test.records[0].outcome == "passed"
    assert ("then", "the model was Net") in test.records[0].details


def test_other_versions_are_named(file, monkeypatch):
    monkeypatch.setattr(baseline, "_versions", lambda: {"torch": "1.0", "numpy": "1.26"})
    written(file)
    monkeypatch.setattr(baseline, "_versions", lambda: {"torch": "2.0", "numpy": "1.26"})
    with pytest.raises(FocusError, match="versions   torch 1.0, now 2.0\n"):
        check(file, heatmap(GRID[::-1]))


@pytest.mark.parametrize("content", [b"", b"PK", b"<<<<<<< HEAD\n"])
def test_a_damaged_file_is_no_verdict(file, content):
    path = written(file)
    path.write_bytes(content)
    with pytest.raises(HeatmapError, match=r"is damaged, renamed, or of another version .*restore it"):
        check(file, heatmap())
    assert written(file) == path


@settings(deadline=None)
@given(st.data())
def test_no_byte_of_a_file_can_change_unnoticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "test_cat-1.npz"
    store.write(path, baseline._entry(heatmap(), path))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(HeatmapError, match="damaged"):
        baseline._read(path)  # no check: under @given that is refused


def test_the_file_of_another_test_is_no_verdict(file):
    path = written(file, test="test_dog")
    path.rename(baseline_paths.baseline(file, "test_cat", "1"))
    with pytest.raises(HeatmapError, match="renamed"):
        check(file, heatmap())


@pytest.mark.parametrize("metadata", [{}, {"subject": {}}, {"view": [1], "subject": {}, "versions": {}}, {"view": 3}])
def test_a_sealed_file_of_foreign_content_is_no_verdict(file, metadata):
    path = baseline_paths.baseline(file, "test_cat", "1")
    store.write(path, store.Entry(path.stem, {"grid": GRID}, metadata))
    with pytest.raises(HeatmapError, match="damaged"):
        check(file, heatmap())


@pytest.mark.parametrize(
    ("grid", "error"),
    [(np.zeros((7, 7)), NoEvidenceError), (np.ones((7, 7)), NoEvidenceError), (np.full((7, 7), np.nan), HeatmapError)],
)
def test_a_heatmap_without_evidence_matches_nothing_and_becomes_no_baseline(file, grid, error):
    with pytest.raises(error):
        check(file, heatmap(grid.astype(np.float32)), updates=True)
    assert not (file.parent / "__gradcam__").exists()
    written(file)
    with pytest.raises(error, match="this heatmap cannot be compared"):
        check(file, heatmap(grid.astype(np.float32)))


@pytest.mark.parametrize("at_least", [0, 1.01, float("nan"), True, "1"])
def test_bounds_that_decide_nothing(file, at_least):
    written(file)
    with pytest.raises(HeatmapError, match="cannot decide anything"):
        check(file, heatmap(), at_least=at_least)


def test_outside_a_test_there_is_no_baseline():
    with running(None), pytest.raises(HeatmapError, match="a baseline belongs to a test, and none is running"):
        heatmap().assert_matches_baseline()


@pytest.mark.parametrize("updates", [True, False])
@settings(deadline=None)
@given(st.just(GRID))
def test_under_given_there_is_no_baseline(tmp_path_factory, updates, grid):
    file = tmp_path_factory.mktemp("given") / "test_cats.py"
    with pytest.raises(HeatmapError, match="under Hypothesis' @given every example would be held to one baseline"):
        check(file, heatmap(grid), updates=updates)
    assert not (file.parent / "__gradcam__").exists()


def test_the_baselines_of_a_test_are_told_apart_by_order_or_name(file):
    first, second, third = heatmap(), heatmap(GRID[::-1]), heatmap(GRID[:, ::-1])

    def run(updates, *order):
        test = Running(file, updates=updates)
        with running(test):
            order[0].assert_matches_baseline()
            order[1].assert_matches_baseline(name="left_eye")
            order[2].assert_matches_baseline()
        return test

    assert [path.stem.rpartition("-")[2] for path in run(True, first, second, third).written] == ["1", "left_eye", "3"]
    run(False, first, second, third)
    with pytest.raises(FocusError):
        run(False, third, second, first)


@pytest.mark.parametrize("name", ["", "1", "a-b", "../x", "a/b", "é", "x" * 41, 3, "a b", "-1"])
def test_names_that_no_file_can_bear(file, name):
    with pytest.raises(HeatmapError, match="cannot be part of a file's name"):
        check(file, heatmap(), updates=True, name=name)


@pytest.mark.parametrize("updates", [True, False])
def test_a_name_is_used_once(file, updates):
    written(file, name="eye")
    with running(Running(file, updates=updates)):
        heatmap().assert_matches_baseline(name="eye")
        with pytest.raises(HeatmapError, match="name='eye' was used by this test before"):
            heatmap().assert_matches_baseline(name="eye")


def test_an_update_checks_nothing_and_leaves_no_record(file):
    written(file)
    test = check(file, heatmap(GRID[::-1]), updates=True)
    assert test.records == []
    check(file, heatmap(GRID[::-1]))


def test_an_update_leaves_a_file_alone_that_differs_by_rounding_only(file):
    path = written(file)
    before = path.read_bytes()
    assert check(file, heatmap(GRID + 1e-5), updates=True).written == []
    assert path.read_bytes() == before
    assert check(file, heatmap(GRID + 0.01), updates=True).written == [path]


def test_a_file_holds_the_raw_grid_and_what_it_was_made_of_but_no_path_of_the_machine(file):
    path = written(file)
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["grid"], GRID)
        about = json.loads(archive["metadata.json"])["metadata"]
    assert about["subject"]["layer"] == "features"
    assert about["subject"]["image"] == "cat.png"
    assert about["similarity"] == "spearman"
    assert set(about["versions"]) == {"pytest-gradcam", "grad-cam", "torch", "numpy"}
    assert "/home/me" not in path.read_bytes().decode("latin-1")
    assert path.stat().st_size < 4096


def test_the_same_heatmap_gives_the_same_bytes(file, tmp_path):
    first, second = written(file), written(tmp_path / "other" / "test_cats.py")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_that_cannot_be_written_to_fails_the_update(file):
    (file.parent / "__gradcam__").write_text("a file where the folder should be")
    with pytest.raises(HeatmapError, match="cannot be written .*make its folder writable"):
        check(file, heatmap(), updates=True)


def test_readers_meet_whole_files_while_others_write(file):
    path = written(file)
    entries = [store.Entry(path.stem, {"grid": np.full((50, 50), i, np.float32)}, {}) for i in range(2)]
    stop = threading.Event()

    def write():
        while not stop.is_set():
            for entry in entries:
                store.write(path, entry)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.read(path) is not None for _ in range(200))
    finally:
        stop.set()
        writer.join()
    assert os.listdir(path.parent) == [Path(path).name]
