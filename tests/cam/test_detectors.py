"""Detectors of torchvision and transformers: what they find, listed as boxes of the image, and why, object by object."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Box, Detection, Explainer, HeatmapError, masks
from tests.cam.test_dense import GREEN, RED, colour_detector, picture
from tests.states import same, state_of

transformers = pytest.importorskip("transformers")

SQUARE, OTHER = (16, 16, 48, 48), (96, 48, 128, 80)


def detr():
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 32, 32], depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=12,
        num_labels=3,
    )
    return transformers.DetrForObjectDetection(config)


def yolos():
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=[96, 128],
        patch_size=16,
        num_detection_tokens=12,
        num_labels=3,
        initializer_range=0.3,
    )
    return transformers.YolosForObjectDetection(config)


KINDS = {"detr": (detr, 4), "yolos": (yolos, 6)}


@pytest.fixture(params=KINDS)
def saved(request, tmp_path):
    """A model as users have it: saved, and loaded by its own from_pretrained; its boxes lie apart."""
    build, seed = KINDS[request.param]
    model = build()
    with torch.no_grad():  # random heads answer all alike
        for layer in model.bbox_predictor.layers:
            layer.weight.mul_(4)
        classifier = model.class_labels_classifier
        getattr(classifier, "layers", [classifier])[-1].weight.mul_(6)
    model.save_pretrained(tmp_path / "model")
    loaded = type(model).from_pretrained(tmp_path / "model").eval()
    return loaded, torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(seed))


def test_what_is_found_is_what_the_model_of_transformers_answers(saved):
    model, image = saved
    with torch.no_grad():
        output = model(image[None])
    probabilities = output.logits.softmax(-1)[0, :, :-1]  # the last is no object
    best, labels = probabilities.max(-1)
    kept = best >= 0.05
    found = Explainer(model).detections(image)
    assert all(isinstance(each, Box) for each in found)
    order = best[kept].argsort(descending=True, stable=True)
    assert [each.score for each in found] == pytest.approx(best[kept][order].tolist(), abs=1e-5)
    x, y, width, height = output.pred_boxes[0][kept][order].T
    expected = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    expected = expected * torch.tensor([128, 96, 128, 96])
    np.testing.assert_allclose([each.box for each in found], expected.numpy(), atol=1e-3)
    assert [each.label for each in found] == labels[kept][order].tolist()


def test_each_object_has_a_heatmap_of_its_own_and_the_model_is_given_back(saved):
    model, image = saved
    explainer = Explainer(model)
    found = explainer.detections(image)
    before = state_of(model)
    maps = explainer.compare(image, found[:4])
    assert same(before, state_of(model))
    grids = [heatmap.grid for heatmap in maps.values()]
    assert all(np.isfinite(grid).all() and np.ptp(grid) > 0 for grid in grids)
    first = found[0]
    alone = explainer(image, Box(first.label, first.box))
    np.testing.assert_allclose(alone.grid, grids[0], atol=1e-6)
    assert alone.subject.score == pytest.approx(first.score, abs=1e-5)
    assert alone.subject.method == "hirescam"
    named = explainer(image, first, layer=alone.subject.layer)
    np.testing.assert_allclose(named.grid, grids[0], atol=1e-6)


def test_a_box_that_is_not_found_lists_the_nearest_and_other_methods_are_refused(saved):
    model, image = saved
    explainer = Explainer(model)
    with pytest.raises(HeatmapError, match="no detection overlaps the box .* the nearest of"):
        explainer(image, Box(None, (0, 0, 2, 2)))
    with pytest.raises(HeatmapError, match="method='eigencam' does not apply to a Detection"):
        explainer(image, explainer.detections(image)[0], method="eigencam")


def test_several_objects_of_an_image_share_one_forward_pass():
    model, calls = colour_detector(), []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    image = picture((RED, *SQUARE), (RED, *OTHER))
    explainer = Explainer(model)
    maps = explainer.compare(image, [Box(RED, SQUARE), Box(RED, OTHER)])
    assert len(calls) == 3  # two to see once whether the detector repeats itself
    calls.clear()
    explainer.compare(image, [Box(RED, SQUARE), Box(RED, OTHER)])
    assert len(calls) == 1
    for target, heatmap in maps.items():
        np.testing.assert_array_equal(heatmap.grid, explainer(image, target).grid)
        assert heatmap.mass(masks.box((96, 160), target.box)) > 0.8


def test_detections_are_listed_with_the_surest_first_in_pixels_of_the_picture():
    image = np.zeros((192, 320, 3), np.uint8)
    for channel, (x0, y0, x1, y1) in ((RED, SQUARE), (GREEN, OTHER)):
        image[2 * y0 : 2 * y1, 2 * x0 : 2 * x1, channel] = 255 if channel == RED else 150

    def half(pil):
        return torch.from_numpy(np.asarray(pil.resize((160, 96)), np.float32) / 255).permute(2, 0, 1)

    explainer = Explainer(colour_detector(), preprocess=half, classes=["red", "green", "blue"])
    found = explainer.detections(image)
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert found[0].label == "red"
    np.testing.assert_allclose(found[0].box, 2 * np.array(SQUARE), atol=1.5)
    green = next(each for each in found if each.label == "green")
    np.testing.assert_allclose(green.box, 2 * np.array(OTHER), atol=1.5)
    heatmap = explainer(image, green)
    assert heatmap.mass(masks.box((192, 320), green.box)) > 0.8


def test_a_detection_is_a_box_with_its_score():
    found = Detection("red", SQUARE, 0.5)
    assert (found.label, found.box, found.score) == ("red", tuple(map(float, SQUARE)), 0.5)
    with pytest.raises(HeatmapError, match="is not a box"):
        Detection("red", (1, 2), 0.5)


def test_a_sigmoid_for_each_class_and_an_unknown_number_of_classes():
    class Queries(nn.Module):
        class config:  # as of transformers
            num_labels = 2
            architectures = ("TinyForObjectDetection",)

        def __init__(self, width):
            super().__init__()
            self.head = nn.Conv2d(3, width, 8, stride=8)

        def forward(self, pixel_values):
            logits = self.head(pixel_values).flatten(2).transpose(1, 2)
            boxes = torch.tensor([0.5, 0.5, 0.5, 0.5]).expand(*logits.shape[:2], 4)
            return {"logits": logits, "pred_boxes": boxes}

    model, image = Queries(2), torch.rand(3, 16, 16)
    with torch.no_grad():
        expected = model(image[None])["logits"][0].sigmoid().max(-1).values
    scores = [each.score for each in Explainer(model).detections(image)]
    assert scores == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-6)
    with pytest.raises(HeatmapError, match="answer with 5 numbers each, and its config names 2 classes"):
        Explainer(Queries(5)).detections(image)


def test_models_that_are_no_detectors_are_refused():
    for model in (nn.Conv2d(3, 2, 1), lambda batch: batch.mean((2, 3))):
        with pytest.raises(HeatmapError, match="is not one of torchvision's detectors|known by its scores alone"):
            Explainer(model).detections(torch.rand(3, 16, 16))
