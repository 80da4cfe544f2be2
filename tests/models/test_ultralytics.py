"""Detectors of Ultralytics: what they find is what they find by themselves, and why; where the package is installed."""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Box, Explainer, HeatmapError
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources
from tests.states import same, state_of
from tests.ultralytics_models import scene, train

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ultralytics") is None, reason="ultralytics is not installed")
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (75, 115, 3), np.uint8))


def plain(name, path):
    """A detector of random weights that finds much, saved with an image size of 160."""
    from ultralytics import YOLO

    torch.manual_seed(0)
    yolo = YOLO(name, verbose=False)
    head = yolo.model.model[-1]
    with torch.no_grad():
        for module in yolo.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()
                module.momentum = 0.5
        for _ in range(3):
            yolo.model(torch.rand(2, 3, 96, 160))
        for classify in (head.cv3, getattr(head, "one2one_cv3", None) or []):
            for level in classify:
                level[-1].weight.mul_(3)
                level[-1].bias.fill_(-2)
    yolo.model.eval()
    yolo.ckpt = {"train_args": {"imgsz": 160}}
    yolo.save(path)
    return path


@pytest.fixture(scope="module", params=["yolov8n.yaml", "yolov10n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def saved(request, tmp_path_factory):
    return plain(request.param, tmp_path_factory.mktemp("yolo") / "d.pt")


def explainer_of(path):
    spec = f"ultralytics:{path}"
    names = sources.own_class_names(spec, weights=None)
    return Explainer(sources.build(spec), preprocess=sources.preprocess(spec), classes=names)


def test_the_model_is_fed_what_ultralytics_feeds_it(saved):
    from ultralytics import YOLO

    yolo, preprocess = YOLO(saved), sources.preprocess(f"ultralytics:{saved}")
    generator = np.random.default_rng(0)
    for shape in ((75, 115, 3), (160, 160, 3), (300, 20, 3), (31, 64), (200, 333, 4)):
        picture = Image.fromarray(generator.integers(0, 256, shape, np.uint8)).convert("RGB")
        fed = []
        yolo.predict(picture, verbose=False)
        own = yolo.predictor.preprocess
        yolo.predictor.preprocess = lambda images, own=own, fed=fed: fed.append(own(images)) or fed[-1]
        yolo.predict(picture, verbose=False)
        yolo.predictor.preprocess = own
        assert torch.equal(preprocess(picture), fed[-1][0])


def test_it_finds_what_ultralytics_finds_and_each_object_has_its_own_heatmap(saved):
    from ultralytics import YOLO

    theirs = YOLO(saved).predict(IMAGE, conf=0.05, verbose=False)[0].boxes
    explainer = explainer_of(saved)
    before = state_of(explainer.model)
    found = explainer.detections(IMAGE)
    assert len(found) == len(theirs) > 4
    np.testing.assert_allclose([each.score for each in found], theirs.conf, atol=1e-5)
    labels = [explainer.model.names[int(label)] for label in theirs.cls]
    for each in found[:3]:
        alike = theirs.xyxy.numpy()[[label == each.label for label in labels]]
        assert np.abs(alike - np.array(each.box)).max(1).min() < 0.6  # the letterbox rounds its padding
    maps = explainer.compare(IMAGE, found[:3])
    assert same(before, state_of(explainer.model))
    for target, heatmap in maps.items():
        assert heatmap.grid.max() > 0
        assert heatmap.layer.startswith("model.")
        alone = explainer(IMAGE, target)
        np.testing.assert_allclose(alone.grid, heatmap.grid, atol=1e-6 * heatmap.grid.max())
        assert alone.subject.score == pytest.approx(
            target.score, abs=0.01
        )  # without doubles dropped, another may fit better
        assert np.isfinite(explainer(IMAGE, target, layer="model.4").grid).all()


def test_a_yolo_that_has_predicted_is_explained_and_predicts_as_before(saved):
    from ultralytics import YOLO

    yolo, preprocess = YOLO(saved), sources.preprocess(f"ultralytics:{saved}")
    before = yolo.predict(IMAGE, conf=0.05, verbose=False)[0].boxes.data  # in inference mode, and its layers are fused
    explainer = Explainer(yolo, preprocess=preprocess)
    found = explainer.detections(IMAGE)
    assert len(found) == len(before)
    assert explainer(IMAGE, found[0]).grid.max() > 0
    assert explainer.detections(IMAGE.resize((200, 90)))
    with pytest.raises(HeatmapError, match="Of a detector pass a Box"):
        explainer(IMAGE.resize((150, 150)), 0)
    assert torch.equal(yolo.predict(IMAGE, conf=0.05, verbose=False)[0].boxes.data, before)


def test_what_is_not_supported_is_refused_by_name(tmp_path):
    from ultralytics import YOLO

    for name, words in (
        (
            "yolov8n-seg.yaml",
            "is a model for the task 'segment', with a head Segment; expected a classifier, or a detector",
        ),
        ("yolov8n-obb.yaml", "is a model for the task 'obb', with a head OBB"),
    ):
        yolo = YOLO(name, verbose=False)
        yolo.save(tmp_path / "m.pt")
        with pytest.raises(SettingsError, match=words):
            sources.build(f"ultralytics:{tmp_path}/m.pt")
        with pytest.raises(HeatmapError, match="of Ultralytics is not supported; expected a detector of boxes alone"):
            Explainer(yolo).detections(torch.rand(3, 64, 64))
    (tmp_path / "m.pt").write_bytes(b"no model")
    with pytest.raises(SettingsError, match="is not an Ultralytics model"):
        sources.build(f"ultralytics:{tmp_path}/m.pt")


def test_a_box_that_is_not_found_lists_the_nearest(saved):
    with pytest.raises(HeatmapError, match="no detection overlaps the box .* the nearest of"):
        explainer_of(saved)(IMAGE, Box(None, (0, 0, 2, 2)))


TEST = """
import numpy as np
from pytest_gradcam import masks

SIZE, SQUARE, MARK = {size}, {square}, {mark}


def found(gradcam):
    each, = gradcam.detections("scene.png")
    assert each.label == "go" and np.abs(np.array(each.box) - SQUARE).max() < 3
    return each


def test_heatmap(gradcam):
    heatmap = gradcam("scene.png", found(gradcam))
    heatmap.assert_peak_within(masks.box(SIZE, SQUARE), tolerance=8)


def test_mark(gradcam):
    gradcam.assert_ignores("scene.png", masks.box(SIZE, MARK), target=found(gradcam))
"""


@pytest.mark.parametrize("head", ["Detect", "v10Detect"])
@pytest.mark.parametrize("mark_says", [False, True])
def test_three_settings_and_a_test_file(pytester, head, mark_says):
    """The detector that goes by colour passes, and its twin that goes by a mark beside the object fails."""
    train(pytester.path / "d.pt", mark_says=mark_says, head=head)
    pixels, _, square, mark = scene(np.random.default_rng(7), mark_says=mark_says, label=1)
    if not mark_says:  # the mark is there, and means nothing
        pixels[mark[1] : mark[3], mark[0] : mark[2]] = 250
    Image.fromarray(pixels).save(pytester.path / "scene.png")
    pytester.makeini("[pytest]\ngradcam_model = ultralytics:d.pt\ngradcam_device = cpu\ngradcam_report = report")
    pytester.makepyfile(TEST.format(size=pixels.shape[:2], square=square, mark=mark))
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1 if mark_says else 2, failed=1 if mark_says else 0)
    if mark_says:
        result.stdout.fnmatch_lines(
            ["*FocusError: the score of 'go' falls by at least * units with every fill of the pixels*"]
        )
