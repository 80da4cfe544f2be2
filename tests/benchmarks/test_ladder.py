"""The ladder of models that rely a little: what is tied, what is exchanged, and that its halves stay apart."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.shortcuts import ladder, ladder_figures
from benchmarks.shortcuts.ladder import Case, Rung, drawn, rungs
from benchmarks.shortcuts.zoo import Half


def test_the_halves_share_no_seed():
    seeds = [{rung.seed for rung in rungs(half)} for half in Half]
    assert not seeds[0] & seeds[1]
    assert len(rungs(Half.TUNING)) == len(rungs(Half.REPORTED)) == 90 + 12 + 20 + 8
    assert len({rung.name for rung in rungs(Half.TUNING)}) == 130


def test_a_turn_exchanges_the_artefact_and_nothing_else():
    rung = Rung(Case.TIES, "corner patch", "cnn", 7, 0.5)
    one, other = (drawn(rung, purpose=1, count=6, turns=(turn, 0)) for turn in (0, 1))
    np.testing.assert_array_equal(one.masks, other.masks)
    changed = (one.images != other.images).any(1).numpy()
    assert changed.any((1, 2)).all()
    assert not (changed & ~one.masks).any()


def test_a_tie_is_the_share_of_variants_that_are_the_labels():
    tied = drawn(Rung(Case.TIES, "border", "cnn", 7, 1.0), purpose=1, count=30)
    free = drawn(Rung(Case.TIES, "border", "cnn", 7, 0.0), purpose=1, count=90)
    assert (tied.variants == tied.labels).all()
    assert 0.15 < (free.variants == free.labels).float().mean() < 0.75


def test_one_class_of_five_has_the_mark():
    rung = Rung(Case.ONE_CLASS, "sticker", "cnn", 7, 1.0)
    shown = drawn(rung, purpose=1, count=40)
    assert (shown.labels == 0).sum() == 4
    assert ((shown.variants == 1) == (shown.labels == 0)).all()
    assert (drawn(rung, purpose=1, count=5, only=0).labels == 0).all()


def test_a_rung_is_trained_once_and_its_truth_is_kept(monkeypatch, tmp_path):
    for name, value in (("TRAINING", 50), ("_TEST", 20), ("EPOCHS", {"cnn": 1})):
        monkeypatch.setattr(ladder, name, value)
    rung = Rung(Case.TWO_CUES, "corner patch", "cnn", 7, 0.9, "timestamp", 0.7)
    first = ladder.climb(rung, tmp_path)
    monkeypatch.setattr(ladder, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = ladder.climb(rung, tmp_path)
    assert len(first.falls) == 3
    assert again.falls == first.falls
    assert first.falls[0].interval[0] <= first.falls[0].fall <= first.falls[0].interval[1]
    assert not np.array_equal(drawn(rung, purpose=1, count=2).masks, ladder.second_masks(rung, purpose=1, count=2))


@pytest.mark.parametrize(
    "rung",
    [
        Rung(Case.TIES, "sticker", "cnn", 7, 0.5),
        Rung(Case.ONE_CLASS, "sticker", "cnn", 8, 1.0),
        Rung(Case.TWO_CUES, "corner patch", "cnn", 7, 0.9, "timestamp", 0.7),
    ],
)
def test_every_setting_is_asked_and_shown(monkeypatch, tmp_path, benchmark_run, rung):
    for name, value in (("TRAINING", 50), ("_TEST", 20), ("EPOCHS", {"cnn": 1})):
        monkeypatch.setattr(ladder, name, value)
    monkeypatch.setattr(ladder, "rungs", lambda half: [rung])
    monkeypatch.setattr(ladder_figures, "COMPETENT", 0.0)
    monkeypatch.setattr(ladder_figures, "COUNTS", (10, 20))
    monkeypatch.setattr(ladder_figures, "USUAL", 10)
    monkeypatch.setattr(ladder_figures, "_PAIRED", (10,))
    svg = tmp_path / "ladder.svg"
    out = benchmark_run("shortcuts", "ladder", "--cache", str(tmp_path), "--processes", "1", "--picture", str(svg))
    assert svg.read_text("utf-8").startswith("<svg ")
    shown = {
        Case.TIES: "| 10, 0.00 to 0.03 | ",
        Case.ONE_CLASS: "| one class, 30 images of it and 40 others, up to 0.03 | ",
        Case.TWO_CUES: "| one of two cues, from 0.10 | ",
    }
    assert shown[rung.case] in out
    assert "wrong masks" in out
