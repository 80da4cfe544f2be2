"""assert_ignores and assert_relies_on, on models that read what they were built to read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Contrast, Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.evidence.current_test import running
from pytest_gradcam.replacement import control_regions, fills
from tests.conftest import COLOUR_MODEL, RecordingTest
from tests.states import same, state_of

SHAPE = (64, 64)
DISC = masks.box(SHAPE, (24, 24, 40, 40))
CORNER = masks.box(SHAPE, (48, 48, 60, 60))


class Reads(nn.Module):
    """Class 0 scores the red, class 1 the green, class 2 the blue of one region, and of nothing else."""

    def __init__(self, region, *, bias=(0.0, 0.0, 0.0), scale=10.0):
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.features.weight.copy_(scale * torch.eye(3)[:, :, None, None])
            self.features.bias.copy_(torch.tensor(bias))
        self.register_buffer("weight", torch.from_numpy(region / region.sum()).float())

    def forward(self, x):
        return (self.features(x) * self.weight.to(x.dtype)).sum((2, 3))


def scene(seed=0, disc=0, corner=1):
    """Noise with a disc and a corner, red, green or blue."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.4, 0.6, (3, *SHAPE)).astype(np.float32)
    for region, which in ((DISC, disc), (CORNER, corner)):
        image[:, region] = 0.1
        image[which, region] = 0.9
    return torch.from_numpy(image)


def record_of(check, *arguments, **more):
    """The record that a check leaves, and what it raised."""
    recording, raised = RecordingTest(), None
    with running(recording):
        try:
            check(*arguments, **more)
        except (FocusError, HeatmapError) as error:
            raised = error
    assert recording.pictures[0].size[0] > 100
    (record,) = recording.records
    return record, raised


def test_the_region_that_is_read_is_relied_on_and_no_other():
    explainer, image = Explainer(Reads(DISC)), scene()
    explainer.assert_relies_on(image, DISC)
    explainer.assert_ignores(image, CORNER)
    with pytest.raises(FocusError, match="falls by at most 0 units with every fill of the masked pixels"):
        explainer.assert_relies_on(image, CORNER)
    with pytest.raises(FocusError, match="with every fill of the pixels to ignore; expected a fall of at most 0.25"):
        explainer.assert_ignores(image, DISC)


def test_with_other_images_their_pixels_decide_too():
    explainer, others = Explainer(Reads(CORNER)), [scene(i, i % 3, i % 3) for i in range(1, 8)]
    record, raised = record_of(explainer.assert_ignores, scene(), CORNER, others=others)
    assert isinstance(raised, FocusError)
    labels = dict(record.details)
    assert list(labels) == ["colour", "inpainted", "pasted", "blurred", "noise", "rest", "unit"]
    assert labels["pasted"].startswith("'1' becomes '")
    assert "on average over 4 other images" in labels["pasted"]
    assert "(for information)" in labels["noise"]
    assert "the mean lead over 8 images" in labels["unit"]
    assert all(len(label) <= 10 for label in labels)


def test_pixels_of_another_class_say_more_than_those_of_the_same():
    faint = scene(5)
    noise = torch.rand(3, 144, generator=torch.Generator().manual_seed(0))
    faint[:, CORNER] = noise * torch.tensor([0.3, 0.9, 0.3])[:, None]  # the same class, but not the same pixels
    record, _ = record_of(Explainer(Reads(CORNER)).assert_ignores, scene(), CORNER, others=[faint, scene(6, corner=2)])
    assert "on average" not in dict(record.details)["pasted"]
    fainter = faint.clone()
    fainter[:, CORNER] *= 0.99
    record, _ = record_of(Explainer(Reads(CORNER)).assert_ignores, scene(), CORNER, others=[faint, fainter])
    assert "on average over 2 other images" in dict(record.details)["pasted"]  # there are no others


def test_the_unit_of_one_image_is_its_own_lead():
    record, _ = record_of(Explainer(Reads(DISC)).assert_relies_on, scene(), DISC, at_least=0.9)
    assert record.outcome == "passed"
    # Grey all over the disc: the lead is gone, and is one unit.
    assert record.figure == pytest.approx(1, abs=0.1)
    assert "one unit is a difference of 8 in the logit: the image's own lead" in dict(record.details)["unit"]


def test_a_figure_on_the_bound_keeps_it():
    record, _ = record_of(Explainer(Reads(DISC)).assert_ignores, scene(), CORNER)
    assert record.outcome == "passed"
    assert record.figure <= 1e-6
    assert record.direction == "at_most"
    assert (record.target, record.rank, record.classes, record.view) == ("0", 1, 3, SHAPE)
    assert record.mask_area == pytest.approx(CORNER.mean())


@pytest.mark.parametrize("name", ["assert_ignores", "assert_relies_on"])
def test_fills_that_disagree_decide_nothing(name):
    class Grey(nn.Module):
        """Sees the disc in anything but grey."""

        def __init__(self):
            super().__init__()
            self.probe = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            inside = x[:, :, 24:40, 24:40]
            spread = inside.std(dim=1).mean((1, 2))
            return torch.stack([10 * spread, torch.full_like(spread, 0.5)], 1)

    image = scene()
    image[:] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    image[:, :4] = torch.tensor([0.0, 1.0, 1.0])[:, None, None]  # so that the middle of the range is grey
    with pytest.raises(
        HeatmapError, match=r"the fills disagree: the margin falls by \d\.\d\d units \(colour\), but it falls by"
    ):
        getattr(Explainer(Grey()), name)(image, DISC)


def test_a_model_that_any_change_moves_is_undecided():
    class Fragile(nn.Module):
        """Counts the pixels that are noise: any fill takes some away."""

        def __init__(self):
            super().__init__()
            self.probe = nn.Conv2d(3, 1, 1)

        def forward(self, x):
            rough = (x[:, :, 1:] - x[:, :, :-1]).abs().mean((1, 2, 3))
            return torch.stack([100 * rough, 100 * torch.full_like(rough, 0.06)], 1)

    image = scene()
    image[:, CORNER | DISC] = (
        torch.rand(3, int((CORNER | DISC).sum()), generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    )
    for check in (Explainer(Fragile()).assert_ignores, Explainer(Fragile()).assert_relies_on):
        record, raised = record_of(
            check, image, CORNER, **{"at_most" if "ignores" in check.__name__ else "at_least": 0.2}
        )
        assert "any change of this size changes the prediction" in str(raised)
        assert record.outcome == "invalid"
        assert dict(record.details)["colour"]  # its figures stay on the record


def test_a_mask_over_half_of_the_view_has_no_control():
    large = masks.box(SHAPE, (0, 0, 64, 50))
    with pytest.raises(HeatmapError, match="covers more than half of the view and its shape fits nowhere else"):
        Explainer(Reads(DISC)).assert_relies_on(scene(), large)
    # What moves nothing needs no control.
    Explainer(Reads(CORNER & ~large)).assert_ignores(scene(), large)


def test_up_to_half_of_the_view_all_the_rest_is_the_control():
    wide = masks.box(SHAPE, (0, 20, 64, 42)) | masks.box(SHAPE, (30, 0, 34, 64))
    assert wide.mean() < 0.5
    Explainer(Reads(DISC)).assert_relies_on(scene(), wide)


def test_a_model_that_ignores_its_input_passes_nothing():
    dead = Reads(DISC, bias=(3.0, 1.0, 0.0), scale=0.0)
    for check in (Explainer(dead).assert_ignores, Explainer(dead).assert_relies_on):
        with pytest.raises(HeatmapError, match="gives every image the same scores"):
            check(scene(), CORNER)


def test_a_model_without_a_lead_passes_nothing():
    twins = Reads(DISC)
    with torch.no_grad():
        twins.features.weight[1] = twins.features.weight[0]
    with pytest.raises(HeatmapError, match="scores its best two classes the same"):
        Explainer(twins).assert_ignores(scene(), CORNER)


def test_scores_that_are_not_finite_pass_nothing():
    with pytest.raises(HeatmapError, match="contain NaN or infinite values; check the weights"):
        Explainer(Reads(DISC, bias=(float("nan"), 0.0, 0.0))).assert_ignores(scene(), CORNER)


@pytest.mark.parametrize("bound", [0, -0.1, 1.01, 40, float("nan"), float("inf"), True, "0.4", None])
@pytest.mark.parametrize(("name", "keyword"), [("assert_ignores", "at_most"), ("assert_relies_on", "at_least")])
def test_bounds_that_decide_nothing_are_refused(name, keyword, bound):
    with pytest.raises(
        HeatmapError, match=f"{keyword}=.* cannot decide anything; expected a fall of the margin above 0"
    ):
        getattr(Explainer(Reads(DISC)), name)(scene(), DISC, **{keyword: bound})


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.zeros(SHAPE, bool), "the mask of tensor 64x64 is empty in the view: it has no pixel"),
        (np.ones(SHAPE, bool), "covers the whole view, so nothing would be left"),
        (np.zeros((32, 64), bool), r"has shape \(32, 64\), the image has \(64, 64\)"),
        (np.arange(64 * 64).reshape(SHAPE) % 3, "holds the label ids"),
    ],
)
def test_masks_that_bear_no_verdict(mask, reason):
    for check in (Explainer(Reads(DISC)).assert_ignores, Explainer(Reads(DISC)).assert_relies_on):
        with pytest.raises(HeatmapError, match=reason):
            check(scene(), mask)


def test_targets_are_classes():
    explainer, image = Explainer(Reads(DISC), classes=["red", "green", "blue"]), scene()
    explainer.assert_relies_on(image, DISC, target="red")
    explainer.assert_relies_on(image, DISC, target=Contrast("red", "blue"))
    with pytest.raises(FocusError, match="the margin of 'green' rises by at least"):
        explainer.assert_relies_on(image, DISC, target="green")  # it gains when the red goes
    with pytest.raises(HeatmapError, match="there is no class 'rod'"):
        explainer.assert_relies_on(image, DISC, target="rod")
    with pytest.raises(HeatmapError, match="target=3 is out of range"):
        explainer.assert_relies_on(image, DISC, target=3)
    with pytest.raises(HeatmapError, match="the score has no margin, and 1 image cannot say by how much it differs"):
        explainer.assert_relies_on(image, DISC, target=lambda output: output[0])


def test_pixels_that_speak_against_the_class_that_was_named_are_not_ignored():
    """To take the red disc away makes more of 'green', which never falls: the model reads nothing but that disc."""
    explainer, image = Explainer(Reads(DISC), classes=["red", "green", "blue"]), scene()
    record, raised = record_of(explainer.assert_ignores, image, DISC, target="green")
    assert record.outcome == "invalid"
    assert "without these pixels the margin of 'green' rises by 1" in str(raised)
    assert "perhaps for 'red', which the model predicts; leave target out" in str(raised)
    explainer.assert_ignores(image, CORNER, target="green")


@pytest.mark.parametrize(("others", "advice"), [(0, "or pass others=, or use"), (1, "or use")])
def test_the_control_that_forbids_a_verdict_is_named_and_advice_asks_for_nothing_that_was_passed(others, advice):
    """A shape that fits nowhere else: all the rest is the control, and the model reads as much in it as in the shape."""
    wide = masks.box(SHAPE, (0, 20, 64, 42)) | masks.box(SHAPE, (30, 0, 34, 64))
    second = masks.box(SHAPE, (2, 2, 18, 18))

    def twice(which):
        image = scene(which, disc=which)
        image[:, second] = image[:, DISC]
        return image

    with pytest.raises(HeatmapError) as caught:
        Explainer(Reads(DISC | second)).assert_ignores(twice(0), wide, others=[twice(1)][:others])
    assert "replacing all the rest (the mask's shape fits nowhere else) costs" in str(caught.value)
    assert f"any change of this size changes the prediction; pass a smaller mask, {advice} reliance()" in str(
        caught.value
    )


def test_others_of_another_size_are_refused():
    with pytest.raises(HeatmapError, match=r"in others has shape \(3, 32, 32\) for the model, the image \(3, 64, 64\)"):
        Explainer(Reads(DISC)).assert_ignores(scene(), CORNER, others=[torch.rand(3, 32, 32)])


def test_others_that_hold_the_same_donate_nothing():
    explainer, others = Explainer(Reads(DISC)), [scene(i) for i in range(1, 5)]
    record, _ = record_of(explainer.assert_ignores, scene(), CORNER, others=others)
    assert "pasted" not in dict(record.details)


def test_one_check_is_two_batches_at_the_most():
    model, sizes = Reads(DISC), []
    model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    explainer = Explainer(model)
    explainer.assert_relies_on(scene(), DISC)
    # Two to see once whether images mix in a batch, and seven what the outputs are: the model ends in a sum of products.
    assert sizes == [2, *[1] * 8, 11]
    sizes.clear()
    explainer.assert_relies_on(scene(), DISC)
    assert len(sizes) == 1
    sizes.clear()
    explainer.assert_relies_on(scene(), DISC, others=[scene(i, i % 3, i % 3) for i in range(1, 30)])
    assert len(sizes) == 2


def test_the_model_is_given_back():
    model = Reads(DISC).train()
    before = state_of(model)
    Explainer(model).assert_relies_on(scene(), DISC)
    with pytest.raises(FocusError):
        Explainer(model).assert_relies_on(scene(), CORNER)
    assert same(before, state_of(model))


def test_the_verdict_is_the_same_each_time():
    explainer = Explainer(Reads(DISC))
    first, again = (record_of(explainer.assert_relies_on, scene(), DISC)[0] for _ in range(2))
    assert first == again


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model = Reads(DISC).to(dtype)
    Explainer(model).assert_relies_on(scene().to(dtype), DISC)
    Explainer(model).assert_ignores(scene().to(dtype), CORNER)


def test_grey_inputs():
    class Grey(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Conv2d(1, 2, 1, bias=False)

        def forward(self, x):
            level = x[:, 0, 24:40, 24:40].mean((1, 2))
            return torch.stack([10 * level, torch.full_like(level, 5.0)], 1)

    image = np.full(SHAPE, 60, np.uint8)
    image[DISC] = 230
    image[0, 0], image[0, 1] = 0, 255

    def preprocess(picture):
        return torch.from_numpy(np.asarray(picture, np.float32))[None] / 255

    explainer = Explainer(Grey(), preprocess=preprocess)
    explainer.assert_relies_on(image, DISC)
    explainer.assert_ignores(image, CORNER)


def test_a_class_that_needs_no_evidence_is_never_shown_to_ignore_anything():
    explainer, image = Explainer(Reads(DISC, bias=(1.0, 0.0, 0.0))), scene()
    for shown in (CORNER, masks.box(SHAPE, (0, 0, 8, 8))):
        with pytest.raises(HeatmapError, match="'0' is also what the model predicts for a blank image"):
            explainer.assert_ignores(image, shown)
    explainer.assert_ignores(image, CORNER, others=[scene(1, disc=1, corner=2)])  # it brings in another class's pixels
    with pytest.raises(FocusError):
        Explainer(Reads(CORNER, bias=(1.0, 0.0, 0.0))).assert_ignores(
            scene(corner=0), CORNER, others=[scene(1, disc=1, corner=1)]
        )


def test_pictures_ride_through_the_preprocess_and_cropped_masks_are_refused():
    namespace = {}
    exec(COLOUR_MODEL, namespace)

    def crop(picture):
        return namespace["preprocess"](picture)[:, :64, :64]

    image = np.full((96, 96, 3), 30, np.uint8)
    image[8:40, 8:40] = (230, 30, 30)
    image[90:, 90:] = (255, 255, 255)
    explainer = Explainer(namespace["build"](), preprocess=crop)
    explainer.assert_relies_on(image, masks.box((96, 96), (8, 8, 40, 40)))
    green = image[..., [1, 0, 2]] // 2  # its pixels are others in the mask
    explainer.assert_ignores(image, masks.box((96, 96), (48, 48, 60, 60)), others=[green])
    with pytest.raises(HeatmapError, match="the preprocess kept 0 % of it: the view shows x 0 to 63"):
        explainer.assert_ignores(image, masks.box((96, 96), (70, 70, 90, 90)))


NAMES = ["red", "green", "blue"]
OTHERS = [scene(i, i % 3, i % 3) for i in range(1, 8)]


def plain():
    """A red disc (0.9, 0.1, 0.1) on a flat reddish ground (0.6, 0.3, 0.3), and a row of cyan: the middle is (0.45, 0.55)."""
    image = torch.tensor([0.6, 0.3, 0.3])[:, None, None].repeat(1, *SHAPE)
    image[:, DISC] = torch.tensor([0.9, 0.1, 0.1])[:, None]
    image[:, 0] = torch.tensor([0.0, 1.0, 1.0])[:, None]
    return image


def reader():
    """Scores the disc, and a twentieth of all the picture: the disc's weights are 268.8 in all, the ground's 192."""
    return Explainer(Reads(DISC + 0.05), classes=NAMES)


#: What the lead of red over green is made of: the ground, and the disc as it is, with the middle colour, and inpainted.
GROUND, DISC_LEAD, MIDDLE, PAINTED = 0.05 * (0.3 * 3776 - 64), 0.8 * 268.8, -0.1 * 268.8, 0.3 * 268.8
LEAD = DISC_LEAD + GROUND
COLOUR, INPAINTED = (DISC_LEAD - MIDDLE) / LEAD, (DISC_LEAD - PAINTED) / LEAD  # 0.901 and 0.501


class TestFigure:
    """The figure is that of the fill that speaks against the verdict the most."""

    @pytest.mark.parametrize(
        ("check", "bound", "outcome", "figure"),
        [
            ("relies_on", 0.4, "passed", INPAINTED),
            ("relies_on", 0.95, "failed", COLOUR),
            ("ignores", 0.95, "passed", COLOUR),
            ("ignores", 0.4, "failed", INPAINTED),
        ],
    )
    def test_the_least_fall_where_all_move_it_and_the_largest_where_none_does(self, check, bound, outcome, figure):
        name = "at_least" if check == "relies_on" else "at_most"
        record, _ = record_of(getattr(reader(), f"assert_{check}"), plain(), DISC, **{name: bound})
        assert (record.check, record.outcome, record.bound) == (check, outcome, bound)
        assert (record.measure, record.direction) == ("fall of the margin", name)
        assert record.figure == pytest.approx(figure, abs=1e-4)
        side = "at least" if figure == INPAINTED else "at most"
        what = "masked pixels" if check == "relies_on" else "pixels to ignore"
        assert record.finding == (
            f"the margin of 'red' falls by {side} {figure:.3g} units with every fill of the {what}; expected a fall of "
            f"{name.replace('_', ' ')} {bound}"
        )

    def test_the_bound_itself_is_kept(self):
        explainer = reader()
        least = record_of(explainer.assert_relies_on, plain(), DISC, at_least=0.4)[0].figure
        most = record_of(explainer.assert_ignores, plain(), DISC, at_most=0.95)[0].figure
        explainer.assert_relies_on(plain(), DISC, at_least=least)
        explainer.assert_ignores(plain(), DISC, at_most=most)
        with pytest.raises(HeatmapError, match="the fills disagree"):
            explainer.assert_relies_on(plain(), DISC, at_least=math.nextafter(least, 1))
        with pytest.raises(HeatmapError, match="the fills disagree"):
            explainer.assert_ignores(plain(), DISC, at_most=math.nextafter(most, 0))

    def test_a_fall_never_reads_like_the_bound_it_missed(self):
        most = record_of(reader().assert_ignores, plain(), DISC, at_most=0.95)[0].figure
        record, _ = record_of(reader().assert_relies_on, plain(), DISC, at_least=round(most + 2e-5, 6))
        assert f"falls by at most {most:.5g} units" in record.finding

    def test_a_rise_is_called_one(self):
        record, _ = record_of(Explainer(Reads(DISC), classes=NAMES).assert_relies_on, scene(), DISC, target="green")
        assert record.figure == pytest.approx(-1, abs=0.01)
        assert record.finding == (
            "the margin of 'green' rises by at least 1 units with every fill of the masked pixels; expected a fall of at "
            "least 0.5"
        )

    @pytest.mark.parametrize(("check", "bound"), [("relies_on", 0.5), ("ignores", 0.25)])
    def test_bounds_that_nobody_gave(self, check, bound):
        record, _ = record_of(getattr(Explainer(Reads(DISC)), f"assert_{check}"), scene(), DISC)
        assert record.bound == bound


class TestControls:
    def test_each_fill_has_its_own(self):
        rows = dict(record_of(reader().assert_relies_on, plain(), DISC, at_least=0.4)[0].details)
        assert rows["colour"] == (
            "'red' stays, score 7.71 to 5.08; the margin falls by 0.90 units, in control regions by 0.02"
        )
        assert rows["inpainted"] == (
            "'red' stays, score 7.71 to 5.96; the margin falls by 0.50 units, in control regions by 0.00"
        )
        assert rows["blurred"].endswith(" units (for information)")
        assert "control" not in rows["blurred"]
        assert rows["rest"] == "with all the rest replaced instead, the margin falls by 0.27 units"

    def test_a_control_that_goes_the_other_way_says_so(self):
        explainer = Explainer(Reads(DISC - 0.05), classes=NAMES)
        rows = dict(record_of(explainer.assert_relies_on, plain(), DISC, at_least=0.4)[0].details)
        assert ", in control regions it rises by 0.0" in rows["colour"]

    def test_the_same_shape_elsewhere_that_moves_it_as_far_forbids_a_verdict(self):
        elsewhere = control_regions.elsewhere(CORNER, fills.soft(CORNER) > 0)
        assert len(elsewhere) == 2
        marked, image = CORNER | elsewhere[0] | elsewhere[1], scene()
        image[:, marked] = torch.tensor([0.9, 0.1, 0.1])[:, None]
        for check in (Explainer(Reads(marked)).assert_relies_on, Explainer(Reads(marked)).assert_ignores):
            record, raised = record_of(check, image, CORNER, **{_bound(check): 0.1})
            assert record.reason == (  # a third of a fall from 0.9 - 0.1 to the middles, 0.65 - 0.35
                "replacing the same shape elsewhere costs 0.21 units, the mask 0.21 (colour): any change of this "
                "size changes the prediction; pass a smaller mask, or pass others=, or use reliance() on a set of images"
            )
            assert isinstance(raised, HeatmapError)
            assert (record.outcome, record.figure) == ("invalid", None)

    def test_with_others_they_are_not_asked_for_again(self):
        elsewhere = control_regions.elsewhere(CORNER, fills.soft(CORNER) > 0)
        marked, image = CORNER | elsewhere[0] | elsewhere[1], scene()
        image[:, marked] = torch.tensor([0.9, 0.1, 0.1])[:, None]
        others = [image + shade * (~torch.from_numpy(marked)) for shade in (0.01, 0.02)]  # differ elsewhere alone
        record, _ = record_of(Explainer(Reads(marked)).assert_ignores, image, CORNER, at_most=0.1, others=others)
        assert record.reason.endswith("pass a smaller mask, or use reliance() on a set of images")

    def test_of_half_of_the_view_the_other_half_is_the_control(self):
        half = masks.box(SHAPE, (0, 20, 64, 42)) | masks.box(SHAPE, (30, 0, 34, 64))  # a cross, which fits nowhere else
        half.flat[np.flatnonzero(~half)[: 2048 - half.sum()]] = True
        assert 2 * half.sum() == half.size
        Explainer(Reads(DISC)).assert_relies_on(scene(), half)
        below = masks.box(SHAPE, (4, 46, 20, 62))
        image = scene()
        image[:, below] = image[:, DISC]
        with pytest.raises(HeatmapError) as caught:
            Explainer(Reads(DISC | below)).assert_relies_on(image, half, at_least=0.2)
        assert str(caught.value).splitlines()[0] == (
            "no verdict on relies_on: replacing all the rest (the mask's shape fits nowhere else) costs 0.50 units, the mask "
            "0.50 (colour): any change of this size changes the prediction; pass a smaller mask, or pass others=, or use "
            "reliance() on a set of images"
        )
        half.flat[np.flatnonzero(~half)[0]] = True
        with pytest.raises(HeatmapError, match="the mask covers more than half of the view and its shape fits nowhere"):
            Explainer(Reads(DISC)).assert_relies_on(scene(), half)


def _bound(check):
    return "at_most" if check.__name__ == "assert_ignores" else "at_least"


class TestAdvice:
    MORE = "reliance(images, masks) on a set of images says how certain this is"
    SINGLE = f"{MORE}; others= makes a single image more certain"
    CARRIES = "look at the picture: if the outline is right, something else in the image carries the class; "
    SHORTCUT = "look at the picture: if the mask contains nothing of the object, these pixels are a shortcut; "

    @pytest.mark.parametrize(("others", "more"), [([], SINGLE), (OTHERS, MORE)])
    def test_what_to_do_next(self, others, more):
        explainer = Explainer(Reads(DISC), classes=NAMES)
        for check, mask, words in (
            (explainer.assert_relies_on, CORNER, self.CARRIES),
            (explainer.assert_ignores, DISC, self.SHORTCUT),
        ):
            record, raised = record_of(check, scene(), mask, others=others)
            assert isinstance(raised, FocusError)
            assert record.advice == words + more

    def test_a_wrong_prediction_is_settled_first(self):
        record, _ = record_of(Explainer(Reads(DISC), classes=NAMES).assert_relies_on, scene(), DISC, target="green")
        assert record.advice == (
            "look at the picture; the model predicts 'red', so look into the prediction first, or leave target out "
            "to see what the prediction is based on"
        )


def test_a_class_that_needs_no_evidence():
    explainer = Explainer(Reads(DISC, bias=(1.0, 0.0, 0.0)), classes=NAMES)
    record, _ = record_of(explainer.assert_ignores, scene(), CORNER)
    assert record.reason == (
        "'red' is also what the model predicts for a blank image, so its margin would not fall wherever the evidence "
        "was removed; pass others= that are predicted as another class, or an image of another class"
    )


def test_pixels_that_speak_against_the_class():
    explainer = Explainer(Reads(DISC), classes=NAMES)
    record, _ = record_of(explainer.assert_ignores, scene(), DISC, target="green")
    assert record.reason == (
        "without these pixels the margin of 'green' rises by 1.01 units: they are evidence against it, and perhaps for 'red', "
        "which the model predicts; leave target out to ask whether the prediction depends on them"
    )
    little = Explainer(Reads(DISC + 0.2 * CORNER), classes=NAMES)
    little.assert_ignores(scene(corner=0), CORNER, target="green")  # it rises, but by less than the bound
