"""Records and messages."""

import json
import math
import pickle
from dataclasses import asdict, replace
from pathlib import PurePosixPath

import numpy as np
import pytest

from pytest_gradcam import FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.evidence.record import VERSION, Record
from tests.conftest import ABOUT

FAILED = Record(
    check="focus_within",
    measure="relevance mass",
    outcome="failed",
    figure=0.2314,
    bound=0.5,
    mask_area=0.1,
    mass=0.2314,
    lift=2.314,
    peak=(12, 200),
    peaks=1,
    grid=(7, 7),
    view=(224, 224),
    picture="gradcam-report/pictures/cat.png",
    **asdict(ABOUT),
)


def test_a_record_survives_json_and_pickle():
    plain = FAILED.to_plain()
    assert Record.from_plain(json.loads(json.dumps(plain))) == FAILED
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_a_check_of_another_kind_brings_its_own_sentence_details_and_advice():
    record = Record(
        check="ignores",
        measure="fall of the margin",
        outcome="failed",
        figure=0.62,
        bound=0.4,
        direction="at_most",
        finding="replacing the mask takes 0.62 of the usual margin; expected at most 0.4",
        details=(("fills", "mean colour 0.62, blur 0.58"), ("control", "0.03 at the same size elsewhere")),
        advice="look at the picture; the model uses these pixels",
    )
    assert Record.from_plain(json.loads(json.dumps(record.to_plain()))) == record
    assert messages.failure(record) == (
        "replacing the mask takes 0.62 of the usual margin; expected at most 0.4\n"
        "  fills      mean colour 0.62, blur 0.58\n"
        "  control    0.03 at the same size elsewhere\n"
        "  try        look at the picture; the model uses these pixels"
    )


def test_a_record_is_built_ins_only():
    def kinds(value):
        if isinstance(value, dict):
            return {dict}.union(*map(kinds, value.values()))
        if isinstance(value, list):
            return {list}.union(*map(kinds, value))
        return {type(value)}

    assert kinds(FAILED.to_plain()) <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("share", "unlike", "text"), [(0.5, None, "50.0 %"), (0.49996, 0.5, "49.996 %"), (0.5, 0.5, "50.0 %")]
)
def test_a_figure_never_reads_like_the_bound_it_missed(share, unlike, text):
    assert messages.percent(share, unlike=unlike) == text


CHECK = Record(check="overlap", measure="IoU", bound=0.5)


class Photographer:
    """A test whose records get a picture."""

    def keep(self, record, draw):
        return replace(record, picture="overlap.png")


def draw(record):
    raise AssertionError("where no test is running, nothing is drawn")


@pytest.fixture
def no_test():
    with running(None):
        yield


class TestVersions:
    def test_a_record_of_a_later_version_is_refused(self):
        with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message follows
            Record.from_plain({"check": "overlap", "measure": "IoU", "version": VERSION + 1})
        assert str(caught.value) == (
            f"a record of version {VERSION + 1} is newer than this package, which reads up to {VERSION}"
        )

    @pytest.mark.parametrize("version", [{}, {"version": 1}, {"version": VERSION}])
    def test_an_earlier_one_is_read_as_one_of_today(self, version):
        plain = {
            "check": "overlap",
            "measure": "IoU",
            "given up": 3,
            "grid": [7, 7],
            "details": [["a", "b"]],
            **version,
        }
        assert Record.from_plain(plain) == Record(
            check="overlap", measure="IoU", grid=(7, 7), details=(("a", "b"),), version=VERSION
        )


class TestPlain:
    def plain(self, value):
        return Record(check="overlap", measure="IoU", parameters=value).to_plain()["parameters"]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
    def test_what_json_cannot_hold_is_none(self, value):
        assert self.plain(value) is None
        assert self.plain({"a": [value]}) == {"a": [None]}

    @pytest.mark.parametrize("value", [None, True, 3, 0.5, "word"])
    def test_built_ins_are_themselves(self, value):
        found = self.plain(value)
        assert found is value

    def test_the_rest_is_made_of_built_ins(self):
        found = self.plain(
            {1: np.float32(0.5), "b": (np.int64(2), np.bool_(True)), "c": np.eye(2), "d": PurePosixPath("e")}
        )
        assert found == {"1": 0.5, "b": [2, True], "c": [[1.0, 0.0], [0.0, 1.0]], "d": "e"}
        assert json.dumps(found) == '{"1": 0.5, "b": [2, true], "c": [[1.0, 0.0], [0.0, 1.0]], "d": "e"}'

    def test_a_subclass_of_a_built_in_is_no_built_in(self):
        class Share(float):
            pass

        assert type(self.plain(Share(0.5))) is str


class TestUndecided:
    def test_its_figure_is_gone_and_its_bound_stays(self):
        record = settle.undecided(replace(CHECK, outcome="passed", figure=0.9), HeatmapError("no mask"))
        assert (record.outcome, record.figure, record.bound, record.reason) == ("invalid", None, 0.5, "no mask")

    @pytest.mark.parametrize("bound", [math.nan, math.inf, True, "0.5", None, [0.5], np.float64(0.5)])
    def test_a_bound_that_no_record_can_carry_is_none(self, bound):
        assert settle.undecided(replace(CHECK, bound=bound), HeatmapError("no")).bound is None

    def test_a_bound_may_be_a_whole_number(self):
        assert settle.undecided(replace(CHECK, bound=0), HeatmapError("no")).bound == 0

    def test_no_evidence_is_told_from_what_is_invalid(self):
        assert settle.undecided(CHECK, NoEvidenceError("zero")).outcome == "no evidence"
        assert settle.undecided(CHECK, HeatmapError("zero")).outcome == "invalid"


@pytest.mark.usefixtures("no_test")
class TestSettled:
    def test_what_passed_raises_nothing(self):
        settle.settle(replace(CHECK, outcome="passed", figure=0.6), draw)

    def test_what_failed_raises_its_whole_message(self):
        record = replace(CHECK, outcome="failed", figure=0.4)
        with pytest.raises(FocusError) as caught:
            settle.settle(record, draw)
        assert str(caught.value) == messages.failure(record)

    @pytest.mark.parametrize(("outcome", "error"), [("no evidence", NoEvidenceError), ("invalid", HeatmapError)])
    def test_what_has_no_verdict_raises_no_assertion(self, outcome, error):
        record = replace(CHECK, outcome=outcome, reason="nothing there")
        with pytest.raises(error) as caught:
            settle.settle(record, draw)
        assert type(caught.value) is error
        assert str(caught.value) == "no verdict on overlap: nothing there"

    def test_a_record_is_not_decided_until_something_decides_it(self):
        with pytest.raises(HeatmapError):
            settle.settle(CHECK, draw)

    def test_the_message_is_that_of_the_record_that_was_kept(self):
        with running(Photographer()), pytest.raises(FocusError, match="\n  picture    overlap.png\n"):
            settle.settle(replace(CHECK, outcome="failed", figure=0.4), draw)

    def test_a_judged_check_is_handed_back(self):
        passed = replace(CHECK, outcome="passed", figure=0.6)
        assert settle.judge(CHECK, lambda check: passed, draw) is passed

    def test_another_error_is_nobodys_verdict(self):
        def measure(check):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            settle.judge(CHECK, measure, draw)
