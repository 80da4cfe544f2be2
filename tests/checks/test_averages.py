"""Exchanged means: scenes average out, what tells the classes apart stays, and the mirrored place is the control."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_gradcam import Explainer
from pytest_gradcam.checks.averages import Averaged, Averages
from pytest_gradcam.checks.exchange import least
from pytest_gradcam.checks.masked_image import read_masked_images

SIDE = 8
LEFT = np.zeros((SIDE, SIDE), bool)
LEFT[2:6, :2] = True


def images(levels, mask=LEFT, seed=0):
    """Noise, to which each level is added in the mask; as masked images of a model that is never asked."""
    import torch

    rng = np.random.default_rng(seed)
    noise = rng.uniform(-0.1, 0.1, (len(levels), 3, SIDE, SIDE)).astype(np.float32)
    for i, level in enumerate(levels):
        noise[i][:, mask] += level
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return read_masked_images(Explainer(model)._engine, [torch.from_numpy(each) for each in noise], mask)


def test_an_image_receives_what_tells_the_other_class_from_its_own_and_keeps_its_scene():
    predicted = np.array([0] * 6 + [1] * 6)
    passed = images([0.0] * 6 + [1.0] * 6)
    found = Averages.between(passed, predicted)
    np.testing.assert_array_equal(found.to, range(12))
    for i, (inside, mirrored) in enumerate(zip(found.inside, found.mirrored, strict=True)):
        change = inside.pixels - passed[i].pixels
        # Its own class's mean is that of the five others, the other's that of all six.
        others = [j for j in range(12) if predicted[j] != predicted[i]]
        own = [j for j in range(12) if predicted[j] == predicted[i] and j != i]
        means = [np.mean([passed[j].pixels for j in each], axis=0) for each in (others, own)]
        np.testing.assert_allclose(change[:, LEFT], (means[0] - means[1])[:, LEFT], atol=0.11)  # clipped at the range
        assert np.sign(change[:, LEFT].mean()) == (1 if predicted[i] == 0 else -1)
        assert not change[:, ~LEFT].any()
        place = (mirrored.pixels != passed[i].pixels).any(axis=0)
        assert not (place & ~np.fliplr(LEFT)).any()
        assert abs((mirrored.pixels - passed[i].pixels).mean()) < 0.02


def test_the_other_classes_come_in_turn():
    predicted = np.repeat([0, 1, 2], 4)
    found = Averages.between(images(np.repeat([0.0, 0.5, 1.0], 4)), predicted)
    passed = images(np.repeat([0.0, 0.5, 1.0], 4))
    steps = [float((inside.pixels - passed[i].pixels)[:, LEFT].mean()) for i, inside in enumerate(found.inside)]
    np.testing.assert_allclose(np.round(steps[:4], 1), [0.5, 1.0, 0.5, 1.0], atol=0.11)


@pytest.mark.parametrize(
    ("mask", "there"),
    [
        (LEFT, True),
        (np.ones((SIDE, SIDE), bool) & (np.arange(SIDE) != 0), False),  # nearly all
        (np.pad(np.ones((4, 4), bool), 2), False),  # the middle is its own mirrored place
    ],
)
def test_a_mask_that_is_its_own_mirrored_place_leaves_no_control(mask, there):
    found = Averages.between(images([0.0] * 4 + [1.0] * 4, mask), np.repeat([0, 1], 4))
    assert (found is not None) is there


def test_classes_of_which_there_are_too_few_have_no_mean():
    assert Averages.between(images([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1])) is None  # one other of the own class


def averaged(falls, mirrored, predicted=None, costs=None):
    falls = np.array([falls, mirrored], float)
    predicted = np.zeros(falls.shape[1], int) if predicted is None else np.array(predicted)
    costs = (falls > 1).astype(float) if costs is None else np.array(costs, float)
    return Averaged(predicted, np.ones(falls.shape[1]), falls, costs)


def test_what_is_lost_is_that_in_the_mask_less_that_at_the_mirrored_place():
    found = averaged([1.5, 1.5, 0.5, 0.1], [0.0, 1.5, 0.0, 0.1], costs=[[0.8, 0.6, 0, 0], [0, 0.6, 0, 0]]).whole
    assert (found.flips.mean, found.flips.own, found.flips.receivers) == (0.25, 0.25, 4)
    assert found.accuracy.mean == pytest.approx(0.2)
    assert found.fall.mean == pytest.approx(2 / 4)
    # The differences are 1.5, 0, 0.5, 0: their standard deviation is the root of 1.5 / 3.
    assert found.fall.error == pytest.approx(math.sqrt(0.5) / 2)
    assert found.flips.error == pytest.approx(math.hypot(0.5 / 2, least(4)))


def test_each_class_of_three_images_has_a_row():
    found = averaged([1.5] * 3 + [0.0] * 3 + [1.5] * 2, [0.0] * 8, [0] * 3 + [1] * 3 + [2] * 2)
    assert set(found.rows) == {0, 1}
    assert found.rows[0].flips.mean == 1
    assert found.rows[1].flips.mean == 0
    assert found.rows[0].flips.error == pytest.approx(least(3))


def test_one_image_shows_no_spread():
    assert averaged([1.5], [0.0]).whole.fall.error == math.inf
