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
from pytest_gradcam.evidence.current_test import begin, running
from pytest_gradcam.state.parts import parts_of
from pytest_gradcam.state.tensors import WeightsDigest
from tests.conftest import RecordingTest


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture
def hashed(monkeypatch):
    """Counts how often the weights are hashed."""
    calls = []
    digest = WeightsDigest.now
    monkeypatch.setattr(WeightsDigest, "now", lambda weights: calls.append(1) or digest(weights))
    return calls


def explained(explainer, image="square.png"):
    with running(RecordingTest()):
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


def through_data(model):
    model[0].weight.data[:, 1].mul_(2)


def through_numpy(model):
    model[0].weight.detach().numpy()[1, 2, 3, 4] += 1


def running_statistics_through_data(model):
    model[1].running_mean.data[0] += 1


def optimizer_step(model):
    optimizer = torch.optim.SGD(model.parameters(), 1)
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    optimizer.step()


def in_place(model):
    with torch.no_grad():
        model[0].bias[0] += 1


def loaded(model):
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})


def new_memory_twice(model):
    model[0].bias.data = model[0].bias.data * 2
    model[0].bias.data = model[0].bias.data * 3


def new_parameter_in_the_same_memory(model):
    model[0].bias = nn.Parameter(model[0].bias.data)
    in_place(model)


COUNTED = [optimizer_step, in_place, loaded, new_memory_twice, new_parameter_in_the_same_memory]


@pytest.mark.parametrize("write", [through_data, through_numpy, running_statistics_through_data, *COUNTED])
@pytest.mark.parametrize("cache", [None, HeatmapCache()], ids=["no cache", "cache"])
def test_from_one_test_to_the_next_every_write_to_the_weights_is_noticed(model, image, cache, write):
    explainer = Explainer(model, preprocess=preprocess, cache=cache)
    before = explained(explainer, str(image)).weights
    write(model)
    after = explained(explainer, str(image)).weights
    assert before != after == identity.weights_digest(model)


@pytest.mark.parametrize("write", COUNTED)
def test_within_a_test_every_write_that_pytorch_counts_is_noticed(model, image, write):
    explainer = Explainer(model, preprocess=preprocess)
    with running(RecordingTest()):
        before = explainer(str(image), lambda output: output.sum()).subject.weights
        write(model)
        after = explainer(str(image), lambda output: output.sum()).subject.weights
    assert before != after == identity.weights_digest(model)


def test_a_test_that_begins_again_reads_the_weights_again(model, image):
    explainer = Explainer(model, preprocess=preprocess)
    with running(RecordingTest()):
        before = explainer(str(image), lambda output: output.sum()).subject.weights
        through_data(model)
        begin()
        after = explainer(str(image), lambda output: output.sum()).subject.weights
    assert before != after == identity.weights_digest(model)


def test_weights_that_pytorch_does_not_count_writes_of_are_read_each_time(image):
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 2, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    parts, subject = parts_of(model), identity.Identity(model)
    with running(RecordingTest()):
        before = subject.model(parts).weights
        with torch.inference_mode():
            model[0].weight[0, 0, 0, 0] += 1
        assert subject.model(parts).weights == identity.weights_digest(model) != before


def test_within_a_test_the_weights_are_read_once(model, image, hashed):
    explainer = Explainer(model, preprocess=preprocess)
    with running(RecordingTest()):
        for _ in range(3):
            explainer(str(image), lambda output: output.sum())
    assert len(hashed) == 1
    explained(explainer, str(image))
    assert len(hashed) == 2


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
