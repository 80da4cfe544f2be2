"""What the checks on explanations make of their figures: passed or failed, and in which words."""

import pytest

from pytest_gradcam.evidence import Record
from pytest_gradcam.verdicts import Changes, Faithfulness, depends_on_weights, deterministic, faithful

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
