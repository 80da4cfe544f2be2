"""What exchanged pixels change, from figures alone: against closed forms, and against draws whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_gradcam.checks.exchange import LEAST_MARGIN, Difference, Exchange, Row, costs, normal


def exchange(predicted, pairs, flipped):
    """Pairs (receiver, donor) that lose the image's whole lead, twice, or nothing."""
    to, donor = np.array(pairs).T
    return Exchange(np.array(predicted), np.ones(len(predicted)), to, donor, np.where(flipped, 2.0, 0.0))


def every_pair(predicted):
    return [(i, j) for i in range(len(predicted)) for j in range(len(predicted)) if i != j]


def test_the_difference_weighs_every_image_and_each_of_its_donor_classes_alike():
    # Image 0 receives two patches of class 1 (one flips) and one of class 2 (flips): 0.75. Image 1 receives one: none flips.
    found = exchange([0, 0, 1, 1, 2], [(0, 2), (0, 3), (0, 4), (1, 2)], [True, False, True, False])
    assert found.flips.mean == pytest.approx((0.75 + 0) / 2)
    assert (found.flips.receivers, found.flips.donors) == (2, 3)


def test_the_own_class_is_the_yardstick_and_only_of_images_that_received_something():
    pairs = [(0, 2), (1, 2), (0, 1), (1, 0), (2, 3)]
    found = exchange([0, 0, 1, 1], pairs, [True, True, True, False, True])
    assert found.flips.own == pytest.approx(0.5)
    assert found.flips.mean == pytest.approx(0.5)
    assert exchange([0, 1], [(0, 1), (1, 0)], [True, True]).flips.own == 0  # nobody of the own class


def test_one_class_loses_and_one_class_turns():
    predicted = [0] * 4 + [1] * 4 + [2] * 4
    pairs = every_pair(predicted)
    flipped = [predicted[i] != 0 and predicted[j] == 0 for i, j in pairs]  # the pixels of class 0 turn all others
    found = exchange(predicted, pairs, flipped)
    assert found.entries[None, 0].mean == 1
    assert found.entries[1, 0].mean == found.entries[2, 0].mean == 1
    assert found.entries[1, 2].mean == found.entries[0, None].mean == 0
    assert found.entries[1, None].mean == pytest.approx(0.5)
    assert len(found.entries) == 3 + 3 + 6
    assert found.entry(0, 1).receivers == 4
    assert exchange([0, 0, 1, 1], every_pair([0, 0, 1, 1]), [False] * 12).entries == {}  # too few of each


def test_only_other_classes_pixels_shake_and_only_by_half_of_the_lead():
    def shaken(fall, donor):
        return Exchange(
            np.array([0, 0, 1]), np.array([2.0, 2, 2]), np.array([0]), np.array([donor]), np.array([fall])
        ).shaken(0)

    one_of_two = Exchange(np.array([0, 1]), np.ones(2), np.array([0, 0]), np.array([1, 1]), np.array([0.0, 0.6]))
    assert one_of_two.shaken(0)
    assert not one_of_two.shaken(1)
    assert shaken(1.01, 2)
    assert not shaken(1.0, 2)
    assert not shaken(1.01, 1)


def test_a_decision_is_lost_with_all_of_the_lead():
    found = Exchange(np.array([0, 1]), np.array([0.5, 2.0]), np.array([0, 1]), np.array([1, 0]), np.array([1.0, 1.0]))
    np.testing.assert_array_equal(found.flipped, [True, False])


def test_no_event_is_not_certainty():
    predicted = [0] * 5 + [1] * 5
    found = exchange(predicted, every_pair(predicted), [False] * 90).flips
    assert found.mean == 0
    assert found.error == pytest.approx(np.sqrt(1 / 12 * 11 / 12 / 10))
    assert found.lower(2) == -found.upper(2) == pytest.approx(-2 * found.error)
    margin = exchange(predicted, every_pair(predicted), [False] * 90).margin
    assert margin.error == 0


def test_one_donor_for_all_tells_as_much_as_one_image():
    found = exchange([0, 0, 0, 1], [(0, 3), (1, 3), (2, 3)], [True] * 3)
    assert found.flips.error == np.inf


@pytest.mark.parametrize("spread", ["receivers", "donors"])
def test_the_error_is_that_of_repeated_draws_of_images(spread):
    """Images draw how easily they flip, or how strongly they turn others: pairs that share an image are not independent."""
    rng, means, errors = np.random.default_rng(0), [], []
    predicted = np.repeat([0, 1], 15)
    for _ in range(150):
        own = rng.normal(size=30)
        pairs = [
            (i, j) for i in range(30) for j in rng.choice(np.flatnonzero(predicted != predicted[i]), 3, replace=False)
        ]
        to, donor = np.array(pairs).T
        falls = own[to] if spread == "receivers" else own[donor]
        found = Exchange(predicted, np.ones(30), to, donor, falls).margin
        means.append(found.mean)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.2)


def test_order_and_numbering_of_the_images_do_not_matter():
    rng = np.random.default_rng(1)
    predicted = np.repeat([0, 1, 2], 6)
    pairs = np.array(every_pair(predicted))
    flipped = rng.random(len(pairs)) < 0.3
    first = exchange(predicted, pairs, flipped)
    order = rng.permutation(18)
    place = np.argsort(order)
    shuffle = rng.permutation(len(pairs))
    second = exchange(predicted[order], place[pairs][shuffle], flipped[shuffle])
    assert second.flips.mean == pytest.approx(first.flips.mean, abs=1e-12)
    assert second.flips.error == pytest.approx(first.flips.error, abs=1e-12)
    for at, entry in first.entries.items():
        assert second.entries[at].mean == pytest.approx(entry.mean, abs=1e-12)


def test_bounds_are_wider_for_the_worst_of_several():
    assert normal(0.95) == pytest.approx(1.6449, abs=1e-4)
    assert normal(0.95, 10) == pytest.approx(2.5758, abs=1e-4)
    assert normal(0.95, 0) == normal(0.95, 1)


def by_hand(found, value, chosen):
    """The mean of a value over pairs: images alike, within each the classes of its donors, within these the donors."""
    weights = np.zeros(len(value))
    receivers = sorted({found.to[pair] for pair in chosen})
    for image in receivers:
        own = [pair for pair in chosen if found.to[pair] == image]
        classes = {found.predicted[found.donor[pair]] for pair in own}
        for pair in own:
            alike = [each for each in own if found.predicted[found.donor[each]] == found.predicted[found.donor[pair]]]
            weights[pair] = 1 / len(receivers) / len(classes) / len(alike)
    return weights, weights @ value


def dyadic(found, value):
    """Mean difference and its error, pair by pair: every two pairs count once for each image that they share."""
    other = [p for p in range(len(value)) if found.predicted[found.to[p]] != found.predicted[found.donor[p]]]
    receiving = {found.to[p] for p in other}
    own = [p for p in range(len(value)) if p not in other and found.to[p] in receiving]
    (w, mean), (v, base) = by_hand(found, value, other), by_hand(found, value, own)
    residual = w * (value - mean) - v * (value - base)
    both = received = 0.0
    for p in range(len(value)):
        for q in range(len(value)):
            shared = len({found.to[p], found.donor[p]} & {found.to[q], found.donor[q]}) - (p == q)
            both += shared * residual[p] * residual[q]
            received += (found.to[p] == found.to[q]) * residual[p] * residual[q]
    few = min(len(receiving), len({found.donor[p] for p in other}))
    return mean - base, np.sqrt(max(both, received) * few / (few - 1)), both > received


def test_means_and_errors_pair_by_pair():
    predicted, larger = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]), set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pairs = np.array([pair for pair in every_pair(predicted) if rng.random() < 0.6])
        to, donor = pairs.T
        found = Exchange(predicted, np.ones(10), to, donor, rng.normal(size=len(pairs)))
        mean, error, of_both = dyadic(found, found.falls)
        assert found.margin.mean == pytest.approx(mean)
        assert found.margin.error == pytest.approx(error)
        larger.add(of_both)
    assert larger == {True, False}  # each has been the larger one


def test_a_rate_is_uncertain_by_an_event_more_besides():
    predicted = np.array([0, 0, 0, 0, 1, 1, 1])
    to, donor = np.array(every_pair(predicted)).T
    flipped = np.random.default_rng(0).random(len(to)) < 0.4
    found = Exchange(predicted, np.ones(7), to, donor, np.where(flipped, 2.0, 0.0))
    _, error, _ = dyadic(found, flipped.astype(float))
    rate = 1 / (7 + 2)
    assert found.flips.error == pytest.approx(np.hypot(error, np.sqrt(rate * (1 - rate) / 7)))


def test_an_entry_is_of_the_images_of_one_class_by_donors_of_another():
    predicted = np.array([0] * 4 + [1] * 4 + [2] * 4)
    to, donor = np.array(every_pair(predicted)).T
    to_class, donor_class = predicted[to], predicted[donor]
    flipped = np.random.default_rng(0).random(len(to)) < 0.5
    flipped &= to_class != 2  # nothing moves the third class
    found = Exchange(predicted, np.ones(12), to, donor, np.where(flipped, 2.0, 0.0))
    own = {a: flipped[(to_class == a) & (donor_class == a)].mean() for a in range(3)}
    for (a, b), entry in found.entries.items():
        of = (to_class != donor_class) & ((a is None) | (to_class == a)) & ((b is None) | (donor_class == b))
        base = own[a] if a is not None else np.mean([own[each] for each in range(3) if each != b])
        assert entry.mean == pytest.approx(flipped[of].mean() - base)
        assert entry.own == pytest.approx(base)
        few = min(entry.receivers, entry.donors)
        rate = 1 / (few + 2)
        assert entry.error >= np.sqrt(rate * (1 - rate) / few)
        assert (entry.receivers, entry.donors) == (len(set(to[of])), len(set(donor[of])))


@pytest.mark.parametrize(("counts", "there"), [((3, 3), True), ((3, 2), False), ((2, 3), False)])
def test_an_entry_needs_three_receivers_and_three_donors(counts, there):
    predicted = [0] * counts[0] + [1] * counts[1]
    found = exchange(predicted, every_pair(predicted), [False] * len(every_pair(predicted)))
    assert (found.entry(0, 1) is not None) is there
    assert ((0, 1) in found.entries) is there
    assert (None, None) not in found.entries
    assert (0, 0) not in found.entries


def test_all_of_the_lead_and_not_less_is_a_lost_decision():
    found = Exchange(np.array([0, 1]), np.array([0.5, 0.5]), np.array([0, 1]), np.array([1, 0]), np.array([0.5, 0.51]))
    np.testing.assert_array_equal(found.flipped, [False, True])


class TestCosts:
    """What a changed decision costs in accuracy, by the model's own probabilities before the change."""

    BEFORE = np.log([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]])

    def cost(self, to, predicted, unit=LEAST_MARGIN, before=None):
        after = np.eye(3)[predicted]
        return costs(self.BEFORE if before is None else before, after, np.array(to), unit)

    def test_it_is_the_probability_of_the_old_class_less_that_of_the_new_one(self):
        np.testing.assert_allclose(self.cost([0, 0, 0, 1], [0, 1, 2, 1]), [0, 0.5, 0.6, 0.05])

    def test_what_is_added_to_all_scores_changes_nothing(self):
        np.testing.assert_allclose(
            self.cost([0, 1], [1, 2], before=self.BEFORE + np.array([[3.0], [-5.0]])), [0.5, 0.15]
        )

    def test_scores_that_hardly_differ_are_no_probabilities_and_are_scaled(self):
        small = self.BEFORE / 10  # their mean margin is a tenth, too
        np.testing.assert_allclose(self.cost([0], [1], LEAST_MARGIN / 10, small), [0.5])
        assert self.cost([0], [1], LEAST_MARGIN, small)[0] < 0.05
        np.testing.assert_allclose(self.cost([0], [1], 10 * LEAST_MARGIN), [0.5])  # large ones are taken at their word


def test_accuracy_is_lost_as_decisions_are_unless_it_is_known_what_they_cost():
    pairs, flipped = [(0, 2), (1, 2), (2, 0), (3, 0), (0, 1)], [True, False, True, False, True]
    plain = exchange([0, 0, 1, 1], pairs, flipped)
    assert plain.accuracy == plain.flips
    to, donor = np.array(pairs).T
    priced = Exchange(plain.predicted, plain.leads, to, donor, plain.falls, np.array([0.8, 0, 0.4, 0, 0.2]))
    # Other classes' pixels: (0.8 + 0 + 0.4 + 0) / 4; the own class's, in the one image that received some: 0.2.
    assert priced.accuracy.mean == pytest.approx(0.3 - 0.2)
    assert priced.flips.mean == pytest.approx(0.5 - 1.0)
    assert priced.whole == Row(priced.flips, priced.accuracy, priced.margin)


def test_each_class_loses_decisions_accuracy_and_margin():
    predicted = [0] * 4 + [1] * 4
    pairs = every_pair(predicted)
    to, donor = np.array(pairs).T
    other = np.array([predicted[i] != predicted[j] for i, j in pairs])
    falls = np.where(other & (to < 4), 1.5, 0.25)  # the own class costs a quarter, in every image
    found = Exchange(np.array(predicted), np.ones(8), to, donor, falls, np.where(falls > 1, 0.6, 0.0))
    first, second = found.rows[0], found.rows[1]
    assert [part.mean for part in (first.flips, first.accuracy, first.fall)] == pytest.approx([1, 0.6, 1.25])
    assert [part.mean for part in (second.flips, second.accuracy, second.fall)] == pytest.approx([0, 0, 0])
    assert first.flips == found.entries[0, None]
    assert exchange([0, 0, 1, 1, 1], every_pair([0, 0, 1, 1, 1]), [False] * 20).rows == {}  # two of the one class


def test_a_control_is_subtracted_with_its_error_and_never_adds():
    figure, control = Difference(0.5, 0.03, 0.1, 20, 18), Difference(0.2, 0.04, 0.0, 9, 8)
    assert figure.less(control) == Difference(pytest.approx(0.3), pytest.approx(0.05), 0.1, 20, 18)
    assert figure.less(Difference(-0.2, 0.04, 0.0, 9, 8)).mean == 0.5
    assert figure.less(None) is figure
    row = Row(figure, figure, figure)
    assert row.less(None) is row
    assert row.less(Row(control, Difference(0.0, 0.0, 0, 9, 8), control)).accuracy.mean == 0.5
