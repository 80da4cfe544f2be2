"""Two runs compared: pairs, what counts as worse, the paired test, and the gate."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import compare


def record(figure=0.6, *, image="a.png", test="test_a.py::test_x", check="focus_within", bound=0.5, **others):
    direction = others.pop("direction", "at_least")
    if "outcome" not in others:
        holds = figure is not None and (figure >= bound if direction == "at_least" else figure <= bound)
        others["outcome"] = "invalid" if figure is None else "passed" if holds else "failed"
    return Record(
        check=check, measure=others.pop("measure", "relevance mass"), figure=figure, bound=bound, direction=direction,
        image=image, test=test, **others,
    )  # fmt: skip


def runs(old, new, **others):
    """Two runs of one test function on an image each per figure."""
    return tuple(
        [record(f, image=f"{i}.png", test=f"test_a.py::test_x[{i}]", **others) for i, f in enumerate(figures)]
        for figures in (old, new)
    )


def one(old, new):
    [pair] = compare.compare([old], [new]).pairs
    return pair


class TestLoss:
    @pytest.mark.parametrize(
        ("old", "new", "direction", "bound", "loss"),
        [
            (0.6, 0.55, "at_least", 0.5, 0.1),
            (0.6, 0.7, "at_least", 0.5, -0.2),
            (0.02, 0.08, "at_most", 0.1, 0.6),
            (0.08, 0.02, "at_most", 0.1, -0.6),
            (20, 24, "at_most", 16, 0.25),
            (0, 3, "at_most", 0, 3),
            (0.6, 0.6 + 1e-9, "at_least", 0.5, 0),
        ],
    )
    def test_is_the_move_to_the_wrong_side_in_parts_of_the_bound(self, old, new, direction, bound, loss):
        pair = one(record(old, direction=direction, bound=bound), record(new, direction=direction, bound=bound))
        assert pair.loss == pytest.approx(loss)

    def test_is_in_parts_of_the_old_bound(self):
        assert one(record(0.6), record(0.5, bound=0.1)).loss == pytest.approx(0.2)

    @pytest.mark.parametrize(
        "new",
        [
            record(None),
            record(0.6, measure="lift"),
            record(0.6, direction="at_most"),
            record(0.6, image="other.png"),
            record(0.6, target="dog"),
        ],
    )
    def test_is_unknown_where_something_else_was_measured(self, new):
        assert one(record(0.9), new).loss is None

    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.sampled_from(["at_least", "at_most"]))
    def test_is_the_opposite_the_other_way_round(self, old, new, bound, direction):
        a, b = (record(f, bound=bound, direction=direction) for f in (old, new))
        assert one(a, b).loss == -one(b, a).loss

    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.sampled_from(["at_least", "at_most"]))
    def test_a_check_that_breaks_has_a_loss(self, old, new, bound, direction):
        pair = one(*(record(f, bound=bound, direction=direction) for f in (old, new)))
        if pair.broke:
            assert pair.loss > 0 or abs(new - old) < 1e-5 * bound


class TestPairs:
    def test_each_check_meets_itself_in_any_order(self):
        parts = itertools.product(["test_a.py::t[1]", "test_b.py::t"], ["peak_within", "overlap"], ["cat", "dog"], "xy")
        records = [record(test=t, check=c, target=k, image=i) for t, c, k, i in parts]
        found = compare.compare(records, reversed(records))
        assert len(found.pairs) == len(records)
        assert all(pair.old is pair.new for pair in found.pairs)
        assert found.vanished == found.added == ()

    def test_those_alike_meet_in_the_order_of_the_test(self):
        old = [record(0.1 * n, number=n) for n in (1, 2, 3)]
        found = compare.compare(old, old[::-1])
        assert all(pair.old.number == pair.new.number for pair in found.pairs)

    def test_an_image_is_known_by_its_digest_or_else_by_its_files_name(self):
        assert one(record(image="/home/me/a.png"), record(image="C:\\ci\\a.png")).alike
        assert one(record(image="a.png", image_digest="1"), record(image="b.png", image_digest="1")).alike
        assert not one(record(image="a.png", image_digest="1"), record(image="a.png", image_digest="2")).alike

    def test_a_check_whose_prediction_changed_is_still_the_same_check(self):
        pair = one(record(0.9, target="cat"), record(0.1, target="dog"))
        assert pair.broke
        assert not pair.alike

    def test_what_only_one_run_has_is_told(self):
        found = compare.compare([record(), record(test="old")], [record(), record(test="new")])
        assert [r.test for r in found.vanished] == ["old"]
        assert [r.test for r in found.added] == ["new"]
        assert "1 checks compared; 1 of the old run were not made, 1 are new" in list(compare.lines(found))
        assert "  old focus_within (a.png)" in list(compare.lines(found))


class TestPairedTest:
    @settings(deadline=None)
    @given(st.lists(st.integers(-50, 50), min_size=6, max_size=8))
    def test_against_all_choices_of_signs(self, changes):
        """Against a count of our own; steps of 1/64 keep sums exact."""
        [group] = compare.compare(*runs([0.5] * len(changes), [0.5 - c / 64 for c in changes], bound=1)).groups
        changed = [c for c in changes if c]
        if len(changed) < compare.FEWEST:
            assert group.p_value is None
            return
        sums = [
            sum(s * c for s, c in zip(signs, changes, strict=True))
            for signs in itertools.product((1, -1), repeat=len(changes))
        ]
        tail = sum(s >= abs(sum(changes)) for s in sums) / len(sums)
        assert group.p_value == pytest.approx(min(1, 2 * tail))

    def test_is_undecided_for_few_images(self):
        [group] = compare.compare(*runs([0.9] * 5, [0.1] * 5)).groups
        assert group.p_value is None
        [group] = compare.compare(*runs([0.9] * 6, [0.1] * 6)).groups
        assert group.p_value == pytest.approx(2 / 64)

    def test_images_that_did_not_change_do_not_make_many_of_few(self):
        old, new = runs([0.9] * 40, [0.1] * 5 + [0.9] * 35)
        [group] = compare.compare(old, new).groups
        assert group.p_value is None

    def test_several_checks_of_one_image_are_one_image(self):
        old = [record(0.9, number=n) for n in range(20)]
        new = [record(0.1, number=n) for n in range(20)]
        [group] = compare.compare(old, new).groups
        assert len(group.losses) == 1
        assert group.p_value is None

    def test_many_images_are_tested_the_same_each_time(self):
        rng = np.random.default_rng(0)
        old, new = runs(0.7 + 0.1 * rng.random(60), 0.68 + 0.1 * rng.random(60))
        [group], [again] = (compare.compare(old, new).groups for _ in range(2))
        assert group.p_value == again.p_value
        [swapped] = compare.compare(new, old).groups
        assert group.loss == pytest.approx(-swapped.loss)


class TestGate:
    def test_a_fall_above_the_limit_and_none_at_it(self):
        found = compare.compare(*runs([0.75] * 3, [0.625] * 3))  # a quarter of the bound
        assert found.regressions(0.25) == ()
        [sentence] = found.regressions(0.24)
        assert sentence == (
            "test_a.py::test_x focus_within got worse by 25.0 % of its bound on average, 24.0 % are allowed"
        )

    def test_images_that_got_better_count_against_those_that_got_worse(self):
        assert compare.compare(*runs([0.7, 0.7], [0.6, 0.8])).regressions(0.05) == ()

    def test_functions_and_checks_do_not_make_up_for_each_other(self):
        old = [record(0.8), record(0.6, test="test_a.py::test_y"), record(0.6, check="overlap")]
        new = [record(0.6), record(0.8, test="test_a.py::test_y"), record(0.8, check="overlap")]
        assert len(compare.compare(old, new).regressions(0.05)) == 1

    @pytest.mark.parametrize("figure", [0.499, None])
    def test_what_passed_and_no_longer_does_is_always_one(self, figure):
        found = compare.compare([record(0.5)], [record(figure)])
        sentences = found.regressions(1.0)
        assert any("passed before and is" in s for s in sentences) or figure is None
        assert sentences
        assert any("1 passed before and do not now:" in line for line in compare.lines(found))

    def test_nothing_to_compare_is_no_pass(self):
        for old, new in (([], []), ([record()], []), ([], [record()]), ([record()], [record(image="b.png")])):
            [sentence] = compare.compare(old, new).regressions(0.05)
            assert "regressions are undecided" in sentence

    def test_what_was_bad_before_and_got_worse_is_one(self):
        assert compare.compare([record(0.4)], [record(0.3)]).regressions(0.05)


class TestUndecided:
    """What cannot be compared is said, also by a quiet run, and fails the gate."""

    KEPT = record(0.9, test="test_a.py::test_kept")

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ([record()], [], "was not made"),
            ([record()], [record(test="test_a.py::renamed")], "was not made"),
            ([record()], [record(2.0, measure="lift")], "is now on lift at_least, was on relevance mass at_least"),
            ([record()], [record(0.1, direction="at_most")], "is now on relevance mass at_most, was on"),
            ([record()], [record(image="b.png")], "is of another target or image: was a.png"),
            ([record(target="cat")], [record(target="dog")], "is of another target or image: was 'cat', a.png"),
            ([record(None, outcome="passed")], [record()], "is without a figure in one of the runs"),
        ],
    )
    def test_is_said_and_gates(self, old, new, said):
        found = compare.compare([*old, self.KEPT], [*new, self.KEPT])
        [sentence] = found.regressions(1.0)
        assert said in sentence
        assert sentence.endswith("so it is undecided")
        assert list(compare.lines(found, quiet=True))

    def test_what_did_not_pass_before_and_does_now_is_mended(self):
        found = compare.compare([record(None), self.KEPT], [record(), self.KEPT])
        assert found.regressions(0.05) == ()

    def test_a_test_that_broke_before_its_check_was_none(self):
        broken = record(None, check="test", measure="", bound=None)
        assert compare.compare([broken, self.KEPT], [self.KEPT]).regressions(0.05) == ()

    def test_a_quiet_run_with_nothing_to_tell_is_silent(self):
        assert list(compare.lines(compare.compare([record(0.6)], [record(0.7)]), quiet=True)) == []


class TestSeveralOldRuns:
    @pytest.mark.parametrize("turn", [1, -1])
    def test_each_check_is_compared_with_the_best_of_them(self, turn):
        bad, good = [record(0.1)], [record(0.9)]
        found = compare.compare_with_runs([bad, good][::turn], [record(0.1)])
        assert [pair.old.figure for pair in found.pairs] == [0.9]
        assert (found.repeated, found.vanished) == (1, ())
        assert any("passed before and is failed now" in sentence for sentence in found.regressions(0.05))
        assert "1 checks were made in several of the old runs" in next(compare.lines(found, quiet=True))

    def test_the_best_of_what_is_to_be_low_is_the_lowest(self):
        old = [[record(0.02, direction="at_most")], [record(0.3, direction="at_most")]]
        assert compare.compare_with_runs(old, [record(0.3, direction="at_most")]).pairs[0].old.figure == 0.02

    def test_parts_of_one_suite_are_compared_as_one(self):
        found = compare.compare_with_runs(
            [[record(test="a")], [record(test="b")]], [record(test="a"), record(test="b")]
        )
        assert (len(found.pairs), found.repeated, found.vanished) == (2, 0, ())


def test_the_lines_say_what_moved_and_by_how_much():
    old, new = runs([0.9, 0.9, 0.4, 0.7], [0.8, 0.3, 0.6, 0.7])
    better = [record(0.2, test="test_b.py::test_y", direction="at_most", target="cat")]
    best = [record(0.1, test="test_b.py::test_y", direction="at_most", target="cat", bound=0.8)]
    text = "\n".join(compare.lines(compare.compare(old + better, new + best)))
    assert text == (
        "5 checks compared; 0 of the old run were not made, 0 are new\n"
        "1 passed before and do not now:\n"
        "  test_a.py::test_x[1] focus_within (1.png): passed at 0.9, now failed at 0.3\n"
        "1 did not pass before and do now:\n"
        "  test_a.py::test_x[2] focus_within (2.png): failed at 0.4, now passed at 0.6\n"
        "1 have a looser bound than before:\n"
        "  test_b.py::test_y focus_within ('cat', a.png): at_most=0.8, was 0.5\n"
        "1 worse on average over the images:\n"
        "  test_a.py::test_x focus_within: worse by 25.0 % of its bound over 4 images (no p-value: 3 changed, 6 needed); "
        "most 0.9 to 0.3 on 1.png\n"
        "1 better on average over the images:\n"
        "  test_b.py::test_y focus_within: better by 20.0 % of its bound over 1 images (no p-value: 1 changed, 6 needed); "
        "most 0.2 to 0.1 on a.png"
    )


def test_long_lists_are_cut():
    old, new = runs([0.9] * 30, [0.1] * 30)
    assert "  ... and 20 more" in list(compare.lines(compare.compare(old, new)))


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("a.py::test_x[1-b]", "a.py::test_x"),
        ("a.py::TestX::test_x[a::b[c]]", "a.py::TestX::test_x"),
        ("a[1]/b.py::test_x", "a[1]/b.py::test_x"),
        ("a.py", "a.py"),
    ],
)
def test_the_function_of_a_test(test, name):
    assert compare.function(test) == name
