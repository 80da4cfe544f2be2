"""Classifiers of transformers: their processor bit for bit, their names, texts as classes; nothing is downloaded."""

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_gradcam import Explainer, FocusError, HeatmapError, masks
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import sources
from tests.hf_models import scene
from tests.model_files import CORNER, DISC

transformers = pytest.importorskip("transformers")

IMAGES = {
    "RGB": Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)),
    "L": Image.fromarray(np.random.default_rng(1).integers(0, 256, (33, 32), np.uint8)),
    "P": Image.fromarray(np.random.default_rng(2).integers(0, 256, (200, 31, 3), np.uint8)).quantize(16),
    "RGBA": Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)).convert("RGBA"),
    "1": Image.fromarray(np.random.default_rng(4).random((64, 47)) > 0.5),
}
CLASSES = ["cat", "dog", "traffic light"]


@pytest.fixture(scope="session")
def folders(hf_folders):
    return hf_folders


def explainer(folder, classes=None, prompt=None):
    spec = f"hf:{folder}"
    network = sources.build(spec, classes=lambda: classes, prompt=prompt)
    names = classes or sources.own_class_names(spec, weights=None)
    return Explainer(network, preprocess=sources.preprocess(spec), classes=names)


@pytest.mark.parametrize("mode", IMAGES)
@pytest.mark.parametrize("kind", ["honest", "clip", "siglip"])
def test_the_model_is_fed_what_its_processor_makes(folders, kind, mode):
    processor = transformers.AutoImageProcessor.from_pretrained(folders[kind])
    expected = processor(images=IMAGES[mode].convert("RGB"), return_tensors="pt")["pixel_values"][0]
    classes = None if kind == "honest" else CLASSES
    found = explainer(folders[kind], classes)._engine.read(IMAGES[mode])
    assert torch.equal(found.tensor, expected)
    assert found.tensor.dtype == expected.dtype


def test_verdicts_on_known_truth(folders):
    honest, twin = explainer(folders["honest"]), explainer(folders["twin"])
    images = [scene(seed, seed % 2, (seed // 2) % 2) for seed in range(20)]
    assert honest.predict(images).argmax(1).tolist() == [0, 1] * 10
    assert twin.predict(images).argmax(1).tolist() == [0, 0, 1, 1] * 5
    honest.assert_no_reliance(images, CORNER)
    with pytest.raises(FocusError):
        twin.assert_no_reliance(images, CORNER)
    honest(images[2], "red", method="occlusion").assert_focus_within(DISC, at_least=masks.lift(1.5))
    with pytest.raises(FocusError):
        twin(images[2], "green", method="occlusion").assert_focus_within(DISC, at_least=masks.lift(1.5))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_scores_are_the_models_own_logits(folders, kind):
    processor = transformers.AutoImageProcessor.from_pretrained(folders[kind])
    model = (
        getattr(transformers, "CLIPModel" if kind == "clip" else "SiglipModel").from_pretrained(folders[kind]).eval()
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[kind])
    padding = {"padding": True} if kind == "clip" else {"padding": "max_length", "max_length": 64, "truncation": True}
    tokens = tokenizer([f"a photo of a {name}" for name in CLASSES], return_tensors="pt", **padding)
    pictures = processor(images=[IMAGES["RGB"]], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(**tokens, pixel_values=pictures).logits_per_image.numpy()
    np.testing.assert_allclose(explainer(folders[kind], CLASSES).predict([IMAGES["RGB"]]), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_the_logit_scale_does_not_enter_the_verdict(folders, kind):
    one, other = explainer(folders[kind], CLASSES), explainer(folders[kind], CLASSES)
    other.network.scale *= 7
    images = [scene(seed, seed % 2, (seed // 2) % 2) for seed in range(8)]
    found, expected = (each.reliance(images, CORNER) for each in (other, one))
    assert found.relies is expected.relies
    assert found.effect == pytest.approx(expected.effect, rel=1e-3)
    heat, same = (each(images[0], "dog").grid for each in (one, other))
    np.testing.assert_allclose(same / same.max(), heat / heat.max(), atol=1e-4)


def test_another_class_leaves_a_heatmap_as_it_was(folders):
    few, more = explainer(folders["clip"], CLASSES), explainer(folders["clip"], [*CLASSES, "zebra"])
    one, other = few(IMAGES["RGB"], "dog"), more(IMAGES["RGB"], "dog")
    np.testing.assert_allclose(other.grid, one.grid, atol=1e-5 * one.grid.max())
    assert one.layer == other.layer
    assert one.score == pytest.approx(other.score, rel=1e-5)


def test_the_prompt_counts(folders):
    plain, told = explainer(folders["clip"], CLASSES), explainer(folders["clip"], CLASSES, "{}, seen from above")
    assert not np.allclose(plain.predict([IMAGES["RGB"]]), told.predict([IMAGES["RGB"]]))


def test_texts_need_classes(folders):
    with pytest.raises(SettingsError, match="reads its classes from texts, and there are none; set gradcam_classes"):
        sources.build(f"hf:{folders['clip']}")
    with pytest.raises(SettingsError, match="names no class 1, and 2 is the last"):
        sources.build(f"hf:{folders['clip']}", classes=lambda: {"cat": 0, "dog": 2})


def test_nothing_is_downloaded_unless_asked(tmp_path):
    with pytest.raises(SettingsError, match="gradcam_weights = pretrained downloads it"):
        sources.build("hf:nobody/no-such-model")
    with pytest.raises(SettingsError, match="finds nothing that it can read in that folder"):
        sources.build(f"hf:{tmp_path}")


def test_a_head_that_is_not_in_the_file_is_refused(tmp_path):
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="has no weights for classifier.bias, classifier.weight .* a random draw"):
        sources.build(f"hf:{tmp_path}")


def test_a_model_of_another_kind_is_refused(tmp_path):
    transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="is a BertConfig; expected an image classifier"):
        sources.build(f"hf:{tmp_path}")


def test_a_processor_of_patches_is_refused(folders, monkeypatch):
    from pytest_gradcam.models.huggingface import Processor

    with pytest.raises(HeatmapError, match=r"shape \(1, 256, 768\) of one image, not \(1, C, H, W\)"):
        Processor(lambda **_: {"pixel_values": torch.zeros(1, 256, 768)})(IMAGES["RGB"])


def test_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"transformers is not installed.*pip install pytest-gradcam\[hf\]"):
        sources.look_up("hf:anything", "gradcam_model")
