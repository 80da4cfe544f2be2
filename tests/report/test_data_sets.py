"""The part of the page on whole data sets."""

from dataclasses import replace

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run
from pytest_gradcam.report.data_sets import data_sets
from pytest_gradcam.report.page import render

RATE = Record(
    check="rate",
    measure="rate of images that pass",
    outcome="failed",
    figure=0.7,
    bound=0.9,
    finding="focus_within passes on 70.0 % of 60 images; expected at least 90.0 %",
    details=(("data set", "photos: 60 images"), ("site", "a: 40.0 % of 30 images"), ("worst", "b 1 (0.1)")),
    picture="pictures/rate.png",
    test="test_a",
    number=1,
)
SINGLE = Record(check="overlap", measure="IoU", outcome="passed", figure=0.4, bound=0.3, test="test_b", number=1)
RUN = Run(id="1", started="2026-01-02T03:04:05+00:00", ended="2026-01-02T03:05:05+00:00", exit_status=0)


def test_each_data_set_has_one_part():
    other = replace(RATE, details=(("data set", "night: 9 images"),), outcome="no evidence")
    found = data_sets([RATE, SINGLE, other, replace(RATE, outcome="passed")])
    assert [(one.name, [verdict.css for verdict in one.verdicts]) for one in found] == [
        ("night: 9 images", ["no-evidence"]),
        ("photos: 60 images", ["failed", "passed"]),
    ]
    assert found[1].verdicts[0].rows == (("site", "a: 40.0 % of 30 images"), ("worst", "b 1 (0.1)"))


def test_the_page_has_it_where_there_is_one():
    text = render(Report((replace(RUN, checks=(RATE, SINGLE)),)))
    section = text[text.index('<section id="data-sets"') :].partition("</section>")[0]
    for each in (
        "photos: 60 images",
        "focus_within passes on 70.0 %",
        "<dt>site</dt><dd>a: 40.0 %",
        'href="pictures/rate.png"',
    ):
        assert each in section
    assert "overlap" not in section
    assert 'id="data-sets"' not in render(Report((replace(RUN, checks=(SINGLE,)),)))
