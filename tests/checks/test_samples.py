"""A set of images: each content counts once, and the order in which they are passed changes nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_gradcam import Explainer, masks
from pytest_gradcam.cam.engine import Engine, Interface
from pytest_gradcam.checks.donors import arrange
from pytest_gradcam.checks.masked_image import read_masked_images
from pytest_gradcam.checks.samples import distinct

SIDE = 32
CORNER = masks.box((SIDE, SIDE), (26, 0, 32, 6))


class TwoPlaces(nn.Module):
    """Red less blue in a square, plus half of the same in a corner."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        weights = torch.zeros(SIDE, SIDE)
        weights[8:24, 4:20], weights[0:6, 26:32] = 1 / 256, 0.5 / 36
        self.register_buffer("weights", weights)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.fill_(1.0)
            self.conv.weight[0, 0], self.conv.weight[0, 2] = 1, -1
            self.conv.weight[1] = -self.conv.weight[0]

    def forward(self, x):
        return 10 * (torch.relu(self.conv(x)) * self.weights).sum((2, 3))


def picture(sign, mark, random):
    """A square in the colour of its class, and in the corner the same colour, as strong as the camera makes it."""
    pixels = random.integers(100, 156, (SIDE, SIDE, 3)).astype(float)
    for (rows, columns), strength in (
        ((slice(8, 24), slice(4, 20)), random.uniform(40, 60)),
        ((slice(0, 6), slice(26, 32)), mark),
    ):
        pixels[rows, columns, 0] += sign * strength
        pixels[rows, columns, 2] -= sign * strength
    return np.clip(pixels, 0, 255).astype(np.uint8)


def pictures(count=48):
    """Two classes and three cameras in turn: every period of the list is one of the data."""
    random = np.random.default_rng(0)
    return [picture(1 if i % 2 else -1, (90, 25, 5)[i % 3], random) for i in range(count)]


def preprocess(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def explainer():
    return Explainer(TwoPlaces().eval(), preprocess=preprocess)


def exchanged(images):
    """The mean fall of the margin over all pairs of different classes, in units of the mean margin, and its spread."""
    model, tensors = TwoPlaces().eval(), [preprocess(image) for image in images]
    with torch.no_grad():
        before = model(torch.stack(tensors)).numpy()
        classes, lead = before.argmax(1), np.abs(before[:, 0] - before[:, 1])
        falls = []
        for i, image in enumerate(tensors):
            donors = [j for j in range(len(tensors)) if classes[j] != classes[i]]
            changed = torch.stack([image] * len(donors))
            for k, j in enumerate(donors):
                changed[k][:, torch.from_numpy(CORNER)] = tensors[j][:, torch.from_numpy(CORNER)]
            after = model(changed).numpy()
            falls.append((lead[i] - (after[:, classes[i]] - after[:, 1 - classes[i]])).mean())
    return float(np.mean(falls) / lead.mean())


def figures(found):
    return (found.relies, found.effect, *found.interval, found.p_value, found.images)


def test_the_estimate_is_that_of_all_pairs_whatever_the_period_of_the_list():
    found = explainer().reliance(pictures(), CORNER)
    assert found.effect == pytest.approx(exchanged(pictures()), abs=0.03)
    assert found.interval[0] < exchanged(pictures()) < found.interval[1]


@pytest.mark.parametrize("first", [1, 2, 7])
def test_which_picture_comes_first_changes_nothing(first):
    images = pictures()
    turned = explainer().reliance(images[first:] + images[:first], CORNER)
    assert figures(turned) == figures(explainer().reliance(images, CORNER))


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(12)))
def test_no_order_changes_anything(order):
    images, targets = pictures(12), [i % 2 for i in range(12)]
    before = explainer().reliance(images, [CORNER] * 12, targets)
    after = explainer().reliance([images[i] for i in order], [CORNER] * 12, [targets[i] for i in order])
    assert figures(after) == figures(before)


@pytest.mark.parametrize("times", [2, 8])
def test_copies_count_once(times):
    once, often = (explainer().reliance(pictures(6) * n, CORNER) for n in (1, times))
    assert figures(often) == figures(once)
    assert dict(often.rows())["images"] == f"6, each counted once: {6 * (times - 1)} copies do not count"
    assert dict(once.rows())["images"] == "6"


def test_copies_count_once_for_the_classes_that_a_place_feeds():
    once, often = (explainer().fed_by(pictures(6) * n, CORNER) for n in (1, 3))
    assert once == often


def test_the_same_image_with_two_targets_is_no_copy():
    engine = Engine(TwoPlaces().eval(), Interface(preprocess))
    places = read_masked_images(engine, pictures(3) + pictures(2), CORNER)
    assert len(distinct(places, [None] * 5)) == 3
    assert len(distinct(places, [0, 0, 0, 1, 0])) == 4


def test_other_masks_of_the_same_pixels_are_no_copies():
    engine = Engine(TwoPlaces().eval(), Interface(preprocess))
    places = read_masked_images(engine, pictures(2)[:1] * 2, [CORNER, masks.box((SIDE, SIDE), (0, 0, 6, 6))])
    assert len(distinct(places, [None] * 2)) == 2


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 60), st.integers(2, 5), st.integers(0, 1000))
def test_donors_are_balanced(count, several, seed):
    """Each donor class gives in turn, and within a class each donor as often as the others, but for one time."""
    classes = np.random.default_rng(seed).integers(0, several, count)
    engine = Engine(TwoPlaces().eval(), Interface(preprocess))
    places = read_masked_images(engine, [picture(1, 5, np.random.default_rng(i)) for i in range(count)], CORNER)
    found = arrange(places, classes, lambda i, j: classes[i] != classes[j])
    given_by = np.bincount([patch.donors[0] for patch in found.patches], minlength=count)
    for index in set(classes):
        if all((classes != index).sum() >= 8 for index in set(classes)):
            assert np.ptp(given_by[classes == index]) <= max(2, len(found.patches) // count)
    for to in range(count):
        donors = [patch.donors[0] for patch in found.patches if patch.to == to]
        assert len(set(donors)) == len(donors)
        available = {int(c): int((classes == c).sum()) for c in set(classes) - {classes[to]}}
        drawn = [int((classes[donors] == c).sum()) if donors else 0 for c in available]
        if drawn and min(available.values()) >= max(drawn):
            assert max(drawn) - min(drawn) <= 1


class TestOthersOfOneImage:
    def test_their_order_and_copies_change_nothing(self):
        images, seen = pictures(30), []
        for others in (images[1:], images[:0:-1], images[1:] * 2, images):  # the image itself is no other
            seen.append(self.message(images[0], others))
        assert len({text.partition("  others")[0] for text in seen}) == 1
        assert "  others     9 of the 29 passed were used: copies do not count, and at most 9 are used" in seen[0]
        assert "others     9 of the 58 passed" in seen[2]

    def test_all_of_a_few_are_used_and_nothing_is_said(self):
        assert "  others " not in self.message(pictures()[0], pictures(6)[1:])

    def message(self, image, others):
        with pytest.raises(Exception, match="margin") as caught:
            explainer().assert_ignores(image, CORNER, others=others, at_most=1e-3)
        return str(caught.value).partition("  picture")[0]
