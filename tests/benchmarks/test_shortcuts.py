"""The models of known truth, with a training too short to learn anything: that all tasks run, and that the halves stay."""

import re

import pytest

pytest.importorskip("sklearn")

from benchmarks.shortcuts import figures, zoo
from benchmarks.shortcuts.zoo import Half, Recipe

PAIR = {Half.TUNING: {0: ["corner patch"]}, Half.REPORTED: {13: ["corner patch"]}}


@pytest.fixture
def tiny(monkeypatch):
    """One pair of models a half, trained for one step, and taken for what it was trained for."""
    monkeypatch.setattr(zoo, "_KINDS_OF", PAIR)
    monkeypatch.setattr(zoo, "ARCHITECTURES", {"cnn": zoo.ARCHITECTURES["cnn"]})
    monkeypatch.setattr(zoo, "TRAINING", 50)
    monkeypatch.setattr(zoo, "_TEST", 10)
    monkeypatch.setattr(zoo, "EPOCHS", {"cnn": 1})
    monkeypatch.setattr(zoo, "measure", lambda model, recipe, tied: zoo.Truth(1.0, float(tied)))
    monkeypatch.setattr(figures, "COUNTS", (10, 50))


def test_tasks(tiny, benchmark_run, tmp_path):
    def run(task, *options):
        return benchmark_run("shortcuts", task, "--cache", str(tmp_path), "--processes", "1", *options)

    out = run("train")
    assert "tuning half: 1 biased, 1 clean, 0 left out\nreported half: 1 biased, 1 clean, 0 left out" in out
    rules = ("--rules", "mass", "paste", "reliance")
    for task in ("tune", "report"):
        out = run(task, *rules)
        assert "| rule | 10 images | 50 images |" in out
        assert re.search("^[|] corner patch [|] 1, 1 [|]", out, re.MULTILINE)
    assert (tmp_path / "thresholds.json").exists()
    assert "| half mask | " in run("hard", "--half", "reported")
    assert "| assert_relies_on | with 9 others | " in run("single")


def test_the_reported_half_has_no_seed_of_the_tuning_half():
    seeds = {half: {recipe.seed for recipe in zoo.recipes(half)} for half in Half}
    assert seeds == {Half.TUNING: {0, 1, 2, 3, 4, 5, 7, 9, 11}, Half.REPORTED: {13, 15, 17, 19}}


def test_the_pairs_are_those_of_the_figures():
    assert sum(len(zoo.recipes(half)) for half in Half) == 273
    assert Recipe("sticker", "vit", 19) in zoo.recipes(Half.REPORTED)
