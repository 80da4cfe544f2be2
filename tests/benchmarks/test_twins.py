"""A sample of the trials that compare a form with its plain twin: no verdict differs, and what can be read is read."""

from collections import Counter

import pytest

from benchmarks import twins

pytest.importorskip("timm")


@pytest.mark.parametrize("kind", twins.KINDS)
def test_no_verdict_differs_from_that_of_the_plain_twin(kind):
    found = list(twins.trials(24, 7, [kind]))
    assert [trial for trial in found if trial.differs] == []
    outcomes = Counter(trial.outcome for trial in found)
    assert outcomes["same"] > len(found) / 5  # an order is undecided more often than not, as small sets are


def test_a_form_that_is_read_otherwise_is_found():
    trial = twins.Trial(
        "outputs", "x", 0, {"focus": "passed", "relies": "failed"}, {"focus": "failed", "relies": "undecided: why"}
    )
    assert trial.differs == ["focus"]
    assert trial.outcome == "differs"
