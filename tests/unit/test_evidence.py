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


def test_the_whole_message_of_a_failure():
    assert messages.failure(FAILED) == (
        "23.1 % of the attention for 'Egyptian cat' lies inside the mask; expected at least 50.0 %\n"
        "  attention  23.1 % of the relevance mass on 10.0 % of the view, lift 2.31 (1 is chance)\n"
        "  target     'Egyptian cat' (285): score 9.312, rank 1 of 1000, softmax 0.793\n"
        "  peak       x 12, y 200 in the view\n"
        "  layer      _conv_head, grid 7 x 7 on a view of 224 x 224 px, method gradcam\n"
        "  model      EfficientNet (4.65 M parameters)\n"
        "  image      chelsea.png\n"
        "  picture    gradcam-report/pictures/cat.png\n"
        "  try        look at the picture; the attention does favour the mask (lift 2.3): if its outline is right, "
        "a mask of this size may need a lower bound, or a target layer with a finer grid"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"lift": 0.8}, "gradcam.assert_relies_on(image, mask) says whether the prediction hangs on these pixels"),
        ({"check": "peak_within", "direction": "at_most", "lift": 0.3}, "gradcam.assert_relies_on(image, mask) says"),
        ({"check": "focus_avoids", "direction": "at_most"}, "gradcam.assert_ignores(image, mask) says whether"),
        (
            {"check": "focus_avoids", "direction": "at_most", "lift": 0.431},
            "look at the picture; the attention does keep off the mask (lift 0.43): if its outline is right, a mask of "
            "10.0 % of the view may need a higher bound, or a lift: at_most=masks.lift(0.5)",
        ),
        ({"lift": 0.8, "target_index": None}, "change these pixels and see whether the prediction follows them"),
    ],
)
def test_the_advice_follows_from_the_figures(changes, text):
    from dataclasses import replace

    assert text in messages.advice(replace(FAILED, **changes))


@pytest.mark.parametrize(
    ("share", "unlike", "text"), [(0.5, None, "50.0 %"), (0.49996, 0.5, "49.996 %"), (0.5, 0.5, "50.0 %")]
)
def test_a_figure_never_reads_like_the_bound_it_missed(share, unlike, text):
    assert messages.percent(share, unlike=unlike) == text


def test_the_title_of_a_picture_says_the_verdict_once():
    from dataclasses import replace

    assert messages.title(FAILED).startswith("focus_within failed: 23.1 % of the attention for 'Egyptian cat' lies")
    undecided = replace(FAILED, outcome="invalid", figure=None, reason="the mask is empty")
    assert messages.title(undecided) == "no verdict on focus_within: the mask is empty"


def test_a_wrong_prediction_is_said_and_leads_the_advice():
    from dataclasses import replace

    wrong = replace(FAILED, rank=3, predicted="tabby", predicted_index=281)
    text = messages.failure(wrong)
    assert "  prediction the model predicts 'tabby' (281)\n" in text
    assert "the model predicts 'tabby', so settle the prediction first" in text
