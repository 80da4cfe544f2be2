"""open_clip and Ultralytics, where they are installed: the same scores as their own prediction, or refused by name."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam import Explainer
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 130, 3), np.uint8))
CLASSES = ["cat", "dog"]
ARCHITECTURE = "ViT-S-32-alt"


def only_with(package):
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


@only_with("open_clip")
def test_open_clip(tmp_path):
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model(ARCHITECTURE).eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    spec = f"open_clip:{ARCHITECTURE}/{tmp_path}/w.pt"
    network = sources.build(spec, classes=lambda: CLASSES)
    preprocess = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
    transform = open_clip.transform.image_transform_v2(preprocess, is_train=False)
    tokens = open_clip.get_tokenizer(ARCHITECTURE)(["a photo of a cat", "a photo of a dog"])
    with torch.no_grad():
        expected = model.get_logits(transform(IMAGE)[None], tokens)[0].numpy()
    explainer = Explainer(network, preprocess=sources.preprocess(spec), classes=CLASSES)
    np.testing.assert_allclose(explainer.predict([IMAGE]), expected, rtol=1e-4)
    assert explainer(IMAGE, "dog").grid.max() > 0


@only_with("open_clip")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-32", "names no weights, so they would be a random draw"),
        ("ViT-B-32/laion2b_s34b_b79k", "downloaded only on request; set gradcam_weights = pretrained"),
        ("ViT-B-3/x", "has no architecture 'ViT-B-3'; did you mean 'ViT-B-32'"),
        ("ViT-B-32/nofile", "there is no file 'nofile'; expected a file of weights"),
    ],
)
def test_open_clip_refuses(name, words):
    with pytest.raises(SettingsError, match=words):
        sources.build(f"open_clip:{name}", classes=lambda: CLASSES)


@only_with("ultralytics")
def test_ultralytics(tmp_path):
    from ultralytics import YOLO

    torch.manual_seed(0)
    path = tmp_path / "c.pt"
    YOLO("yolov8n-cls.yaml").save(path)
    spec = f"ultralytics:{path}"
    names = sources.own_class_names(spec, weights=None)
    explainer = Explainer(sources.build(spec), preprocess=sources.preprocess(spec), classes=names)
    theirs = YOLO(path).predict(IMAGE, verbose=False)[0].probs.data
    found = torch.from_numpy(explainer.predict([IMAGE])).softmax(1)[0]
    assert torch.allclose(found, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("package", "spec", "words"),
    [
        ("open_clip", "open_clip:ViT-B-32/w.pt", r"pip install pytest-gradcam\[open_clip\]"),
        (
            "ultralytics",
            "ultralytics:w.pt",
            r"its licence is AGPL-3.0\) needs it; pip install pytest-gradcam\[ultralytics\]",
        ),
    ],
)
def test_the_extra_is_named(monkeypatch, package, spec, words):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=words):
        sources.look_up(spec, "gradcam_model")
