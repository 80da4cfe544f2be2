"""Bounds proposed from a known-good run: by hand, as a property, and each way in which there is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gradcam.checks import criteria, margins
from pytest_gradcam.cli import main
from pytest_gradcam.evidence import bounds
from pytest_gradcam.evidence.bounds import DISTANCE, LIFT
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run, calibrate, write


def record(figure, *, test="test_a.py::test_x", check="focus_within", direction="at_least", **others):
    measure = others.pop("measure", "relevance mass")
    others = {"bound": 0.5, "outcome": "passed"} | others
    return Record(check=check, measure=measure, figure=figure, direction=direction, test=test, **others)


def propose(*records, **others):
    [proposal] = calibrate.propose(records, **others)
    return proposal


@pytest.mark.parametrize(
    ("figures", "others", "text"),
    [
        ([0.8] * 10, {}, "at_least=0.72"),  # a tenth
        ([0.4, 0.8] * 5, {}, "at_least=0.29"),  # of the worst figure; where images differ, half of the spread
        ([0.05] * 10, {}, "at_least=0.04"),  # at least 0.01
        ([0.02] * 10, {"direction": "at_most", "check": "focus_avoids"}, "at_most=0.03"),
        ([0.123] * 10, {"direction": "at_most"}, "at_most=0.14"),
        ([3.0] * 10, {"check": "peak_within", "measure": DISTANCE, "direction": "at_most"}, "tolerance=4"),
        ([0.0] * 10, {"check": "peak_within", "measure": DISTANCE, "direction": "at_most"}, "tolerance=1"),
        ([40.0] * 10, {"check": "peak_within", "measure": DISTANCE, "direction": "at_most"}, "tolerance=44"),
        ([2.0] * 10, {"measure": "lift"}, "at_least=masks.lift(1.8)"),
        ([2.0] * 10, {"measure": "lift", "direction": "at_most"}, "at_most=masks.lift(2.2)"),
        ([0.008] * 10, {}, "no bound"),
        ([0.95] * 10, {"direction": "at_most"}, "no bound"),
    ],
)
def test_by_hand(figures, others, text):
    assert propose(*(record(f, **others) for f in figures)).text == text


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20), st.sampled_from(["at_least", "at_most"]))
def test_the_run_that_it_rests_on_keeps_the_bound_by_the_margin(figures, direction):
    proposal = propose(*(record(f, direction=direction) for f in figures))
    if proposal.bound is None:
        return
    assert 0 < proposal.bound < 1
    worst = min(figures) if direction == "at_least" else max(figures)
    room = worst - proposal.bound if direction == "at_least" else proposal.bound - worst
    if "the check's default" in " ".join(proposal.notes):  # it is kept, if by less
        assert proposal.bound == 0.5
        assert room >= 0
        return
    assert room >= proposal.margin * (1 - 1e-6)
    assert room <= proposal.margin + 0.1 * max(proposal.bound, 0.01)


def test_one_for_each_check_of_each_function():
    proposals = calibrate.propose(
        [
            *(record(0.8, test=f"test_a.py::test_x[{i}]") for i in range(12)),
            record(0.5, check="overlap", measure="IoU"),
            record(0.6, test="test_a.py::test_y"),
        ]
    )
    assert sorted((p.test, p.check, len(p.figures)) for p in proposals) == [
        ("test_a.py::test_x", "focus_within", 12),
        ("test_a.py::test_x", "overlap", 1),
        ("test_a.py::test_y", "focus_within", 1),
    ]
    text = "\n".join(calibrate.lines(proposals))
    assert "test_a.py::test_x\n  focus_within       at_least=0.72            12 figures 0.8, margin 0.08\n" in text
    assert "no bound                 1 figures 0.5" in text
    assert "one figure does not show how far figures differ, so no bound can rest on it" in text
    assert text.endswith("and 0.01 (distances: 1 px)")


def test_what_did_not_pass_is_left_out_and_counted():
    run = [record(0.8), record(0.1, outcome="failed"), record(None, outcome="no evidence")]
    proposal = propose(*run)
    assert proposal.figures == (0.8,)
    assert proposal.left_out == 2
    assert "taken: 1 checks with a figure; left out: 2 that did not pass or have none" in list(
        calibrate.lines([proposal])
    )
    assert propose(*run, take_failed=True).figures == (0.8, 0.1)


def test_a_run_in_which_all_failed_says_how_to_take_them():
    with pytest.raises(ValueError, match="2 failed with one: if their pictures .* pass --take-failed"):
        calibrate.propose([record(0.3, outcome="failed"), record(0.4, outcome="failed")])


def test_share_and_lift_are_proposed_together():
    run = [record(mass, mass=mass, lift=mass / 0.2, mask_area=0.2) for mass in (0.7, 0.8, 0.9)]
    assert propose(*run).text == "at_least=0.63"
    assert propose(*run).other == "at_least=masks.lift(3.1)"
    lifted = [record(one.lift, measure=LIFT, mass=one.mass, lift=one.lift, mask_area=0.2) for one in run]
    assert propose(*lifted).text == "at_least=masks.lift(3.1)"
    assert propose(*lifted).other == "at_least=0.63"


def test_a_default_that_the_figures_keep_is_not_undercut():
    proposal = propose(*[record(0.52)] * 10)
    assert proposal.text == "at_least=0.5"
    assert "the check's default, which the figures meet by less than the margin" in proposal.notes
    exact = propose(record(0.0, check="deterministic", measure="difference", direction="at_most"))
    assert exact.text == "at_most=0.001"


@pytest.mark.parametrize("check", calibrate.CALLS)
def test_the_line_to_paste_is_a_call_that_exists(check):
    import ast
    import inspect

    from pytest_gradcam import Explainer, Heatmap

    call = ast.parse(calibrate.CALLS[check].format("at_least=0.5")).body[0].value
    owner = {"heatmap": Heatmap, "gradcam": Explainer}[call.func.value.id]
    parameters = list(inspect.signature(getattr(owner, call.func.attr)).parameters.values())[1:]
    required = [one.name for one in parameters if one.default is one.empty]
    assert [argument.id for argument in call.args] == required


@pytest.mark.parametrize("run", [[], [record(None)], [record(0.5, bound=None)]])
def test_a_run_without_figures_is_refused(run):
    with pytest.raises(ValueError, match="nothing to base a bound on"):
        calibrate.propose(run)


@pytest.mark.parametrize(
    ("kind", "figure", "text"),
    [
        (criteria.ScoreWithin, 0.1, "score_within=0.11"),
        (criteria.MassAtLeast, 0.8, "mass_at_least=0.72"),
        (criteria.LiftAtLeast, 2.0, "mass_at_least=masks.lift(1.8)"),
        (criteria.SimilarityAtLeast, 0.9, "similarity_at_least=0.81"),
    ],
)
def test_what_survives_a_perturbation_has_an_argument_of_its_own(kind, figure, text):
    """The argument is one that assert_stable takes, and the bound one that it can break."""
    proposal = propose(*[record(figure, check="stable", measure=kind.measure, direction=kind.direction)] * 2)
    assert proposal.text == text
    name, _, value = text.partition("=")
    arguments = dict.fromkeys(["score_within", "mass_at_least", "similarity_at_least"])
    arguments[name] = bounds.lift(1.8) if "lift" in value else float(value)
    assert criteria.Bounds(same_class=False, **arguments).criteria(mask=True)


def test_a_class_that_is_kept_has_no_bound_to_propose():
    with pytest.raises(ValueError, match="nothing to base a bound on"):
        calibrate.propose([record(1.0, check="stable", measure=criteria.SameClass.measure)])


@given(st.floats(-1, 3), st.sampled_from(["at_least", "at_most"]), st.sampled_from(["a share", "fall of the margin"]))
def test_every_bound_is_one_that_the_check_takes(figure, direction, measure):
    proposal = propose(record(figure, direction=direction, measure=measure, check="ignores"))
    if proposal.bound is None:
        return
    if measure == "fall of the margin":
        assert margins.margin_bound(direction, proposal.bound) == proposal.bound
    else:
        assert bounds.share(direction, proposal.bound, what="it") == proposal.bound


def test_no_lift_is_proposed_that_every_heatmap_keeps():
    run = [record(1.9, measure=LIFT, direction="at_most", mask_area=area) for area in (0.1, 0.5)]
    assert propose(*run).bound is None
    assert propose(run[0], run[0]).bound == 2.1


def test_a_bound_that_is_looser_than_the_default_says_so():
    assert any("looser than the default, 0.5" in note for note in propose(*[record(0.4, outcome="passed")] * 2).notes)
    assert not any("looser" in note for note in propose(record(0.9)).notes)


def test_the_defaults_are_those_of_the_checks():
    import inspect

    from pytest_gradcam import Explainer, Heatmap

    for check, default in calibrate.DEFAULTS.items():
        assertion = getattr(Heatmap, f"assert_{check}", None) or getattr(Explainer, f"assert_{check}")
        parameters = inspect.signature(assertion).parameters
        assert default in [parameters[name].default for name in ("at_least", "at_most") if name in parameters], check


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"ended": ""}, "the run did not end"),
        ({"tests": {"interrupted": 1}}, "of the tests 1 interrupted"),
        ({"tests": {"crashed": 1, "not run": 2}}, "of the tests 1 crashed, 2 not run"),
        ({"exit_status": 2}, "pytest stopped early, with exit status 2"),
    ],
)
def test_a_run_that_is_not_whole_is_no_ground(tmp_path, capsys, about, reason):
    run = Run(id="1", **{"ended": "2026", "checks": (record(0.8),)} | about)
    write.write(Report((run,)), tmp_path)
    assert main(["calibrate", str(tmp_path)]) == 2
    assert f"may be missing ({reason})" in capsys.readouterr().err


def test_a_bound_that_chance_would_keep_says_so():
    run = [record(0.9, mask_area=area) for area in (0.1, 0.82, 0.9)]
    assert any("on 2 of 3 masks, which are large, chance alone would meet it" in note for note in propose(*run).notes)
    assert not any("chance" in note for note in propose(record(0.9, mask_area=0.5)).notes)


def test_the_command(tmp_path, capsys):
    run = Run(id="1", ended="2026", checks=tuple(record(0.8, test=f"test_a.py::test_x[{i}]") for i in range(10)))
    write.write(Report((run,)), tmp_path)
    assert main(["calibrate", str(tmp_path / "evidence.json")]) == 0
    assert "  focus_within       at_least=0.72            10 figures 0.8, margin 0.08\n" in capsys.readouterr().out

    write.write(Report((Run(id="1", ended="2026", checks=(record(0.4, outcome="failed"), record(0.008))),)), tmp_path)
    assert main(["calibrate", str(tmp_path)]) == 1
    assert "no bound" in capsys.readouterr().out
    assert main(["calibrate", str(tmp_path), "--json"]) == 1
    [proposal] = json.loads(capsys.readouterr().out)
    assert (proposal["bound"], proposal["left_out"], proposal["line"]) == (None, 1, "")
