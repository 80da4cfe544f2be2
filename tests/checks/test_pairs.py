"""Exact pairs: the same scene with and without the artefact, on models that read what they were built to read."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, Value, masks
from pytest_gradcam.checks.exchange import Exchange
from tests.checks.test_reliance import CORNER, DISC, SIDE, Reads, scene, scenes


def paired(count=12, *, corner=lambda i: 1 - i % 2):
    """Scenes whose corner is tied to the disc, and the same ones with another corner."""
    images = scenes(count)
    others = [image.clone() for image in images]
    for i, other in enumerate(others):
        other[:, CORNER] = scene(i, 0, corner(i))[:, CORNER]
    return images, others


def test_a_model_that_reads_the_corner_loses_every_decision():
    images, others = paired()
    found = Explainer(Reads(CORNER)).reliance(images, CORNER, pairs=others)
    assert (found.relies, found.intervention, found.images) == (True, "pair", 12)
    assert found.loss == pytest.approx(1, abs=0.01)
    assert found.around is None
    assert found.by_class == pytest.approx({"0": 1.0, "1": 1.0})
    with pytest.raises(FocusError, match=r"if they were exchanged, accuracy would fall by about 1.00"):
        Explainer(Reads(CORNER)).assert_no_reliance(images, CORNER, pairs=others)


def test_a_model_that_reads_the_disc_does_not_rely_on_the_corner():
    images, others = paired(20)
    found = Explainer(Reads(DISC)).reliance(images, CORNER, pairs=others)
    assert (found.relies, found.loss, found.effect) == (False, 0.0, 0.0)
    Explainer(Reads(DISC)).assert_no_reliance(images, CORNER, pairs=others)
    Explainer(Reads(DISC)).assert_no_reliance(images, CORNER, pairs=others, at_most=0.3)


def test_with_a_bound_the_fall_of_the_margin_decides():
    images, others = paired()
    with pytest.raises(FocusError, match=r"above 0.3 is reliance"):
        Explainer(Reads(CORNER)).assert_no_reliance(images, CORNER, pairs=others, at_most=0.3)


@pytest.mark.parametrize("part", [slice(None), slice(None, 4)], ids=["another of the same class", "a few pixels"])
def test_pairs_that_show_the_same_are_no_ground_for_a_no(part):
    """The model reads the corner, and its pairs show what says the same there, or differ hardly at all."""
    images, others = paired(20)
    rows, columns = (found[part] for found in np.nonzero(CORNER))
    pairs = []
    for i, (image, other) in enumerate(zip(images, others, strict=True)):
        pair = image.clone()
        pair[:, rows, columns] = (other if len(rows) == 4 else scene(i + 40, 0, i % 2))[:, rows, columns]
        pairs.append(pair)
    found = Explainer(Reads(CORNER)).reliance(images, CORNER, pairs=pairs)
    assert found.relies is None
    assert "of what tells the predicted classes apart there, so both may show the same artefact" in found.reason


@pytest.mark.parametrize("argument", ["pairs", "without"])
def test_an_empty_list_is_refused(argument):
    images, _ = paired()
    for empty in ([], iter(())):
        with pytest.raises(HeatmapError, match=f"{argument}= is empty; expected images, or leave it out"):
            Explainer(Reads(CORNER)).reliance(images, CORNER, **{argument: empty})


def test_images_of_one_class_are_no_ground_for_a_no():
    images, others = paired(40)
    reds, pairs = images[::2], others[::2]
    for how in ({}, {"at_most": 0.3}):
        with pytest.raises(HeatmapError, match=r"all images are predicted as one class.*pass pairs of several classes"):
            Explainer(Reads(DISC)).assert_no_reliance(reds, CORNER, pairs=pairs, **how)
    assert Explainer(Reads(CORNER)).reliance(reds, CORNER, pairs=pairs).relies is True


def test_the_wrong_way_round_is_no_ground_for_a_no():
    """The artefact that the pair shows and the image does not raises the margin, which is a use of it as well."""
    marked, bare = paired(40, corner=lambda i: None)
    mixed = Reads(CORNER)
    mixed.weight += 2 * torch.from_numpy(DISC / DISC.mean()).float()
    found = Explainer(mixed).reliance(marked, CORNER, pairs=bare)
    assert (found.claim, found.loss) == ("undecided", 0.0)
    assert found.reason.endswith("pass more pairs")
    assert 0.2 < found.effect < 0.5
    found = Explainer(mixed).reliance(bare, CORNER, pairs=marked)
    assert found.effect < -0.3
    assert found.relies is None
    assert "pass the images with the artefact as images and those without it as pairs=" in found.reason


class Unsure(nn.Module):
    """Two classes told by the disc, and by any noise in the corner: most images lie near the border between them."""

    def __init__(self):
        super().__init__()
        self.probe = nn.Conv2d(3, 1, 1)
        weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.register_buffer("weight", weight - weight.mean())

    def forward(self, x):
        disc = (x[:, 0] - x[:, 1])[:, 8:20, 8:20].mean((1, 2))
        said = 3 * disc + (x[:, :, 24:32, 24:32] * self.weight).sum((1, 2, 3))
        return torch.stack([said, -said], dim=1)


def test_what_any_other_content_of_the_mask_changes_is_subtracted():
    """A model that is unsure decides otherwise whatever is changed: half of that is no more than the yardstick."""
    images = [scene(i, i % 2, None) for i in range(60)]
    others = [image.clone() for image in images]
    for i, other in enumerate(others):
        other[:, CORNER] = scene(100 + i, 0, None)[:, CORNER]
    explainer = Explainer(Unsure())
    before, after = (explainer.predict(each).argmax(axis=1) for each in (images, others))
    found = explainer.reliance(images, CORNER, pairs=others)
    assert found.loss < (before != after).mean() - 0.05
    assert found.relies is not False


def test_few_pairs_are_undecided():
    images, others = paired(4)
    found = Explainer(Reads(DISC)).reliance(images, CORNER, pairs=others)
    assert found.relies is None
    assert "images like these would decide" in found.reason


def test_a_single_pair_does_not_show_how_far_images_differ():
    images, others = paired(2)
    for count in (1, 2):  # a copy is no second image
        found = Explainer(Reads(DISC)).reliance(images[:1] * count, CORNER, pairs=others[:1] * count)
        assert (found.relies, found.images) == (None, 1)
        assert found.reason == (
            "only one image was exchanged, which does not show how far images differ; pass more images, of two or more "
            "predicted classes"
        )
    with pytest.raises(HeatmapError) as raised:
        Explainer(Reads(DISC)).assert_no_reliance(images[:1], CORNER, pairs=others[:1])
    assert "inf" not in str(raised.value)


def test_an_error_says_which_pair_it_is_about(tmp_path):
    images, others = paired(3)
    explainer = Explainer(Reads(DISC))
    for bad, words in (
        (images[1], "show the same in the mask"),
        (None, "is not an image"),
        ("no.png", "no image file"),
    ):
        with pytest.raises(HeatmapError, match=rf"^pairs\[1\]: .*{words}"):
            explainer.reliance(images, CORNER, pairs=[others[0], bad, others[2]])
    with pytest.raises(HeatmapError, match=r"^images\[2\]: there is no image file no.png"):
        explainer.reliance([*images[:2], "no.png"], CORNER)
    with pytest.raises(HeatmapError, match=r"^without\[0\]: there is no image file no.png"):
        explainer.reliance(images, CORNER, without=["no.png", others[0]])
    with pytest.raises(HeatmapError, match=r"^images\[1\]: there is no image file no.png"):
        explainer.batch([images[0], "no.png"])


def test_copies_count_once_and_several_pairs_of_one_image_share_its_weight():
    images, others = paired()
    explainer = Explainer(Reads(CORNER))
    once = explainer.reliance(images, CORNER, pairs=others)
    twice = explainer.reliance(images * 2, CORNER, pairs=others * 2)
    assert (twice.images, twice.copies, twice.loss_interval) == (12, 12, once.loss_interval)
    third = paired(corner=lambda i: 2)[1]
    several = explainer.reliance([*images, *images], CORNER, pairs=[*others, *third])
    assert (several.images, several.loss) == (12, pytest.approx(1, abs=0.01))
    order = np.random.default_rng(0).permutation(12)
    shuffled = explainer.reliance([images[i] for i in order], CORNER, pairs=[others[i] for i in order])
    assert repr(shuffled) == repr(once)


def test_a_model_that_ignores_its_input_has_no_verdict():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return 0 * self.conv(x).mean((2, 3)) + torch.tensor([3.0, -1.0])

    images, others = paired()
    found = Explainer(Constant()).reliance(images, CORNER, pairs=others)
    assert found.relies is None
    assert "ignores them altogether" in found.reason


def changed(image, where, by):
    other = image.clone()
    other[:, where] += by
    return other


def test_rounding_outside_of_the_mask_is_no_difference():
    images, others = paired()
    rounded = [changed(other, ~CORNER, 1 / 255) for other in others]
    assert Explainer(Reads(CORNER)).reliance(images, CORNER, pairs=rounded).relies is True


IMAGES, OTHERS = paired()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pairs": OTHERS[:-1]}, r"pairs= has 11 images for 12; expected one for each"),
        (
            {"pairs": [changed(OTHERS[0], DISC, 0.1), *OTHERS[1:]]},
            r"differ outside of the mask, in 15\.0% of those pixels and by up to .*% of the images' range; expected the same "
            r"scene there; widen the mask",
        ),
        ({"pairs": [*OTHERS[:-1], IMAGES[-1]]}, r"show the same in the mask, so nothing would be exchanged"),
        (
            {"pairs": [torch.rand(3, 40, 40)] * 12},
            r"have different sizes in the model's input; expected the same scene",
        ),
        ({"pairs": OTHERS, "without": IMAGES}, r"without= and pairs= are both given; expected one of them"),
        (
            {"pairs": OTHERS, "targets": [Value(lambda out: out[0])] * 12},
            r"without= and pairs= take classes as targets",
        ),
    ],
)
def test_what_is_no_pair_is_refused(how, message):
    with pytest.raises(HeatmapError, match=message):
        Explainer(Reads(CORNER)).reliance(IMAGES, CORNER, **how)


def test_several_masks_have_no_pairs():
    with pytest.raises(HeatmapError, match=r"without= and pairs= take one mask at a time"):
        Explainer(Reads(CORNER)).reliance(IMAGES, {"a": CORNER, "b": DISC}, pairs=OTHERS)


def test_a_preprocess_that_resizes_may_mix_the_outline():
    def preprocess(picture):
        small = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1)

    def picture(image):
        big = image.repeat_interleave(3, 1).repeat_interleave(3, 2)
        return Image.fromarray((255 * big.clamp(0, 1)).byte().permute(1, 2, 0).numpy())

    mask = masks.box((3 * SIDE, 3 * SIDE), (72, 72, 96, 96))
    explainer = Explainer(Reads(CORNER), preprocess=preprocess)
    images, others = [picture(image) for image in IMAGES], [picture(other) for other in OTHERS]
    assert explainer.reliance(images, mask, pairs=others).relies is True
    small = masks.box((3 * SIDE, 3 * SIDE), (87, 87, 96, 96))
    with pytest.raises(HeatmapError, match="differ outside of the mask"):
        explainer.reliance(images, small, pairs=others)


def test_pairs_in_an_exchange_have_no_yardstick_and_independent_errors():
    """The mean and the standard error of independent images, in closed form."""
    predicted, everyone = np.array([0, 0, 1, 1]), np.arange(4)
    falls = np.array([0.0, 2.0, 0.0, 0.0])
    found = Exchange(predicted, np.ones(4), everyone, everyone, falls).margin
    assert (found.mean, found.own, found.receivers, found.donors) == (0.5, 0.0, 4, 4)
    assert found.error == pytest.approx(falls.std(ddof=1) / 2)
    exchange = Exchange(np.repeat([0, 1], 3), np.ones(6), np.arange(6), np.arange(6), np.repeat([0.0, 2.0], 3))
    assert {place: entry.mean for place, entry in exchange.entries.items()} == {(0, None): 0.0, (1, None): 1.0}
    assert not exchange.shaken(0)
    assert exchange.shaken(1)
