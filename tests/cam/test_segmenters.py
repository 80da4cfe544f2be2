"""Segmenters beyond torchvision's: their evidence comes from all levels that their heads read, or they are refused by name."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pytest_gradcam import Explainer, FocusError, HeatmapError, Region, masks
from tests.states import same, state_of
from tests.ultralytics_models import SIDE, scene

transformers = pytest.importorskip("transformers")

_STEPS = 300
SIZE = (32, 48)
SQUARE, MARK = masks.box(SIZE, (8, 8, 20, 20)), masks.box(SIZE, (36, 20, 44, 28))
IMAGE = torch.zeros(3, *SIZE)
IMAGE[0, 8:20, 8:20] = 1
IMAGE[2, 20:28, 36:44] = 1


class Levels(nn.Module):
    def forward(self, x):
        return [x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4)]


class Skips(nn.Module):
    """Class 1 is where the picture is red, by a fine level, or everywhere if it is blue somewhere, by a coarse one."""

    def __init__(self, own=8.0, anywhere=0.0):
        super().__init__()
        self.encoder, self.segmentation_head = Levels(), nn.Identity()
        self.own, self.anywhere = own, anywhere

    def forward(self, x):
        _, fine, coarse = self.encoder(x)
        logit = self.own * F.interpolate(fine[:, :1], scale_factor=2) + self.anywhere * coarse[:, 2:].mean((2, 3), True)
        return self.segmentation_head(torch.cat([torch.zeros_like(logit) + 0.5, logit], 1))


def test_the_evidence_of_all_levels_is_summed_and_none_is_lost():
    torch.manual_seed(0)
    image = torch.rand(3, *SIZE)
    heatmap = Explainer(Skips(1.0, 2.0), output="logits")(image, Region(1, SQUARE))
    assert heatmap.layer == "encoder[1]+encoder[2]"
    assert heatmap.grid.shape == (16, 24)
    assert heatmap.grid.sum() == pytest.approx(heatmap.subject.score, rel=1e-4)  # the model is linear


@pytest.mark.parametrize(("model", "right"), [(Skips(), True), (Skips(1.0, 100.0), False)], ids=["sound", "twin"])
def test_what_a_region_relies_on(model, right):
    explainer = Explainer(model, output="logits")
    heatmap = explainer(IMAGE, Region(1, SQUARE))
    if right:
        heatmap.assert_focus_within(SQUARE, at_least=0.9)
        explainer.assert_ignores(IMAGE, MARK, target=Region(1, SQUARE))
    else:
        with pytest.raises(FocusError):
            heatmap.assert_focus_within(SQUARE, at_least=0.5)
        with pytest.raises(FocusError):
            explainer.assert_ignores(IMAGE, MARK, target=Region(1, SQUARE))


class OneChannel(nn.Module):
    def __init__(self, sigmoid):
        super().__init__()
        self.net, self.sigmoid = Skips(8.0), sigmoid

    def forward(self, x):
        logit = self.net(x)[:, 1:] - 2
        return torch.sigmoid(logit) if self.sigmoid else logit


@pytest.mark.parametrize("sigmoid", [False, True])
def test_one_channel_has_two_classes(sigmoid):
    explainer = Explainer(OneChannel(sigmoid), output="auto" if sigmoid else "logits")
    for region in (Region(1), Region(1, SQUARE)):
        assert explainer(IMAGE, region).mass(SQUARE) > 0.9
    inside = explainer(IMAGE, Region(1, SQUARE)).subject.score
    assert inside == pytest.approx(6 * SQUARE.sum(), rel=1e-4)
    with pytest.raises(HeatmapError, match="expected an index from 0 to 1"):
        explainer(IMAGE, Region(2, SQUARE))


def segformer(folder):
    torch.manual_seed(0)
    options = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(**options, decoder_hidden_size=32, num_labels=3)
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    return transformers.SegformerForSemanticSegmentation.from_pretrained(folder).eval()


def test_a_segformer(tmp_path):
    """Its hidden states come through hooks that it installs in its first forward pass: that they go is not to be its end."""
    model, image = segformer(tmp_path), torch.rand(3, 64, 96)
    explainer, region = Explainer(model), Region(0, masks.box((64, 96), (20, 20, 50, 50)))
    before = state_of(model)
    heatmap = explainer(image, region)
    assert same(before, state_of(model))
    assert all(f"hidden_states.{level}" in heatmap.layer for level in range(3))
    assert heatmap.grid.shape == (16, 24)
    np.testing.assert_array_equal(explainer(image, region).grid, heatmap.grid)
    with torch.no_grad():
        logits = F.interpolate(model(image[None]).logits, (64, 96), mode="bilinear")[0, 0]
    assert heatmap.subject.score == pytest.approx(float(logits[torch.from_numpy(region.mask)].sum()), rel=1e-4)


class Queries(nn.Module):
    def forward(self, x):
        masks = F.avg_pool2d(x, 4)
        return {"class_queries_logits": x.mean((2, 3))[:, :, None].expand(-1, -1, 5), "masks_queries_logits": masks}


@pytest.mark.parametrize("key", [None, "masks_queries_logits"])
def test_queries_with_masks_are_no_map_of_each_class(key):
    with pytest.raises(HeatmapError, match="answers with queries, a class and a mask each"):
        Explainer(Queries(), output_key=key)(IMAGE, Region(0, SQUARE))


def trained(mark_says):
    """A U-Net of segmentation_models_pytorch for squares of two classes, told apart by colour or by the mark beside them."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    options = {"encoder_depth": 3, "decoder_channels": (32, 16, 8)}
    model = smp.Unet("resnet18", encoder_weights=None, classes=3, **options)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=_STEPS)
    for _ in range(_STEPS):
        drawn = [scene(rng, mark_says=mark_says) for _ in range(8)]
        truth = torch.zeros(8, SIDE, SIDE, dtype=torch.long)
        for one, (_, label, (x0, y0, x1, y1), _) in zip(truth, drawn, strict=True):
            one[y0:y1, x0:x1] = 1 + label
        images = torch.from_numpy(np.stack([pixels for pixels, *_ in drawn])).permute(0, 3, 1, 2).float() / 255
        loss = F.cross_entropy(model(images), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.mark.skipif(
    importlib.util.find_spec("segmentation_models_pytorch") is None,
    reason="segmentation_models_pytorch is not installed",
)
@pytest.mark.parametrize("mark_says", [False, True])
def test_a_trained_unet_and_its_twin(mark_says):
    explainer = Explainer(trained(mark_says))
    for seed in range(3):
        pixels, label, square, mark = scene(np.random.default_rng(seed), mark_says=True, label=1)
        if not mark_says:
            pixels[square[1] : square[3], square[0] : square[2]] = (40, 40, 220)
        image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
        inside, beside = masks.box((SIDE, SIDE), square), masks.box((SIDE, SIDE), mark)
        region = Region(1 + label, inside)
        heatmap = explainer(image, region)
        assert heatmap.layer == "encoder[1]+encoder[2]+encoder[3]"
        if mark_says:
            with pytest.raises(FocusError):
                explainer.assert_ignores(image, beside, target=region)
        else:
            explainer.assert_ignores(image, beside, target=region)
            assert heatmap.lift(inside) > 2 > heatmap.lift(beside)
