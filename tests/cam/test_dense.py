"""Detectors and segmenters: evidence for one object, and for a class in one region, where it is known to lie."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models import detection, segmentation
from torchvision.models.detection.anchor_utils import AnchorGenerator

from pytest_gradcam.cam.dense import ClassToFind, sum_levels
from pytest_gradcam.cam.detection import explain_box
from pytest_gradcam.cam.output_kind import Asked, OutputReader
from pytest_gradcam.cam.segmentation import explain_region
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.grids import resize
from pytest_gradcam.state.guard import untouched
from pytest_gradcam.targets import Box, ClassNames, Region
from tests.states import same, state_of

RED, GREEN = 0, 1
NAMES = ("red", "green", "blue").__getitem__


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Colours(nn.Module):
    """The mean colour of each cell of 8 x 8 pixels."""

    out_channels = 3

    def forward(self, images):
        return F.avg_pool2d(images, 8)


class Head(nn.Module):
    """Each anchor's logit for a colour grows with the mean of that colour in the anchor, 4 x 4 cells."""

    gain = 10.0

    def forward(self, levels):
        (cells,) = levels
        means = F.avg_pool2d(F.pad(cells, (2, 1, 2, 1)), 4, stride=1)
        logits = self.gain * (means - 0.25).flatten(2).transpose(1, 2)
        return {"cls_logits": logits, "bbox_regression": logits.new_zeros(len(logits), logits.shape[1], 4)}


def colour_detector(**options):
    """A RetinaNet that finds squares of 32 pixels by their colour, with anchors at every corner of four cells."""
    anchors = AnchorGenerator(sizes=((32,),), aspect_ratios=((1.0,),))
    options = {"min_size": 96, "max_size": 160, "score_thresh": 0.3} | options
    plain = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "detections_per_img": 20}
    return detection.RetinaNet(Colours(), 3, anchor_generator=anchors, head=Head(), **plain, **options)


def picture(*squares, size=(96, 160)):
    """Black, with squares of (channel, x0, y0, x1, y1)."""
    image = torch.zeros(3, *size)
    for channel, x0, y0, x1, y1 in squares:
        image[channel, y0:y1, x0:x1] = 1
    return image


def explained(model, image, box, label=None, **options):
    with untouched(model):
        return explain_box(model, image, Box(label, box), ClassToFind(label, NAMES), **options)


def heat(dense):
    return np.maximum(dense.grid, 0)


def test_the_heat_lies_on_its_own_object_and_not_on_another_of_its_class():
    image = picture((RED, 16, 16, 48, 48), (RED, 96, 48, 128, 80), (GREEN, 16, 56, 48, 88))
    for x, y in ((16, 16), (96, 48)):
        dense = explained(colour_detector(), image, (x, y, x + 32, y + 32), RED)
        truth = np.zeros((12, 20), np.float32)
        truth[y // 8 : y // 8 + 4, x // 8 : x // 8 + 4] = 1
        # gradient of sigmoid(10 (mean - 0.25)) with respect to one of 16 cells
        probability = 1 / (1 + math.exp(-7.5))
        np.testing.assert_allclose(dense.grid, truth * 10 / 16 * probability * (1 - probability), rtol=1e-4, atol=1e-9)
        assert dense.score == pytest.approx(probability)
        assert (dense.label, dense.layer) == (RED, "backbone")


def test_the_heat_lies_on_the_part_of_the_object_that_decides():
    image = picture((RED, 16, 16, 32, 48), (GREEN, 32, 16, 48, 48))
    left, right = (explained(colour_detector(), image, (16, 16, 48, 48), label) for label in (RED, GREEN))
    assert heat(left)[:, 2:4].sum() == pytest.approx(heat(left).sum()) != 0
    assert heat(right)[:, 4:6].sum() == pytest.approx(heat(right).sum()) != 0
    assert (left.label, right.label) == (RED, GREEN)


@pytest.mark.parametrize(
    "sizes",
    [
        {"min_size": 80, "max_size": 160},  # 50 x 90 becomes 80 x 144, padded to 96 x 160
        {"min_size": 160, "max_size": 150},  # the longer side binds: 83 x 150, padded to 96 x 160
        {"fixed_size": (96, 96)},  # as in SSD: the aspect is lost
    ],
    ids=str,
)
def test_the_heatmap_is_in_the_coordinates_of_the_image_passed(sizes):
    model = colour_detector(**sizes)
    image = picture((RED, 60, 20, 80, 40), size=(50, 90))
    with torch.no_grad():
        found = model.eval()([image])[0]
    box = found["boxes"][0]
    dense = explained(model, image, box.tolist(), RED)
    values = resize(heat(dense), (50, 90))
    y, x = np.mgrid[:50, :90] + 0.5
    centre = (values * x).sum() / values.sum(), (values * y).sum() / values.sum()
    assert centre == pytest.approx((70, 30), abs=2)
    assert values[16:44, 56:84].sum() / values.sum() > 0.9


@given(
    st.lists(st.tuples(st.integers(4, 24), st.integers(4, 24)), min_size=1, max_size=3),
    st.floats(0.5, 1),
    st.floats(0.5, 1),
)
def test_levels_are_summed_place_by_place_without_the_padding(grids, high, wide):
    """Levels that hold their own coordinates, from 0 to 1 over the padded input, keep them: bilinear is exact on these."""
    maps = [((torch.arange(w) + 0.5) / w + 10 * (torch.arange(h)[:, None] + 0.5) / h).double() for h, w in grids]
    total = sum_levels(maps, (high, wide))
    h, w = total.shape
    finest = max(grids, key=lambda grid: grid[0] * grid[1])
    assert all(
        full * share - 1e-5 <= n < full * share + 1 for n, full, share in zip((h, w), finest, (high, wide), strict=True)
    )
    expected = 0
    for rows, columns in grids:  # nothing is known beyond the centres of the outer cells
        x = np.clip((np.arange(w) + 0.5) / w * wide, 0.5 / columns, 1 - 0.5 / columns)
        y = np.clip((np.arange(h) + 0.5) / h * high, 0.5 / rows, 1 - 0.5 / rows)
        expected = expected + x + 10 * y[:, None]
    np.testing.assert_allclose(total.numpy(), expected, atol=1e-5)


def test_no_object_at_the_box_is_an_error_that_lists_the_nearest():
    image = picture((RED, 16, 16, 48, 48), (GREEN, 96, 48, 128, 80))
    with pytest.raises(HeatmapError) as error:
        explained(colour_detector(), image, (16, 56, 48, 88), RED)
    assert str(error.value).startswith(
        "no detection of 'red' overlaps the box (16, 56, 48, 88) with an IoU of at least 0.5; the nearest of "
    )
    with torch.no_grad():
        found = colour_detector().eval()([image])[0]
    assert f"of {len(found['scores'])} detections" in str(error.value)
    with pytest.raises(HeatmapError, match="'red' with score 1.00 and IoU 1.00"):
        explained(colour_detector(), image, (16, 16, 48, 48), GREEN)


def test_any_label_takes_the_best_box_and_a_label_the_best_of_its_own():
    image = picture((GREEN, 16, 16, 48, 48), (RED, 24, 16, 56, 48))
    green, red = (16, 16, 48, 48), (24, 16, 56, 48)
    assert explained(colour_detector(), image, green).label == GREEN
    assert explained(colour_detector(), image, red).label == RED
    assert explained(colour_detector(), image, green, RED).label == RED


def test_nothing_found_at_all_is_said():
    with pytest.raises(HeatmapError, match="the detector found nothing in this image"):
        explained(colour_detector(score_thresh=0.999), picture(), (0, 0, 32, 32))


@pytest.mark.parametrize("box", [(1, 2, 3), (10, 0, 5, 8), (0, 0, float("nan"), 8), (0, 0, 5, 0), "left", None, 3])
def test_what_is_no_box_is_refused_before_any_work(box):
    with pytest.raises(HeatmapError, match=r"is not a box; expected four numbers \(x0, y0, x1, y1\)"):
        Box("red", box)


def test_targets_can_be_keys():
    assert {Box("red", np.array([0, 0, 8, 8])): 1}[Box("red", [0, 0, 8, 8])] == 1
    region = Region("road", np.ones((4, 4), bool))
    assert {region: 1, Region("road"): 2}[region] == 1


def test_a_score_that_float32_rounds_to_one_is_explained_in_float64():
    model, image = colour_detector(), picture((RED, 16, 16, 48, 48))
    model.head.gain = 28.0  # a logit of 21
    dense = explained(model, image, (16, 16, 48, 48), RED)
    slope = 28 / 16 / (1 + math.exp(21)) / (1 + math.exp(-21))
    assert dense.grid.dtype == np.float32
    np.testing.assert_allclose(dense.grid[2:6, 2:6], slope, rtol=1e-5)
    model.head.gain = 80.0
    with pytest.raises(HeatmapError, match="the score of this detection, 1, is saturated"):
        explained(model, image, (16, 16, 48, 48), RED)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_detectors_are_computed_in_float32_and_stay_what_they_are(dtype):
    model = torchvision_detector("ssdlite320_mobilenet_v3_large")
    image = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(0)).to(dtype)
    (box, label), _ = left_and_right(model, image.float())
    model.to(dtype)
    before = state_of(model)
    dense = explained(model, image, box, label)
    assert same(before, state_of(model))
    expected = explained(model.float(), image.float(), box, label)
    np.testing.assert_array_equal(dense.grid, expected.grid)


def test_nan_is_never_a_map():
    model = colour_detector()
    for value in (float("nan"), float("inf")):
        image = picture((RED, 16, 16, 48, 48))
        image[0, 0, 0] = value
        with pytest.raises(HeatmapError, match="the image holds NaN or infinite values"):
            explained(model, image, (16, 16, 48, 48))
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    broken = "head.classification_head.module_list.0.1.weight"
    with torch.no_grad():
        model.get_parameter(broken).fill_(float("nan"))
        model.head.classification_head.module_list[1][1].weight.fill_(float("nan"))
    model.score_thresh = 0.9
    with pytest.raises(HeatmapError, match=f"the weights at {broken} hold NaN or infinite values"):
        explained(model, picture(), (0, 0, 32, 32))


@pytest.mark.parametrize("image", [torch.zeros(96, 160), torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(3, 0, 8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(HeatmapError, match=r"is not an image; expected a float tensor \(C, H, W\)"):
        explained(colour_detector(), image, (0, 0, 32, 32))


def test_other_models_are_refused():
    model = nn.Conv2d(3, 2, 1)
    with pytest.raises(HeatmapError, match="Conv2d is not one of torchvision's detectors"):
        explained(model, picture(), (0, 0, 32, 32))
    with pytest.raises(HeatmapError, match="Conv2d is not built like a segmenter of torchvision, seg"):
        region_of(model, picture(), 0)


DETECTORS = {
    "fasterrcnn_resnet50_fpn": {"box_score_thresh": 0.0, "min_size": 128, "max_size": 200},
    "fasterrcnn_mobilenet_v3_large_fpn": {"box_score_thresh": 0.0, "rpn_score_thresh": 0.0, "min_size": 128},
    "maskrcnn_resnet50_fpn": {"box_score_thresh": 0.0, "min_size": 96, "box_detections_per_img": 20},
    "retinanet_resnet50_fpn": {"score_thresh": 0.0, "min_size": 128, "max_size": 200},
    "fcos_resnet50_fpn": {"score_thresh": 0.0, "min_size": 128, "max_size": 200},
    "ssd300_vgg16": {"score_thresh": 0.0},
    "ssdlite320_mobilenet_v3_large": {"score_thresh": 0.0},
}


def torchvision_detector(name):
    torch.manual_seed(0)
    return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=4, **DETECTORS[name])


def left_and_right(model, image):
    """The leftmost and the rightmost of the detections that are no slivers, as (box, label)."""
    with torch.no_grad():
        found = model.eval()([image])[0]
    width, height = (found["boxes"][:, 2:] - found["boxes"][:, :2]).T
    wide = (width > 2) & (height > 2)
    boxes, labels = found["boxes"][wide], found["labels"][wide]
    order = (boxes[:, 0] + boxes[:, 2]).argsort()
    return [(boxes[i].tolist(), int(labels[i])) for i in (order[0], order[-1])]


@pytest.mark.parametrize("name", DETECTORS)
def test_torchvisions_detectors_are_explained_where_the_object_is(name):
    model, image = torchvision_detector(name), torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(0))
    (left, one), (right, other) = left_and_right(model, image)
    model.train()
    before = state_of(model)
    maps = [explained(model, image, box, label) for box, label in ((left, one), (right, other))]
    assert same(before, state_of(model))
    centres = []
    for dense, label in zip(maps, (one, other), strict=True):
        size = np.abs(dense.grid)  # random weights may speak against an object everywhere
        assert dense.grid.dtype == np.float32
        assert np.isfinite(dense.grid).all()
        assert np.ptp(dense.grid) > 0
        assert dense.layer.startswith("backbone[")
        assert dense.label == label
        centres.append(float((size.sum(0) * (np.arange(size.shape[1]) + 0.5)).sum() / size.sum() / size.shape[1]))
    assert centres[0] < centres[1] - 0.1


def test_a_detector_inside_another_module_is_found_and_left_alone_after_an_error():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = colour_detector()

        def forward(self, images):
            return self.net(images)

    model, image = Wrapper(), picture((RED, 16, 16, 48, 48))
    before = state_of(model)
    assert explained(model, image, (16, 16, 48, 48)).layer == "net.backbone"
    with pytest.raises(HeatmapError, match="no detection"):
        explained(model, image, (100, 50, 110, 60))
    with pytest.raises(HeatmapError, match="the model has no layer 'net.backbon'.*net.backbone"):
        explained(model, image, (16, 16, 48, 48), layer="net.backbon")
    with pytest.raises(HeatmapError, match="has no gradient at any .1, C, h, w. that net.anchor_generator returns"):
        explained(model, image, (16, 16, 48, 48), layer="net.anchor_generator")
    assert same(before, state_of(model))


def test_a_detector_is_read_at_the_layer_that_is_named():
    model = torchvision_detector("ssdlite320_mobilenet_v3_large")
    image = torch.rand(3, 96, 160, generator=torch.Generator().manual_seed(0))
    (box, label), _ = left_and_right(model, image)
    dense = explained(model, image, box, label, layer="backbone.features.0")
    assert dense.layer.startswith("backbone.features.0")
    assert np.isfinite(dense.grid).all()
    assert dense.grid.any()


class Segmenter(nn.Module):
    """Red is evidence for class 1 where it is, green is evidence for class 2 at 32 pixels to its right."""

    def __init__(self):
        super().__init__()
        move = nn.Conv2d(3, 3, (1, 9), padding=(0, 4), bias=False)
        with torch.no_grad():
            move.weight.zero_()
            move.weight[RED, RED, 0, 4] = move.weight[GREEN, GREEN, 0, 0] = 1
        self.backbone = nn.Sequential(nn.AvgPool2d(8), move)
        self.classifier = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.classifier.weight.zero_()
            self.classifier.weight[1, RED] = self.classifier.weight[2, GREEN] = 4
            self.classifier.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))

    def forward(self, x):
        features = self.backbone(x)
        return {"out": F.interpolate(self.classifier(features), size=x.shape[2:], mode="nearest")}


def region_of(model, image, label, mask=None, name_of=str, **options):
    reader = OutputReader(Asked(output="logits"), ClassNames(None))  # some pictures here are all black
    with untouched(model), reader.reading(model, image[None], dense=True) as kind:
        return explain_region(model, image, Region(label, mask), ClassToFind(label, name_of, kind.multi), **options)


def test_evidence_outside_the_region_is_shown_where_it_is():
    """What the backbone returns is the logit itself; before it, the green square is still in its own place."""
    image = picture((GREEN, 16, 32, 48, 64))
    dense = region_of(Segmenter(), image, 2)
    truth = np.zeros((12, 20), np.float32)
    truth[4:8, 2:6] = 4 * 64  # the classifier's weight, times the pixels of a cell
    np.testing.assert_allclose(dense.grid, truth)
    assert dense.layer == "backbone.0"
    assert dense.score == pytest.approx(4 * 32 * 32)
    at_the_end = region_of(Segmenter(), image, 2, layer="backbone")
    np.testing.assert_allclose(at_the_end.grid, np.roll(truth, 4, axis=1))


def test_the_logit_is_recognised_within_a_mask_too():
    image = picture(
        (GREEN, 16, 16, 48, 32), (GREEN, 16, 64, 48, 80), (GREEN, 96, 16, 120, 32), (GREEN, 96, 64, 120, 80)
    )
    mask = np.zeros((96, 160), bool)
    mask[16:32, 48:80] = True  # where the first of them is drawn
    dense = region_of(Segmenter(), image, 2, mask)
    assert dense.layer == "backbone.0"
    assert heat(dense)[2:4, 2:6].sum() == pytest.approx(heat(dense).sum()) != 0


def test_where_every_layer_is_the_logit_the_backbone_is_read():
    image = picture((RED, 16, 32, 48, 64))
    dense = region_of(Segmenter(), image, 1)
    assert heat(dense)[4:8, 2:6].sum() == pytest.approx(heat(dense).sum()) != 0
    assert dense.layer == "backbone"


def test_a_mask_asks_about_its_own_pixels_only():
    image = picture((RED, 16, 32, 48, 64), (RED, 96, 32, 128, 64))
    mask = np.zeros((96, 160), bool)
    mask[32:64, 96:112] = True
    mask.setflags(write=False)
    dense = region_of(Segmenter(), image, 1, mask)
    assert heat(dense)[4:8, 12:14].sum() == pytest.approx(heat(dense).sum()) != 0
    assert dense.score == pytest.approx(4 * 32 * 16)


def test_a_class_that_is_predicted_nowhere_is_an_error():
    with pytest.raises(HeatmapError) as error:
        region_of(Segmenter(), picture((RED, 0, 0, 160, 72)), 2, name_of=("void", "red", "green").__getitem__)
    assert str(error.value) == (
        "no pixel is predicted as 2; expected some, since the region has no mask. Predicted: 'red' at 75 %, 'void' at "
        "25 %. Pass Region(2, mask) to explain the logit elsewhere"
    )


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((96, 160), bool), "the region's mask has no pixel"),
        (np.ones((12, 20), bool), r"mask is bool \(12, 20\); expected bool \(96, 160\)"),
        (np.ones((96, 160), np.uint8), r"mask is uint8 \(96, 160\); expected bool"),
    ],
)
def test_a_mask_that_means_nothing_is_refused(mask, message):
    with pytest.raises(HeatmapError, match=message):
        region_of(Segmenter(), picture(), 1, mask)


def test_a_class_that_the_segmenter_does_not_have_is_refused():
    with pytest.raises(HeatmapError, match="the class 3 is out of range; expected an index from 0 to 2"):
        region_of(Segmenter(), picture(), 3)


def test_one_logit_at_a_coarser_size_has_two_classes():
    class Binary(Segmenter):
        def forward(self, x):
            return self.classifier(self.backbone(x))[:, 1:2] - 2

    image = picture((RED, 16, 32, 48, 64))
    there, elsewhere = region_of(Binary(), image, 1), region_of(Binary(), image, 0)
    assert heat(there)[3:9, 1:7].sum() == pytest.approx(heat(there).sum()) != 0
    assert elsewhere.score > 0
    assert (elsewhere.grid <= 0).all()  # red speaks against it


def test_nan_logits_are_named():
    model = Segmenter()
    with torch.no_grad():
        model.classifier.bias[0] = float("nan")
    before = state_of(model)
    with pytest.raises(HeatmapError, match="the logits hold NaN.*the weights at classifier.bias hold NaN"):
        region_of(model, picture(), 1)
    assert before["hooks"] == state_of(model)["hooks"]


def test_an_input_that_the_model_cannot_take_is_an_error_that_leaves_no_hook():
    class Broken(nn.Module):
        def forward(self, *_):
            raise RuntimeError("sizes do not fit")

    detector, segmenter = colour_detector(), Segmenter()
    detector.head = segmenter.classifier = Broken()
    before = state_of(detector), state_of(segmenter)
    message = r"the model cannot take an input of shape .*3, 96, 160.* \(sizes do not fit\)"
    with pytest.raises(HeatmapError, match=message):
        explained(detector, picture(), (0, 0, 32, 32))
    with pytest.raises(HeatmapError, match=message):
        region_of(segmenter, picture(), 1)
    assert same(before, (state_of(detector), state_of(segmenter)))


@pytest.mark.parametrize(
    "name", ["fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"]
)
def test_torchvisions_segmenters_are_explained_where_the_region_is(name):
    torch.manual_seed(0)
    model = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=3)
    image = torch.randn(3, 96, 160, generator=torch.Generator().manual_seed(0))
    before = state_of(model)
    left, right = np.zeros((2, 96, 160), bool)
    left[20:70, 10:50] = True
    right[20:70, 110:150] = True
    everywhere, *sides = (region_of(model, image, 0, mask) for mask in (np.ones((96, 160), bool), left, right))
    assert same(before, state_of(model))
    for dense in (everywhere, *sides):
        assert np.isfinite(dense.grid).all()
        assert np.ptp(dense.grid) > 0
        assert dense.layer.startswith("backbone")
    shares = [np.abs(d.grid)[:, : d.grid.shape[1] // 2].sum() / np.abs(d.grid).sum() for d in sides]
    assert shares[0] > 0.6 > 0.4 > shares[1]
