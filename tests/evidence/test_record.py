"""Records and messages."""

import json
import pickle

import pytest

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record

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
    target="Egyptian cat",
    target_index=285,
    score=9.312,
    probability=0.793,
    rank=1,
    classes=1000,
    predicted="Egyptian cat",
    predicted_index=285,
    model="EfficientNet (4.65 M parameters)",
    layer="_conv_head",
    method="gradcam",
    grid=(7, 7),
    view=(224, 224),
    image="chelsea.png",
    picture="gradcam-report/pictures/cat.png",
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
