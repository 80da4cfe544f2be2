"""What the checks on explanations make of their figures: passed or failed, and in which words."""

from dataclasses import replace

import pytest

from pytest_gradcam.checks.verdicts import Changes, Faithfulness, depends_on_weights, deterministic, faithful
from pytest_gradcam.evidence.record import Record

FAITHFUL = Record(
    check="faithful", measure="share of random orders beaten", bound=0.9, parameters={"orders": 20}, target="red"
)
WEIGHTS = Record(check="depends_on_weights", measure="similarity", bound=0.5, direction="at_most")
SAME = Record(check="deterministic", measure="change of the heatmap", bound=1e-3, direction="at_most")


def faith(total):
    return Faithfulness(deletion=0.5, insertion=0.5 + 3 * total, road=0.0)


class TestFaithful:
    def test_the_bound_itself_passes_and_below_it_fails(self):
        others = [faith(0.1)] * 18 + [faith(0.3)] * 2
        assert faithful(FAITHFUL, faith(0.2), others).outcome == "passed"
        others[0] = faith(0.3)
        failed = faithful(FAITHFUL, faith(0.2), others)
        assert (failed.outcome, failed.figure) == ("failed", 0.85)

    def test_a_tie_counts_half(self):
        assert faithful(FAITHFUL, faith(0.2), [faith(0.2)] * 20).figure == 0.5
        assert faithful(FAITHFUL, faith(0.2), [faith(0.2)] * 2 + [faith(0.1)] * 18).figure == 0.95

    def test_each_figure_counts_in_its_own_direction(self):
        assert Faithfulness(0.2, 0.8, 0.3).total == pytest.approx(0.3)
        for better, worse in [((0.1, 0.5, 0), (0.2, 0.5, 0)), ((0, 0.6, 0), (0, 0.5, 0)), ((0, 0, 0.2), (0, 0, 0.1))]:
            assert Faithfulness(*better).total > Faithfulness(*worse).total

    def test_details_give_the_median_of_the_others(self):
        record = faithful(FAITHFUL, Faithfulness(0.1, 0.9, 0.2), [Faithfulness(x, x, x) for x in (0.3, 0.4, 0.9)])
        assert record.details == (
            ("deletion", "0.100, random orders 0.400 (lower is better)"),
            ("insertion", "0.900, random orders 0.400 (higher is better)"),
            ("ROAD", "0.200, random orders 0.400 (higher is better)"),
        )


class TestDependsOnWeights:
    def test_it_is_the_mean_over_draws_and_stages(self):
        record = depends_on_weights(WEIGHTS, [[0.9, 0.1], [0.5, 0.3]])
        assert (record.figure, record.outcome) == (pytest.approx(0.45), "passed")
        assert dict(record.details) == {"draws": "2, from 0.40 to 0.50", "stages": "0.70, 0.20"}

    def test_the_bound_itself_passes_and_above_it_fails(self):
        assert depends_on_weights(WEIGHTS, [[0.5], [0.5]]).outcome == "passed"
        assert depends_on_weights(WEIGHTS, [[0.5], [0.5 + 1e-9]]).outcome == "failed"

    def test_opposite_maps_are_not_alike(self):
        assert depends_on_weights(WEIGHTS, [[-1.0], [-0.9]]).outcome == "passed"


class TestDeterministic:
    @pytest.mark.parametrize(
        ("changes", "exact", "outcome", "figure", "bound"),
        [
            (Changes(0, 0, 0, 3), True, "passed", 0, 1e-3),
            (Changes(0, 0, 1e-3, 3), True, "passed", 1e-3, 1e-3),
            (Changes(0, 0, 1.1e-3, 3), True, "failed", 1.1e-3, 1e-3),
            (Changes(0, 1e-9, 0, 3), True, "failed", 1e-9, 0),
            (Changes(0, 1e-9, 0, 3), False, "passed", 0, 1e-3),
            (Changes(0, 1.1e-3, 0, 3), False, "failed", 1.1e-3, 1e-3),
            (Changes(1e-9, 0, 0, 3), False, "failed", 1e-9, 0),
            (Changes(0.5, 0.1, 0.2, 3), True, "failed", 0.5, 0),
        ],
    )
    def test_each_stage_has_its_bound(self, changes, exact, outcome, figure, bound):
        record = deterministic(SAME, changes, exact=exact)
        assert (record.outcome, record.figure, record.bound) == (outcome, figure, bound)
        assert "a verdict on a heatmap that changes is chance" in record.advice


def parts(record):
    return record.outcome, record.figure, record.bound, record.finding, record.details, record.advice


def test_the_whole_of_a_verdict_on_faithfulness():
    """To the letter: the sentence is what a user reads first, the advice what they do next."""
    own, others = Faithfulness(0.1, 0.9, 0.2), [Faithfulness(0.3, 0.4, 0.1)] * 12 + [own_better()] * 8
    assert parts(faithful(FAITHFUL, own, others)) == (
        "failed",
        0.6,
        0.9,
        "the heatmap's order of pixels moves the score of 'red' more than 12 of 20 random orders do, 60.0 %; "
        "expected at least 90.0 %",
        (
            ("deletion", "0.100, random orders 0.300 (lower is better)"),
            ("insertion", "0.900, random orders 0.400 (higher is better)"),
            ("ROAD", "0.200, random orders 0.100 (higher is better)"),
        ),
        "look at the picture; the map does not say what this score depends on: choose another layer or method "
        "(hirescam, layercam), and rest no verdict on this one",
    )


def own_better():
    return Faithfulness(0.0, 1.0, 0.5)


def test_a_target_without_a_name_is_left_out_and_a_near_miss_reads_as_one():
    others = [faith(0.1)] * 17999 + [faith(0.3)] * 2001
    record = faithful(replace(FAITHFUL, target=""), faith(0.2), others)
    assert record.finding == (
        "the heatmap's order of pixels moves the score more than 17999 of 20000 random orders do, 89.995 %; "
        "expected at least 90.000 %"
    )


def test_the_whole_of_a_verdict_on_weights():
    assert parts(depends_on_weights(WEIGHTS, [[0.5], [0.75]])) == (
        "failed",
        0.625,
        0.5,
        "with the weights redrawn the heatmap still has a rank correlation of 0.625 with what it was; expected at most 0.5",
        (("draws", "2, from 0.50 to 0.75"),),
        "look at the picture; this map shows the picture rather than what the model learnt from it: use another "
        "method (gradcam, hirescam) or layer, and rest no verdict on this one",
    )


def test_the_whole_of_a_verdict_on_weights_in_stages():
    record = depends_on_weights(WEIGHTS, [[0.5, 1.0, 0.0], [0.75, 1.0, 0.25]])
    assert parts(record)[3:5] == (
        "with the weights redrawn after each of 3 stages from the top the heatmap still has a rank correlation of 0.583 "
        "with what it was; expected at most 0.5",
        (("draws", "2, from 0.50 to 0.67"), ("stages", "0.62, 1.00, 0.12")),
    )


def test_a_figure_just_over_the_bound_on_weights_reads_as_over_it():
    assert "correlation of 0.5001 with" in depends_on_weights(WEIGHTS, [[0.5001]]).finding


CHANGED = (
    ("repeated", "0.25 of the maximum, 3 runs under other random states"),
    ("batched", "0.5 of the maximum, beside flips of the image"),
)
CHANCE = "; a verdict on a heatmap that changes is chance"


def test_the_whole_of_a_verdict_on_a_heatmap_that_is_the_same():
    record = deterministic(SAME, Changes(0, 0, 1e-4, 3), exact=True)
    assert parts(record) == (
        "passed",
        1e-4,
        1e-3,
        "the heatmap changes beside other images in a batch by 0.0001 of its maximum; expected at most 0.001",
        (
            ("repeated", "0 of the maximum, 3 runs under other random states"),
            ("batched", "0.0001 of the maximum, beside flips of the image"),
        ),
        "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1" + CHANCE,
    )


@pytest.mark.parametrize(
    ("changes", "exact", "finding", "advice"),
    [
        (
            Changes(0.125, 0.25, 0.5, 3),
            True,
            "the preprocess gives another input by 0.125 of its maximum; expected none",
            "seed it or leave what is random out",
        ),
        (
            Changes(0, 0.25, 0.5, 3),
            True,
            "the heatmap changes from one run to the next by 0.25 of its maximum; expected none",
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        ),
        (
            Changes(0, 0.25, 0.5, 3),
            False,
            "the heatmap changes from one run to the next by 0.25 of its maximum; expected at most 0.001",
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        ),
        (
            Changes(0, 0, 0.5, 3),
            True,
            "the heatmap changes beside other images in a batch by 0.5 of its maximum; expected at most 0.001",
            "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1",
        ),
    ],
)
def test_the_whole_of_a_verdict_on_a_heatmap_that_changes(changes, exact, finding, advice):
    record = deterministic(SAME, changes, exact=exact)
    assert (record.outcome, record.finding, record.advice) == ("failed", finding, advice + CHANCE)
    assert record.details[1] == CHANGED[1]
    assert record.details[0] == (CHANGED[0] if changes.repeated else ("repeated", CHANGED[0][1].replace("0.25", "0")))


def test_a_figure_just_over_the_bound_on_a_batch_reads_as_over_it():
    assert "by 0.0010001 of" in deterministic(SAME, Changes(0, 0, 0.0010001, 3), exact=True).finding


def test_a_deterministic_check_without_a_bound_is_a_mistake_of_ours():
    for check, run in (
        (FAITHFUL, lambda c: faithful(c, faith(0.1), [faith(0)])),
        (WEIGHTS, lambda c: depends_on_weights(c, [[0.1]])),
        (SAME, lambda c: deterministic(c, Changes(0, 0, 0, 3), exact=True)),
    ):
        with pytest.raises(AssertionError):
            run(replace(check, bound=None))


def test_a_bound_reads_with_as_many_digits_as_it_takes_to_tell_it_from_the_figure():
    weights = depends_on_weights(replace(WEIGHTS, bound=0.50014), [[0.50016]])
    assert weights.finding.endswith("correlation of 0.5002 with what it was; expected at most 0.5001")
    batch = deterministic(replace(SAME, bound=0.0010014), Changes(0, 0, 0.0010016, 3), exact=True)
    assert batch.finding.endswith("by 0.001002 of its maximum; expected at most 0.001001")
