"""What a record says of the model and the image: digests that can be recomputed, taken in tests and only when needed."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_gradcam import Explainer
from pytest_gradcam.cam import identity
from pytest_gradcam.cam.cache import HeatmapCache
from pytest_gradcam.evidence import current_test
from pytest_gradcam.evidence.current_test import running


class Kept:
    """A test, as far as the explainer asks."""

    def __init__(self):
        self.marker = {}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture
def hashed(monkeypatch):
    """Counts how often the weights are hashed."""
    calls = []
    digest = identity.weights_digest
    monkeypatch.setattr(identity, "weights_digest", lambda model: calls.append(1) or digest(model))
    return calls


def explained(explainer, image="square.png"):
    with running(Kept()):
        return explainer(image, lambda output: output.sum()).subject


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(path)
    return path


def preprocess(picture):
    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def test_the_digest_of_the_weights_is_what_its_docstring_says(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    expected = sha256()
    for name, tensor in sorted(tensors.items()):
        content = sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + tensor.detach().numpy().tobytes())
        expected.update(f"{name} {content.hexdigest()}\n".encode())
    assert identity.weights_digest(model) == expected.hexdigest()


def test_the_weights_decide_it_and_the_object_does_not(model):
    import copy

    twin = copy.deepcopy(model)
    assert identity.weights_digest(twin) == identity.weights_digest(model)
    with torch.no_grad():
        twin[0].bias[0] += 1
    assert identity.weights_digest(twin) != identity.weights_digest(model)


def test_a_record_says_model_device_and_the_files_own_digest(model, image):
    subject = explained(Explainer(model, preprocess=preprocess), str(image))
    assert subject.model_class == "torch.nn.modules.container.Sequential"
    assert subject.parameter_count == 3 * 2 * 64 + 2 + 4
    assert subject.weights == identity.weights_digest(model)
    assert subject.device == "cpu"
    assert subject.image_digest == f"sha256 {sha256(image.read_bytes()).hexdigest()}"


def test_pixels_and_tensors_without_a_file_say_what_was_digested(model):
    explainer = Explainer(model, preprocess=preprocess)
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert explained(explainer, pixels).image_digest.startswith("sha256 of the pixels ")
    assert explained(explainer, pixels).image_digest != explained(explainer, pixels + 1).image_digest
    assert explained(explainer, torch.rand(3, 64, 64)).image_digest.startswith("sha256 of the tensor ")


@pytest.mark.parametrize("cache", [None, HeatmapCache()], ids=["no cache", "cache"])
def test_other_weights_are_noticed(model, image, cache):
    explainer = Explainer(model, preprocess=preprocess, cache=cache)
    before = explained(explainer, str(image)).weights
    model[0].weight.data.mul_(2)
    after = explained(explainer, str(image)).weights
    assert before != after == identity.weights_digest(model)


def test_while_the_model_stays_the_same_its_weights_are_hashed_once(model, image, hashed):
    explainer = Explainer(model, preprocess=preprocess, cache=HeatmapCache())
    for turn in range(3):
        explained(explainer, np.full((64, 64, 3), turn, np.uint8))
        explained(explainer, str(image))
    assert len(hashed) == 1


def test_outside_of_a_test_nothing_is_hashed(model, image, hashed, monkeypatch):
    monkeypatch.setattr(current_test, "_running", [])  # this here is a test, too
    explainer = Explainer(model, preprocess=preprocess)
    subject = explainer(str(image), lambda output: output.sum()).subject
    assert (subject.weights, subject.image_digest, hashed) == ("", "", [])


def test_a_heatmap_from_the_cache_says_the_image_that_was_passed_now(model, tmp_path):
    pixels = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    explainer = Explainer(model, preprocess=preprocess, cache=HeatmapCache())
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "b.bmp")
    first, second = (explained(explainer, str(tmp_path / name)) for name in ("a.png", "b.bmp"))
    assert (first.weights, first.score) == (second.weights, second.score)
    assert second.image.endswith("b.bmp")
    assert second.image_digest == f"sha256 {sha256((tmp_path / 'b.bmp').read_bytes()).hexdigest()}"
