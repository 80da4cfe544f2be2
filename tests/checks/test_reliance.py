"""Reliance on a place, on models whose truth is known: they read what they were built to read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, FocusError, HeatmapError, NoEvidenceError, masks, overlay
from pytest_gradcam.checks.donors import arrange
from pytest_gradcam.checks.masked_image import read_masked_images
from tests.states import same, state_of

SIDE = 32
CORNER = masks.box((SIDE, SIDE), (24, 24, 32, 32))
DISC = masks.box((SIDE, SIDE), (8, 8, 20, 20))
WIDE = masks.box((SIDE, SIDE), (14, 14, 32, 32))  # the corner, and a part of the disc


class Reads(nn.Module):
    """Three classes: the red, the green and the blue of one region, and nothing else."""

    def __init__(self, region, *, bias=(0.0, 0.0, 0.0), scale=10.0):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(scale * torch.eye(3)[:, :, None, None])
            self.features.bias.copy_(torch.tensor(bias))
        self.register_buffer("weight", torch.from_numpy(region / region.mean()).float())

    def forward(self, x):
        return self.features(x * self.weight).mean((2, 3))


def scene(seed, disc, corner):
    """Noise, a disc and a corner of rough texture in red, green or blue; corner None is noise too."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.3, 0.6, (3, SIDE, SIDE)).astype(np.float32)
    for region, which in ((DISC, disc), (CORNER, corner)):
        if which is not None:
            image[:, region] *= 0.3
            image[which, region] = rng.uniform(0.6, 1, region.sum())
    return torch.from_numpy(image)


def scenes(count=12, *, tied=True, classes=2):
    return [scene(i, i % classes, i % classes if tied else (i // classes) % classes) for i in range(count)]


def test_a_model_that_reads_the_corner_relies_on_it():
    found = Explainer(Reads(CORNER)).reliance(scenes(), CORNER)
    assert found.relies is True
    assert found.intervention == "swap"
    assert found.effect == pytest.approx(2, abs=0.1)  # the other class's pixels turn the margin round
    assert found.images == 12
    assert found.around == 0
    assert found.agreement is True


def test_a_model_that_reads_the_disc_does_not():
    found = Explainer(Reads(DISC)).reliance(scenes(), CORNER)
    assert found.relies is False
    assert found.effect == 0
    assert found.agreement is True


def test_the_checks_follow_the_verdict():
    images = scenes()
    Explainer(Reads(DISC)).assert_no_reliance(images, CORNER)
    with pytest.raises(
        FocusError,
        match=r"the model relies on the masked pixels: if they were exchanged, accuracy would fall by about [01]\.",
    ):
        Explainer(Reads(CORNER)).assert_no_reliance(images, CORNER)
    half = Reads(CORNER | DISC)  # 64 pixels of 208
    Explainer(half).assert_no_reliance(scenes(24), CORNER, at_most=1)
    with pytest.raises(FocusError, match=r"above 0.2 is reliance"):
        Explainer(half).assert_no_reliance(scenes(24), CORNER, at_most=0.2)


def test_a_mask_that_eats_the_object_is_noticed():
    found = Explainer(Reads(DISC)).reliance(scenes(), WIDE)
    assert found.relies is not True
    assert found.around > 0.3


def test_half_of_the_artefact_is_noticed():
    part = masks.box((SIDE, SIDE), (24, 24, 26, 31))
    found = Explainer(Reads(CORNER)).reliance(scenes(40), part)
    assert found.relies is None
    assert "correct its outline" in found.reason


def test_one_class_leaves_the_pixels_of_other_images():
    reds = [scene(i, 0, i % 2) for i in range(12)]
    found = Explainer(Reads(DISC, bias=(0, 4, 0))).reliance(reds, CORNER)  # without evidence, it answers green
    assert (found.relies, found.intervention) == (False, "paste")
    assert "too few images are predicted as another class" in found.why


def test_one_class_that_is_also_the_answer_to_nothing_is_no_ground_for_a_no():
    for reads in (DISC, CORNER):
        reds = [scene(i, 0, 0) for i in range(12)]  # a corner of another image is as red
        found = Explainer(Reads(reads, bias=(8, 0, 0))).reliance(reds, CORNER)
        assert found.relies is None
        assert "pass images that are predicted as other classes as well" in found.reason


def test_the_same_on_all_images_leaves_the_mean_colour():
    found = Explainer(Reads(CORNER)).reliance(scenes(24)[::2], CORNER)
    assert (found.relies, found.intervention) == (True, "colour")
    assert "these pixels are the same in all images" in found.why
    constant = [scene(i, i % 2, 0) for i in range(12)]
    for image in constant:
        image[:, CORNER] = constant[0][:, CORNER]
    found = Explainer(Reads(DISC)).reliance(constant, CORNER)
    assert (found.relies, found.intervention) == (False, "colour")


def test_the_same_on_all_images_of_one_class_is_no_ground_for_a_no():
    reds = [scene(i, 0, 0) for i in range(12)]
    for image in reds:
        image[:, CORNER] = reds[0][:, CORNER]
    found = Explainer(Reads(DISC, bias=(0, 4, 0))).reliance(reds, CORNER)
    assert (found.relies, found.intervention, found.effect) == (None, "colour", 0)
    assert "all images are of one class" in found.reason


def test_a_mark_that_is_the_same_on_other_ground_is_noticed():
    rng = np.random.default_rng(0)
    mark = torch.from_numpy(rng.random((8, 8)) > 0.5)
    images = scenes(12)
    for image in images:
        place = image[:, 24:, 24:]
        place[:, mark] = 0.3 * place[:, mark] + 0.7
    assert Explainer(Reads(DISC)).reliance(images, CORNER).intervention == "colour"


def test_one_image_shows_reliance_where_it_is_clear_and_never_that_there_is_none():
    found = Explainer(Reads(CORNER)).reliance([scene(0, 1, 0)], CORNER)
    assert (found.relies, found.intervention, found.p_value, found.images) == (True, "colour", None, 1)
    found = Explainer(Reads(DISC)).reliance([scene(0, 1, 0)], CORNER)
    assert (found.relies, found.effect, found.images) == (None, 0, 1)
    assert "one image cannot show that a model ignores these pixels" in found.reason


def test_masks_one_each_follow_an_artefact_that_moves():
    images, places = [], []
    for i in range(16):
        image, left = scene(i, i % 2, None), 2 + i
        place = masks.box((SIDE, SIDE), (left, 22, left + 8, 30))
        image[:, place] *= 0.3
        image[i % 2, place] = torch.rand(64, generator=torch.Generator().manual_seed(i)) * 0.4 + 0.6
        images.append(image)
        places.append(place)

    class Strip(nn.Module):
        """Reads the lower strip, wherever the artefact is in it."""

        def __init__(self):
            super().__init__()
            self.probe = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            return 10 * x[:, :2, 22:30].mean((2, 3))

    found = Explainer(Strip()).reliance(images, places)
    assert (found.relies, found.intervention) == (True, "swap")
    assert found.effect > 1.5  # the other images' artefacts were moved into place
    assert Explainer(Reads(DISC)).reliance(images, np.stack(places)).relies is False


def test_donors_are_spread_over_the_images():
    explainer = Explainer(Reads(CORNER))
    images = [scene(i, i // 20, i // 20) for i in range(40)]  # sorted by class, as files often are
    places = read_masked_images(explainer._engine, images, CORNER)
    given = arrange(places, np.arange(40) // 20, lambda i, j: i // 20 != j // 20)
    firsts = {patch.donors[0] for patch in given.patches}
    assert len(firsts) > 30
    assert given.worth == 40
    assert all(patch.to // 20 != patch.donors[0] // 20 for patch in given.patches)


def test_backgrounds_are_pieced_together_from_several_images():
    images, places = [], []
    for i in range(16):
        left, top = 2 + 3 * (i % 5), 2 + 4 * (i % 4)
        subject = masks.box((SIDE, SIDE), (left, top, left + 12, top + 12))
        image = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(i)) * 0.3
        image[i % 2, ~torch.from_numpy(subject)] += 0.6
        images.append(image)
        places.append(~subject)
    found = Explainer(Reads(np.ones((SIDE, SIDE), bool))).reliance(images, places)
    assert (found.relies, found.intervention) == (True, "swap")


SUBJECT = masks.box((SIDE, SIDE), (10, 10, 22, 22))


def grounds(ground, subject):
    """Noise in which the ground and the subject are of the class's colour, each by so much."""
    images = []
    for i in range(16):
        image = np.random.default_rng(i).uniform(0, 0.3, (3, SIDE, SIDE)).astype(np.float32)
        image[i % 2] += np.where(SUBJECT, subject, ground)
        images.append(torch.from_numpy(image))
    return images


def test_a_background_is_told_although_the_object_around_which_it_lies_counts_as_much():
    found = Explainer(Reads(np.ones((SIDE, SIDE), bool))).reliance(grounds(0.2, 2.0), ~SUBJECT)
    assert found.relies is True
    assert found.around > found.effect - 0.2
    assert 0.6 < found.core < found.effect


def test_a_background_that_eats_into_the_object_is_no_reliance():
    found = Explainer(Reads(SUBJECT)).reliance(grounds(0.2, 2.0), ~masks.box((SIDE, SIDE), (11, 11, 21, 21)))
    assert found.relies is None
    assert "correct its outline" in found.reason
    assert found.effect > 0.55
    assert found.core == pytest.approx(0, abs=0.05)


def test_the_core_is_asked_for_only_where_there_is_more_than_one_image_and_the_mask_is_most_of_the_view():
    model = Explainer(Reads(SUBJECT))
    assert model.reliance(grounds(0.2, 2.0), SUBJECT).core is None
    assert model.reliance(grounds(0.2, 2.0)[:1], ~SUBJECT).core is None
    assert model.reliance(grounds(0.2, 2.0), ~SUBJECT).core == pytest.approx(0, abs=0.05)


def test_what_the_core_costs_without_the_artefact_is_taken_off():
    images = grounds(0.2, 2.0)
    found = Explainer(Reads(np.ones((SIDE, SIDE), bool))).reliance(images, ~SUBJECT, without=images)
    assert found.core == pytest.approx(0, abs=1e-6)


def test_images_without_the_artefact_show_what_their_place_is_worth():
    marked = [scene(i, i % 2, i % 2) for i in range(16)]
    plain = [scene(100 + i, i % 2, None) for i in range(16)]
    # The wide mask cuts into the disc, marked or not: what that costs is subtracted.
    assert Explainer(Reads(DISC)).reliance(marked, WIDE).relies is not True
    found = Explainer(Reads(DISC)).reliance(marked, WIDE, without=plain)
    assert (found.relies, found.intervention) == (False, "inpaint")
    assert found.effect == pytest.approx(0, abs=0.05)
    assert 0.05 < found.without < 0.2
    found = Explainer(Reads(CORNER)).reliance(marked, WIDE, without=plain)
    assert found.relies is True
    assert dict(found.rows())["without"].startswith("0.")


@pytest.mark.parametrize(
    ("without", "masks_", "reason"),
    [
        ([scene(0, 0, 0)], CORNER, "without= is one image; expected at least two, to see"),
        ([scene(0, 0, 0)] * 2, [CORNER] * 3 + [DISC], "without= needs the same mask in all images"),
        ([torch.rand(3, 40, 40)] * 2, CORNER, r"has shape \(32, 32\), the image has \(40, 40\)"),
    ],
)
def test_images_without_the_artefact_that_cannot_be_used(without, masks_, reason):
    with pytest.raises(HeatmapError, match=reason):
        Explainer(Reads(CORNER)).reliance(scenes(4), masks_, without=without)


def test_targets_set_the_class_whose_margin_is_read():
    explainer = Explainer(Reads(CORNER), classes=["red", "green", "blue"])
    images = scenes()
    assert explainer.reliance(images, CORNER, ["red", "green"] * 6).effect == pytest.approx(2, abs=0.1)
    # Of the class that an image is not, the margin rises when the other class's pixels go.
    assert explainer.reliance(images, CORNER, ["green", "red"] * 6).effect < -0.9
    with pytest.raises(HeatmapError, match="there are 2 targets for 12 images"):
        explainer.reliance(images, CORNER, ["red", "green"])
    with pytest.raises(HeatmapError, match="there are 1 targets for 12 images"):
        explainer.reliance(images, CORNER, "red")


@pytest.mark.parametrize(
    ("images", "places", "reason"),
    [
        ([], CORNER, "there are no images"),
        (scene(0, 0, 0), CORNER, r"images=Tensor is one image; expected a list of them; pass \[image\]"),
        ("photo.png", CORNER, r"images=str is one image"),
        (".", CORNER, r"images='\.' is a folder; .* as in sorted\(pathlib\.Path\('\.'\)\.glob\('\*\.png'\)\)"),
        (iter(scenes(3)), CORNER, r"images=list_iterator is not a list; .* pass list\(images\)"),
        (scenes(3), [CORNER, CORNER], "there are 2 masks for 3 images"),
        (scenes(3), np.zeros((SIDE, SIDE), bool), "is empty in the view"),
        (scenes(3), np.ones((SIDE, SIDE), bool), "covers the whole view"),
        (scenes(3), [CORNER, CORNER, np.zeros((SIDE, SIDE), bool)], "is empty in the view"),
        (scenes(3), np.full((SIDE, SIDE), np.nan), "holds NaN"),
    ],
)
def test_what_bears_no_verdict_is_refused(images, places, reason):
    for check in (Explainer(Reads(CORNER)).reliance, Explainer(Reads(CORNER)).assert_no_reliance):
        with pytest.raises(HeatmapError, match=reason):
            check(images, places)


@pytest.mark.parametrize("bound", [0, -1, 1.5, 50, float("nan"), True, "0.5"])
def test_bounds_that_decide_nothing_are_refused(bound):
    with pytest.raises(HeatmapError, match="at_most=.* cannot decide anything"):
        Explainer(Reads(CORNER)).assert_no_reliance(scenes(), CORNER, at_most=bound)


def test_models_that_bear_no_verdict_are_refused():
    images = scenes()
    dead = Reads(CORNER, scale=0.0, bias=(2.0, 1.0, 0.0))
    with pytest.raises(HeatmapError, match="ignores them altogether"):
        Explainer(dead).assert_no_reliance(images, CORNER)
    with pytest.raises(HeatmapError, match="ignores them altogether"):
        Explainer(dead).assert_no_reliance(images[:1], CORNER)
    with pytest.raises(HeatmapError, match="scores its best two classes the same"):
        Explainer(Reads(CORNER, scale=0.0)).assert_no_reliance(images, CORNER)
    with pytest.raises(HeatmapError, match="contain NaN or infinite values"):
        Explainer(Reads(CORNER, bias=(float("nan"), 0.0, 0.0))).assert_no_reliance(images, CORNER)


def test_an_undecided_reliance_never_passes():
    images = scenes(2)
    found = Explainer(Reads(CORNER | DISC)).reliance(images, CORNER)
    assert found.relies is None
    with pytest.raises(HeatmapError, match="no verdict on no_reliance: exchanging the masked pixels"):
        Explainer(Reads(CORNER | DISC)).assert_no_reliance(images, CORNER)


def test_a_model_without_a_layer_for_heatmaps_is_judged_all_the_same():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2, bias=False)

        def forward(self, x):
            return 10 * x[:, :2, 24:, 24:].mean((2, 3)) + 0 * self.head(x.mean((2, 3)))

    with pytest.raises((HeatmapError, NoEvidenceError)):
        Explainer(Flat())(scenes(1)[0]).mean_heat(CORNER)
    found = Explainer(Flat()).reliance(scenes(), CORNER)
    assert found.relies is True
    assert found.mean_heat is None
    assert found.agreement is None
    assert found.picture.size[0] > 100


def test_images_of_several_sizes_donate_within_their_size():
    small = scenes(8)
    large = [nn.functional.interpolate(image[None], scale_factor=2)[0] for image in scenes(8)]

    class Corner(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(3, 2, 1, bias=False)
            with torch.no_grad():
                self.features.weight.copy_(10 * torch.eye(2, 3)[:, :, None, None])

        def forward(self, x):
            side = x.shape[-1] * 3 // 4
            return self.features(x)[:, :, side:, side:].mean((2, 3))

    wide = masks.box((64, 64), (48, 48, 64, 64))
    found = Explainer(Corner()).reliance(small + large, [CORNER] * 8 + [wide] * 8)
    assert (found.relies, found.images) == (True, 16)


def test_the_picture_shows_up_to_three_images():
    found = Explainer(Reads(CORNER)).reliance(scenes(), CORNER)
    few = Explainer(Reads(CORNER)).reliance([scene(0, 1, 0)], CORNER)
    assert found.picture.size[1] > 2 * few.picture.size[1] - 400
    assert found.picture.mode == "RGB"


def test_the_picture_shows_none_of_the_images_without_the_artefact(monkeypatch):
    shown, images = [], scenes(4)
    monkeypatch.setattr(overlay, "draw_panels", lambda panels, **_: shown.append(panels))
    _ = Explainer(Reads(CORNER)).reliance(images[:2], CORNER, without=images[2:]).picture
    assert len(shown[0]) == 3 * 2


def test_the_verdict_is_the_same_each_time_and_in_batches_of_any_size():
    first = Explainer(Reads(CORNER)).reliance(scenes(), CORNER)
    assert Explainer(Reads(CORNER)).reliance(scenes(), CORNER) == first
    assert Explainer(Reads(CORNER), batch_size=5).reliance(scenes(), CORNER).effect == pytest.approx(
        first.effect, rel=1e-5
    )


def test_the_model_is_given_back():
    model = Reads(CORNER).train()
    before = state_of(model)
    Explainer(model).reliance(scenes(), CORNER)
    with pytest.raises(HeatmapError):
        Explainer(model).reliance(scenes(), np.zeros((SIDE, SIDE), bool))
    assert same(before, state_of(model))


WIDTH, PATCH = 16, 4


def bars(count, seed, *, tied):
    """Bars across or upright in faint grey, and a patch in the corner that is red or blue."""
    draw = torch.Generator().manual_seed(seed)
    labels, free = (torch.randint(2, (count,), generator=draw) for _ in range(2))
    images = 0.3 * torch.randn(count, 3, WIDTH, WIDTH, generator=draw)
    for image, label in zip(images, labels, strict=True):
        at = int(torch.randint(6, 12, (), generator=draw))
        (image[:, at : at + 2, 5:13] if label else image[:, 5:13, at : at + 2]).add_(1)
    return painted(images, labels if tied else free), labels


def painted(images, colours):
    images = images.clone()
    images[:, :, :PATCH, :PATCH] = 0
    images[torch.arange(len(images)), 2 * colours, :PATCH, :PATCH] = 2
    return images


def trained(*, tied):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2, 2), nn.ReLU(), nn.Conv2d(12, 24, 3, 1, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
        )  # fmt: skip
        images, labels = bars(512, 1, tied=tied)
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for batch in torch.arange(512).repeat(12).split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_what_training_left_in_the_model_is_told(tied):
    model = trained(tied=tied)
    images, labels = bars(50, 2, tied=tied)
    mask = np.zeros((WIDTH, WIDTH), bool)
    mask[:PATCH, :PATCH] = True

    found = Explainer(model).reliance(list(images), mask)

    with torch.no_grad():
        right = [
            float((model(seen).argmax(1) == labels).float().mean()) for seen in (images, painted(images, 1 - labels))
        ]
    assert right[0] >= 0.9
    assert (right[0] - right[1] >= 0.3) is tied  # the truth, from flipped colours
    assert found.relies is tied


def test_what_would_be_lost_is_told_by_class_and_whatever_the_order_and_however_often():
    images = scenes(24, classes=3)
    explainer = Explainer(Reads(CORNER), classes=["red", "green", "blue"])
    found = explainer.reliance(images, CORNER)
    assert found.loss == pytest.approx(1, abs=0.01)  # the model is that sure
    assert found.weak is False
    assert found.loss_interval[0] > 0.7
    assert found.by_class == {"red": 1, "green": 1, "blue": 1}
    assert found.matrix["red", "blue"] == 1
    assert found.verdict.startswith(
        "the model relies on the masked pixels: if they were exchanged, accuracy would fall by about 1.00 ("
    )
    assert repr(found).startswith("Reliance(relies=True, loss=0.996 (")
    order = np.random.default_rng(0).permutation(24)
    again = explainer.reliance([images[i] for i in order] + images[:5], CORNER)
    assert again == replace(found, copies=5)


def test_probabilities_lose_the_same_decisions():
    images = scenes(24, classes=3)
    plain = Explainer(Reads(CORNER | DISC)).reliance(images, CORNER)
    softened = Explainer(nn.Sequential(Reads(CORNER | DISC), nn.Softmax(1))).reliance(images, CORNER)
    assert softened.relies is plain.relies
    assert softened.loss == pytest.approx(plain.loss, abs=1e-6)


def smooth(images):
    """Scenes that the mask does not hide."""
    return [nn.functional.avg_pool2d(image[None], 5, 1, 2)[0] for image in images]


def test_where_the_scene_shows_through_neither_order_nor_copies_matter():
    images, explainer = smooth(scenes(30, classes=3)), Explainer(Reads(CORNER))
    found = explainer.reliance(images, CORNER)
    assert found.relies is True
    assert found.lost.control is not None  # the scene shows through, and its mean was exchanged at the mirrored place
    order = np.random.default_rng(0).permutation(30)
    again = explainer.reliance([images[i] for i in order] + images[:5], CORNER)
    assert again == replace(found, copies=5)
    assert explainer.reliance(images, DISC).loss == 0


@pytest.mark.parametrize("through", [False, True])
def test_it_costs_at_most_eight_forward_passes_an_image(through):
    passes = []

    class Counted(Reads):
        def forward(self, x):
            passes.append(len(x))
            return super().forward(x)

    images = scenes(50)
    if through:
        images = smooth(images)
    found = Explainer(Counted(DISC | CORNER)).reliance(images, masks.box((SIDE, SIDE), (20, 4, 30, 14)))
    assert found.loss is not None
    assert (found.lost.control is not None) is through
    assert sum(passes) <= 8 * 50
