"""Engine of real architectures: right against an independent implementation, or refused, and without a trace."""

import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from pytest_gradcam import Explainer, HeatmapError, NoEvidenceError, masks
from pytest_gradcam.cam.cache import HeatmapCache
from tests.states import same, state_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_grad_cam import GradCAM, HiResCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

ARCHITECTURES = {
    "resnet18": "layer4",
    "mobilenet_v3_small": "features",
    "vgg11": "features",
    "convnext_tiny": "features",
}


def build(name):
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


def pictures(count, height=160, width=160):
    return list(torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1)))


def theirs(model, layer, inputs, indices, method=GradCAM):
    """pytorch-grad-cam's map before its ReLU and scaling, computed by its own hooks and its own backward."""
    cam = method(model=model, target_layers=[model.get_submodule(layer)])
    try:
        batch = torch.stack(inputs)
        targets = [ClassifierOutputTarget(index) for index in indices]
        outputs = cam.activations_and_grads(batch)
        sum(target(output) for target, output in zip(targets, outputs, strict=True)).backward()
        activations = cam.activations_and_grads.activations[0].numpy()
        gradients = cam.activations_and_grads.gradients[0].numpy()
        return cam.get_cam_image(batch, None, targets, activations, gradients, False)
    finally:
        cam.activations_and_grads.release()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("method", "reference"), [("gradcam", GradCAM), ("hirescam", HiResCAM)])
def test_grids_equal_pytorch_grad_cams(name, method, reference):
    model, inputs, indices = build(name), pictures(3), [3, 700, 3]
    ours = Explainer(model, layer=ARCHITECTURES[name], method=method).batch(inputs, indices)
    for heatmap, grid in zip(ours, theirs(model, ARCHITECTURES[name], inputs, indices, reference), strict=True):
        expected = np.maximum(grid, 0)
        assert expected.max() > 0
        np.testing.assert_allclose(heatmap.grid, expected, atol=1e-5 * expected.max())


def test_values_equal_pytorch_grad_cams_whole_pipeline_up_to_its_scaling():
    model, inputs = build("resnet18"), pictures(1)
    with GradCAM(model=model, target_layers=[model.layer4]) as cam:
        theirs_scaled = cam(torch.stack(inputs), [ClassifierOutputTarget(9)])[0]
    values = Explainer(model, "layer4")(inputs[0], 9).values
    scaled = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(scaled, theirs_scaled, atol=2e-3)  # they scale on the grid, then resize with OpenCV


def test_hirescam_equals_gradcam_before_global_pooling_and_one_linear_layer():
    model, image = build("resnet18"), pictures(1)[0]
    explainer = Explainer(model, "layer4")
    gradcam, hirescam = explainer(image, 5), explainer(image, 5, method="hirescam")
    np.testing.assert_allclose(gradcam.grid, hirescam.grid, atol=1e-5 * gradcam.grid.max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_layer_is_found_and_named(name):
    explainer = Explainer(build(name))
    with pytest.raises(HeatmapError, match="chosen on the first image"):
        _ = explainer.layer
    heatmap = explainer(pictures(1)[0])
    assert explainer.layer == heatmap.layer
    assert heatmap.grid.shape == (5, 5)


def test_the_choice_does_not_hang_on_the_first_image():
    model = build("resnet18")
    black, noise = torch.zeros(3, 96, 96), pictures(1, 96, 96)[0]
    first, second = Explainer(model), Explainer(model)
    a, b = first.batch([black, noise], [1, 1]), second.batch([noise, black], [1, 1])
    assert {heatmap.layer for heatmap in (*a, *b)} == {first.layer}
    np.testing.assert_allclose(a[1].grid, b[0].grid, atol=1e-5 * a[1].grid.max())


def test_the_same_input_gives_the_same_bits_and_a_batch_agrees():
    explainer, inputs = Explainer(build("mobilenet_v3_small")), pictures(5)
    batch = explainer.batch(inputs, [1] * 5)
    for image, together in zip(inputs, batch, strict=True):
        alone, again = explainer(image, 1), explainer(image, 1)
        np.testing.assert_array_equal(alone.grid, again.grid)
        np.testing.assert_allclose(alone.grid, together.grid, atol=1e-4 * alone.grid.max())


def test_images_of_several_sizes_come_back_in_order():
    explainer = Explainer(build("resnet18"), batch_size=2)
    inputs = [*pictures(2, 96, 96), *pictures(3, 64, 128), *pictures(1, 96, 96)]
    batch = explainer.batch(inputs, list(range(6)))
    assert [heatmap.values.shape for heatmap in batch] == [tuple(image.shape[1:]) for image in inputs]
    assert [heatmap.subject.target_index for heatmap in batch] == list(range(6))
    alone = explainer(inputs[3], 3)
    np.testing.assert_allclose(alone.grid, batch[3].grid, atol=1e-4 * alone.grid.max())


def test_predict_gives_the_models_own_scores():
    model, inputs = build("resnet18"), [*pictures(3, 96, 96), *pictures(1, 64, 64)]
    scores = Explainer(model, batch_size=2).predict(inputs)
    with torch.no_grad():
        expected = [model(image[None])[0].numpy() for image in inputs]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


class Red(nn.Module):
    """Class 0 scores red, class 1 green, class 2 minus both."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.head = nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = self.features.weight[1, 1] = 1 / 16
            self.head.weight.copy_(torch.tensor([[4.0, 0], [0, 4.0], [-1, -1]]))

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def red_square():
    image = torch.zeros(3, 32, 32)
    image[0, :16, :16] = 1
    image[1, 20:, 20:] = 0.5
    return image


NAMES = ("red", "green", "dark")


def test_targets_by_name_index_prediction_and_callable():
    explainer = Explainer(Red(), classes=NAMES)
    red = explainer(red_square(), "red")
    for same_target in (0, np.int64(0), None, lambda output: output[0]):
        np.testing.assert_array_equal(explainer(red_square(), same_target).grid, red.grid)
    assert (red.target, red.score, red.subject.rank, red.subject.predicted) == ("red", 1.0, 1, "red")
    expected = np.zeros((8, 8))
    expected[:4, :4] = 1 / 16  # gradient of the mean over 64 cells, times 4, times the red of the cell
    np.testing.assert_allclose(red.grid, expected, atol=1e-7)
    green = explainer(red_square(), "green")
    assert green.subject.rank == 2
    assert green.mass(masks.box((32, 32), (16, 16, 32, 32))) > 0.9


def test_classes_as_a_dict():
    assert Explainer(Red(), classes={"dark": 2, "red": 0})(red_square(), "red").subject.target_index == 0


def test_a_mask_of_a_tensor_is_in_its_own_coordinates():
    heatmap = Explainer(Red())(red_square(), 0)
    heatmap.assert_focus_within(masks.box((32, 32), (0, 0, 18, 18)), at_least=0.95)
    with pytest.raises(HeatmapError, match="shape"):
        heatmap.mass(np.ones((16, 16), bool))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("rde", r"no class 'rde' among the 3 class names; did you mean 'red'"),
        (3, "target=3 is out of range; expected an index from 0 to 2, since the model gives 3 scores"),
        (-1, "target=-1 is out of range; expected an index from 0 to 2, since the model gives 3 scores"),
        (-4, "out of range"),
        (1.5, "1.5 is not a target"),
        (True, "True is not a target"),
        (lambda output: output, r"returned a tensor of shape \(3,\); expected a tensor with one value"),
        (lambda output: output[0].item(), "expected a tensor with one value"),
        (lambda output: output[0].detach(), "has no gradient with respect to layer"),
    ],
)
def test_targets_that_are_none(target, words):
    explainer = Explainer(Red(), layer="features", classes=NAMES)
    with pytest.raises(HeatmapError, match=words):
        explainer(red_square(), target)


def test_a_class_name_that_two_classes_have():
    explainer = Explainer(Red(), classes=["crane", "green", "crane"])
    with pytest.raises(HeatmapError, match="'crane' stands for the indices 0, 2; pass the index you mean"):
        explainer(red_square(), "crane")


def test_a_class_name_without_names():
    with pytest.raises(HeatmapError, match="no class names are set"):
        Explainer(Red())(red_square(), "red")


@pytest.mark.parametrize("targets", [[1], [1, 2, 3, 4], [], "red", 1])
def test_as_many_targets_as_images(targets):
    with pytest.raises(HeatmapError, match="expected one per image"):
        Explainer(Red(), classes=NAMES).batch([red_square()] * 3, targets)


def test_no_evidence_names_target_score_and_layer():
    heatmap = Explainer(Red(), layer="features", classes=NAMES)(red_square(), "dark")
    with pytest.raises(NoEvidenceError, match=r"zero everywhere for 'dark' \(score -0\.\d+\) at layer features"):
        heatmap.assert_focus_within(masks.box((32, 32), (0, 0, 16, 16)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
class TestNotFinite:
    def test_input(self, value):
        image = red_square()
        image[1, 2, 3] = value
        with pytest.raises(HeatmapError, match="input tensor holds NaN"):
            Explainer(Red())(image)

    def test_weights_name_the_first_module(self, value):
        model = build("resnet18")
        with torch.no_grad():
            model.layer2[1].conv1.weight[0, 0, 0, 0] = value
        with pytest.raises(HeatmapError, match=r"NaN or infinite.*first in the output of layer2\.1\.conv1"):
            Explainer(model, layer="layer4")(pictures(1)[0], 1)

    def test_head(self, value):
        model = Red()
        with torch.no_grad():
            model.head.weight[0, 0] = value
        with pytest.raises(HeatmapError, match="scores .*first in the output of head"):
            Explainer(model, layer="features")(red_square(), 0)

    def test_gradients(self, value):
        def target(output):
            # finite itself; its gradient at 0 is infinite, and NaN where that meets 0
            return (output[0] * 0).sqrt() if value is torch.nan else (output[0] - output[0].detach()).sqrt()

        with pytest.raises(HeatmapError, match="gradients .*NaN or infinite"):
            Explainer(Red(), layer="features")(red_square(), target)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("resnet18", "eval"),
        ("resnet18", "mixed and frozen"),
        ("mobilenet_v3_small", "train"),
        ("densenet121", "train"),
    ],
)
def test_no_trace_is_left_on_the_model(name, mode):
    model = build(name)
    if mode != "eval":
        model.train()
    if mode == "mixed and frozen":
        next(model.children()).eval()
        for parameter in list(model.parameters())[::2]:
            parameter.requires_grad_(False)
    model(torch.randn(2, 3, 64, 64)).sum().backward()  # gradients in store
    explainer, images = Explainer(model), pictures(2, 64, 64)
    before = state_of(model)
    explainer.batch(images)
    explainer(images[0], 3, method="eigencam")
    explainer.compare(images[0], [3, 5, None])
    explainer.predict(images)
    assert same(before, state_of(model))

    def raises(_output):
        raise RuntimeError("in the middle")

    for target in (raises, 5000):
        with pytest.raises(HeatmapError):
            explainer(images[0], target)
    with pytest.raises(HeatmapError):
        explainer(images[0], layer="no.such.layer")
    assert same(before, state_of(model))


def test_no_trace_after_the_model_raised_in_the_middle():
    model, four_channels = build("resnet18").train(), torch.randn(4, 64, 64)
    explainer = Explainer(model, layer="layer4")
    before = state_of(model)
    with pytest.raises(HeatmapError, match=r"the model cannot take an input of shape \(1, 4, 64, 64\).*channels"):
        explainer(four_channels)
    assert same(before, state_of(model))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(context):
    explainer, image = Explainer(build("resnet18")), pictures(1)[0]
    expected = explainer(image, 1)
    with context():
        inside = explainer(torch.clone(image), 1)
    np.testing.assert_array_equal(inside.grid, expected.grid)


def test_frozen_parameters_change_nothing():
    model, image = build("resnet18"), pictures(1)[0]
    expected = Explainer(model)(image, 1)
    np.testing.assert_array_equal(Explainer(model.requires_grad_(False))(image, 1).grid, expected.grid)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_agree_with_float32(dtype):
    image = red_square()
    expected = Explainer(Red())(image, 0).grid
    heatmap = Explainer(Red().to(dtype))(image, 0)
    assert heatmap.grid.dtype == np.float32
    np.testing.assert_allclose(heatmap.grid, expected, atol=0.02 * expected.max())


@pytest.mark.parametrize(
    "method", ["gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "eigengradcam"]
)
def test_every_method_gives_a_finite_map(method):
    heatmap = Explainer(build("resnet18"), method=method)(pictures(1)[0], 1)
    assert heatmap.method == method
    assert np.isfinite(heatmap.grid).all()
    assert heatmap.grid.max() > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "resnet18"}, "the model is a str; expected a torch.nn.Module"),
        ({"method": "gradcm"}, "'gradcm' is not known; expected one of.*did you mean 'gradcam'"),
        ({"preprocess": "resize"}, "is not callable"),
        ({"batch_size": 0}, "batch_size=0 cannot be used; expected a whole number of at least 1"),
        ({"device": "tpu9"}, "device='tpu9' cannot be used"),
        ({"classes": "cat"}, "is one name; expected a sequence"),
    ],
)
def test_what_cannot_work_is_refused_at_the_door(arguments, words):
    with pytest.raises(HeatmapError, match=words):
        Explainer(**{"model": Red(), **arguments})


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(1, 3, 32, 32), "use batch"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "expected a float tensor"),
        (torch.zeros(32, 32), r"shape \(32, 32\) is not a model input"),
        (np.zeros((32, 32, 3), np.uint8), "no preprocess is set"),
        ("no-such-file.png", "no image file|no preprocess"),
    ],
)
def test_images_that_cannot_be_explained(image, words):
    with pytest.raises(HeatmapError, match=words):
        Explainer(Red())(image)


class Necked(nn.Module):
    """A network whose neck can be lengthened."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.neck = nn.Sequential(nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.neck(self.first(x)).mean((2, 3)))


def appended(model):
    model.neck.append(nn.Conv2d(8, 8, 3, 1, 1))


def replaced(model):
    model.neck[0] = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))


def shape_of_a_parameter(model):
    model.neck.append(nn.Conv2d(8, 16, 1))
    model.neck.append(nn.ReLU())
    model.head = nn.Linear(16, 3)


@pytest.mark.parametrize("change", [appended, replaced, shape_of_a_parameter])
@pytest.mark.parametrize("cache", [None, HeatmapCache()], ids=["no cache", "cache"])
def test_the_layer_is_chosen_anew_when_the_structure_changes(change, cache):
    model, image = Necked(), torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    explainer = Explainer(model, cache=cache)
    assert explainer(image, 0).layer == explainer.layer == Explainer(Necked()).batch([image])[0].layer
    change(model)
    heatmap, fresh = explainer(image, 0), Explainer(model)
    assert heatmap.layer == explainer.layer == fresh(image, 0).layer
    assert explainer.layers() == fresh.layers()
    np.testing.assert_array_equal(heatmap.grid, fresh(image, 0).grid)


def test_the_layer_is_chosen_once_while_the_structure_stays(monkeypatch):
    from pytest_gradcam.cam import layer_choices

    chosen, choose = [], layer_choices.choose
    monkeypatch.setattr(layer_choices, "choose", lambda *args, **options: chosen.append(1) or choose(*args, **options))
    model = Necked()
    explainer = Explainer(model)
    for _ in range(3):
        explainer(torch.rand(3, 64, 64), 0)
        nn.init.normal_(model.head.weight)
    assert len(chosen) == 1
    explainer(torch.rand(3, 32, 32), 0)
    assert len(chosen) == 2


def test_an_unknown_layer_names_the_nearest():
    with pytest.raises(HeatmapError, match=r"layer4"):
        Explainer(build("resnet18"), layer="layr4")(pictures(1)[0])


def test_a_mask_that_the_preprocess_cropped_away_has_no_verdict():
    transforms = torchvision.transforms
    crop = transforms.Compose([transforms.CenterCrop(32), transforms.ToTensor()])
    heatmap = Explainer(Red(), preprocess=crop)(np.full((64, 64, 3), (200, 10, 10), np.uint8), 0)
    with pytest.raises(
        HeatmapError, match=r"kept 0 % of the mask: the view shows x 16 to 47 and y 16 to 47 of the 64 x 64"
    ):
        heatmap.assert_focus_avoids(masks.box((64, 64), (0, 0, 10, 10)))


def test_a_greyscale_model_gets_greyscale_images():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    explainer = Explainer(model, preprocess=torchvision.transforms.ToTensor())
    heatmap = explainer(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    assert heatmap.values.shape == (40, 30)
