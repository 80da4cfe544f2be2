"""Audits: a row for each case and check, whatever is wrong with a case, and the very same after an interrupt."""

from __future__ import annotations

import json
import operator
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_of_audits

from pytest_gradcam import Case, Explainer, data, masks
from pytest_gradcam.data import rows as row_files
from pytest_gradcam.data import worker
from pytest_gradcam.errors import HeatmapError

from .conftest import LEFT, SIDE, Colour, blob, to_tensor


def test_rows_are_those_of_single_checks(explainer, dataset):
    audit = explainer.audit(dataset)
    assert audit.checks == ["focus_within", "peak_within", "focus_avoids"]
    assert [row["case"] for row in audit.rows if row["check"] == "focus_within"] == [case.name for case in dataset]
    for row in audit.rows[:9]:
        case = dataset[row["place"]]
        heatmap = explainer(case.image, "red")
        known = {
            "focus_within": heatmap.mass(case.mask),
            "focus_avoids": heatmap.mass(case.invalid),
            "peak_within": 0.0,
        }
        assert row["figure"] == pytest.approx(known[row["check"]], abs=1e-6)
    assert audit.rate("focus_within").passed == 45
    assert audit.rates("focus_within", by="site")["a"].count == 30
    assert audit.rates("focus_within", by="class")["red"].count == 60
    assert repr(audit) == "<Audit of data set: 60 images, focus_within, peak_within, focus_avoids>"
    assert "passes on 75.0 % of 60 images (62.1 % to 85.3 % at 95 %)" in next(audit.summary())


def test_the_function_is_the_method(explainer, dataset):
    assert data.audit(explainer, dataset[:2], ["overlap"]).rows == explainer.audit(dataset[:2], ["overlap"]).rows


def test_bounds(explainer, dataset):
    audit = explainer.audit(dataset, {"focus_within": 0.2})
    assert audit.rate("focus_within").passed == 45
    lifts = explainer.audit(dataset, {"focus_within": masks.lift(1.5)})
    assert lifts.rate("focus_within").passed == 45


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ("focus_within", "is one name"),
        (["focus"], "checks has 'focus'; expected focus_within"),
        ([], "holds no check"),
        ({"focus_within": 0}, "at_least=0 cannot decide anything"),
    ],
)
def test_checks_that_decide_nothing(explainer, dataset, checks, message):
    with pytest.raises(HeatmapError, match=message):
        explainer.audit(dataset, checks)


def test_a_bad_case_is_a_row(explainer, dataset, folder):
    (folder / "03.png").write_bytes(b"not an image")
    dataset[5] = Case(dataset[5].image, mask=LEFT[:4], target="red")
    dataset[6] = Case(dataset[6].image, target="red")
    dataset[7] = Case(dataset[7].image, mask=LEFT, target="rde")
    dataset[8] = Case(dataset[8].image, mask=LEFT, problem="row 8: no image")
    dataset[9] = Case(np.zeros((SIDE, SIDE, 3), np.uint8), mask=LEFT, target="red", id="black")
    audit = explainer.audit(dataset, ["focus_within"])
    found = {row["place"]: row for row in audit.rows if row["outcome"] not in ("passed", "failed")}
    assert sorted(found) == [3, 5, 6, 7, 8, 9]
    assert [found[place]["outcome"] for place in (3, 9)] == ["invalid", "no evidence"]
    for place, text in (
        (3, "not an image file"),
        (5, "mask has shape (4, 32)"),
        (6, "the case has no mask, which focus_within is about"),
        (7, "'rde'"),
        (8, "row 8: no image"),
    ):
        assert text in found[place]["reason"]
    rate = audit.rate("focus_within")
    assert (rate.passed, rate.failed, rate.undecided) == (39, 15, 6)
    assert rate.lower < rate.interval.lower
    assert rate.upper > rate.interval.upper


def test_by_default_a_case_without_masks_counts_against_every_check_of_the_mask(explainer, dataset):
    dataset[6] = Case(dataset[6].image, target="red")
    audit = explainer.audit(dataset)
    assert [row["check"] for row in audit.rows if row["place"] == 6] == ["focus_within", "peak_within"]
    assert audit.rate("focus_within").count == audit.rate("peak_within").count == 60


@pytest.mark.parametrize("paths", [(), (["a.jsonl", "b.jsonl"],), (None,), ("a.jsonl", 3)])
def test_what_names_no_file_of_rows_is_refused_in_one_line(paths):
    with pytest.raises(
        HeatmapError, match=r"^Audit.load\(.*\) names no file of rows; expected Audit.load\(path\)"
    ) as raised:
        data.Audit.load(*paths)
    assert "\n" not in str(raised.value)


def test_an_audit_that_did_not_end_is_not_loaded(explainer, dataset, tmp_path):
    whole = tmp_path / "rows.jsonl"
    explainer.audit(dataset, rows=whole)
    loaded = data.Audit.load(whole)
    assert loaded.images == 60
    with pytest.raises(HeatmapError, match="was loaded from its rows, without a model to ask"):
        loaded.suspects()
    lines = whole.read_bytes().splitlines(keepends=True)
    for kept in (1, next(n for n, line in enumerate(lines) if line.startswith(b'{"chunk"')) + 1):
        whole.write_bytes(b"".join(lines[:kept]))
        with pytest.raises(
            HeatmapError, match=r"rows of (0|32) of its 60 cases, so the audit did not end; run it again"
        ):
            data.Audit.load(whole)


def test_rows_that_are_read_share_what_is_the_same(explainer, dataset, tmp_path):
    """The texts of the keys alone would double the memory of a row."""
    explainer.audit(dataset, rows=tmp_path / "rows.jsonl")
    first, second = data.Audit.load(tmp_path / "rows.jsonl").rows[:4:3]
    assert all(map(operator.is_, first, second))
    assert all(first[name] is second[name] for name in ("check", "outcome", "target"))


@pytest.mark.parametrize(
    ("other", "what"),
    [({"layer": "features"}, "layer"), ({"method": "hirescam"}, "method"), ({"weights": 1}, "weights")],
)
def test_parts_by_other_means_do_not_join(dataset, tmp_path, other, what):
    """Wherever layer and method were set, and outside of a test as well."""
    for name, how in (("a", {}), ("b", other)):
        model = Colour().eval()
        if how.get("weights"):
            with torch.no_grad():
                next(model.parameters()).mul_(1.5)
        how = {key: value for key, value in how.items() if key != "weights"}
        Explainer(model, **how, preprocess=to_tensor, classes=["red", "green"]).audit(dataset[:4], rows=tmp_path / name)
    with pytest.raises(HeatmapError, match=f"another {what}; pass parts"):
        data.Audit.load(tmp_path / "a", tmp_path / "b")


def test_copies_count_once(explainer, folder):
    cases = [Case(blob(True, 0), mask=LEFT, target="red", id=f"copy {n}") for n in range(20)]
    cases.append(Case(blob(False, 1), mask=LEFT, target="red"))
    audit = explainer.audit(cases, ["focus_within"])
    rate = audit.rate("focus_within")
    assert (rate.passed, rate.failed, rate.copies) == (1, 1, 19)
    assert len(audit.rows) == 21
    assert audit.mean("focus_within").count == 2


def test_sample_is_drawn_by_the_seed(explainer, dataset):
    drawn = [explainer.audit(dataset, ["overlap"], sample=10, seed=seed).rows for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 10
    with pytest.raises(HeatmapError, match="sample=0 cannot be used"):
        explainer.audit(dataset, sample=0)
    with pytest.raises(HeatmapError, match="there are no cases"):
        explainer.audit([])


def test_an_interrupted_audit_goes_on(explainer, dataset, tmp_path, monkeypatch):
    whole = explainer.audit(dataset, rows=tmp_path / "whole.jsonl").rows
    path, calls = tmp_path / "rows.jsonl", []
    made = worker.Worker._explained

    def once(self, prepared):
        calls.append([each.place for each in prepared])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return made(self, prepared)

    monkeypatch.setattr(worker.Worker, "_explained", once)
    with pytest.raises(KeyboardInterrupt):
        explainer.audit(dataset, rows=path)
    with path.open("ab") as file:
        file.write(b'{"place":32,"case":"torn')
    calls[:] = [[]] * 5
    assert explainer.audit(dataset, rows=path).rows == whole
    assert [places[0] for places in calls[5:]] == [0, 32]  # the last chunk anew, for comparison, and the rest
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_rows_of_another_audit_are_refused(explainer, dataset, tmp_path):
    path = tmp_path / "rows.jsonl"
    explainer.audit(dataset, rows=path)
    with pytest.raises(HeatmapError, match="holds the rows of another audit: another checks"):
        explainer.audit(dataset, ["overlap"], rows=path)
    Image.fromarray(blob(True, 77)).resize((SIDE * 2, SIDE * 2)).save(dataset[0].image)
    with pytest.raises(HeatmapError, match="another cases"):
        explainer.audit(dataset, rows=path)
    path.write_text("mine", "utf-8")
    with pytest.raises(HeatmapError, match="does not hold the rows of an audit"):
        explainer.audit(dataset, rows=path)


def test_another_preprocess_is_noticed(explainer, dataset, tmp_path):
    explainer.audit(dataset, rows=tmp_path / "rows.jsonl")
    other = Explainer(Colour().eval(), "features", preprocess=lambda i: to_tensor(i).flip(-1), classes=["red", "green"])
    with pytest.raises(HeatmapError, match="come out differently now"):
        other.audit(dataset, rows=tmp_path / "rows.jsonl")


@pytest.fixture
def own_lock(monkeypatch):
    """tqdm's lock is one that forked processes share: a child killed while it holds it would block all others.

    Set on the class that audits use as well, since another package may have given that one a lock of its own.
    """
    for bar in (tqdm, tqdm_of_audits):
        monkeypatch.setattr(bar, "_lock", threading.RLock(), raising=False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_and_resumed(explainer, tmp_path, own_lock):
    """Killed with -9 at three moments; `python -m benchmarks audit kill` does it twenty times at random ones."""
    cases = [Case(blob(n % 3 > 0, n), mask=LEFT, target="red", id=str(n)) for n in range(200)]
    whole, path = tmp_path / "whole.jsonl", tmp_path / "rows.jsonl"
    explainer.audit(cases, rows=whole)
    for grown in (1, 30_000, 60_000):
        if not (process := os.fork()):
            explainer.audit(cases, rows=path)
            os._exit(0)
        end = time.monotonic() + 30
        while time.monotonic() < end and (not path.exists() or path.stat().st_size < grown):
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    explainer.audit(cases, rows=path)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_processes_make_the_rows_once(explainer, tmp_path, own_lock):
    cases = [Case(blob(n % 3 > 0, n), mask=LEFT, target="red", id=str(n)) for n in range(200)]
    whole, path = tmp_path / "whole.jsonl", tmp_path / "rows.jsonl"
    explainer.audit(cases, rows=whole)
    if not (process := os.fork()):
        explainer.audit(cases, rows=path)
        os._exit(0)
    explainer.audit(cases, rows=path)
    assert os.waitpid(process, 0)[1] == 0
    assert path.read_bytes() == whole.read_bytes()


def test_tables(explainer, dataset, tmp_path):
    audit = explainer.audit(dataset, rows=tmp_path / "rows.jsonl")
    frame = audit.frame()
    assert len(frame) == 180
    assert set(frame["slice.site"]) == {"a", "b"}
    audit.to_csv(tmp_path / "rows.csv")
    assert len(pandas.read_csv(tmp_path / "rows.csv")) == 180
    loaded = data.Audit.load(tmp_path / "rows.jsonl")
    assert loaded.rows == audit.rows
    with pytest.raises(HeatmapError, match="loaded from its rows"):
        _ = loaded.model


def test_parquet(explainer, dataset, tmp_path):
    pytest.importorskip("pyarrow")
    audit = explainer.audit(dataset[:3])
    audit.to_parquet(tmp_path / "rows.parquet")
    assert pandas.read_parquet(tmp_path / "rows.parquet")["case"].tolist() == audit.frame()["case"].tolist()


def test_compare_pairs_by_image(explainer, dataset):
    strict, loose = (explainer.audit(dataset, {"focus_within": bound}) for bound in (0.9999, 0.5))
    found = strict.compare(loose, "focus_within")
    assert (found.better, found.unpaired) == (0, 0)
    assert found.worse + found.same == 60
    assert found.figures.value == 0
    with pytest.raises(HeatmapError, match="share no image"):
        explainer.audit(dataset[:30]).compare(explainer.audit(dataset[30:]), "focus_within")
    with pytest.raises(HeatmapError, match=r"check='overlap' is not in this audit"):
        strict.rate("overlap")
    with pytest.raises(HeatmapError, match="by='sit' is not a slice"):
        strict.rates("focus_within", by="sit")


def test_parts_are_one_data_set(explainer, dataset, tmp_path):
    """Audited in two jobs, one of which has some of the other's images as well: these count once."""
    whole = explainer.audit(dataset)
    explainer.audit(dataset[:35], rows=tmp_path / "1.jsonl")
    explainer.audit(dataset[30:], rows=tmp_path / "2.jsonl")
    found = data.Audit.load(tmp_path / "1.jsonl", tmp_path / "2.jsonl")
    assert found.rate("focus_within") == replace(whole.rate("focus_within"), copies=5)
    assert found.rates("focus_within", by="site")["a"].count == 30
    assert found.images == 65
    found.assert_rate("focus_within", at_least=0.5)
    explainer.audit(dataset[35:], {"focus_within": 0.9}, rows=tmp_path / "3.jsonl")
    with pytest.raises(HeatmapError, match=r"3\.jsonl holds the rows of another audit than .*1\.jsonl: another checks"):
        data.Audit.load(tmp_path / "1.jsonl", tmp_path / "3.jsonl")


def test_a_file_without_rows(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"audit": 99}), "utf-8")
    with pytest.raises(HeatmapError, match="it is of another version"):
        row_files.read(tmp_path / "a.json")
