"""Every method is what pytorch-grad-cam's own class computes by its own hooks, and leaves no trace."""

import copy
import warnings

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer

from pytest_gradcam import HeatmapError, settings
from pytest_gradcam.cam import formulas, model_methods
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.state.guard import untouched
from tests.reference import as_library_scales, explain, library, targets
from tests.states import same, state_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

CLASSES = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "gradcamelementwise": "GradCAMElementWise",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "shapleycam": "ShapleyCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "segeigencam": "SegEigenCAM",
    "kpcacam": "KPCA_CAM",
    "fem": "FEM",
    "randomcam": "RandomCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
    "fullgrad": "FullGrad",
}
SIGN_IS_ARBITRARY = ("eigencam", "eigengradcam", "kpcacam")
CONVOLUTIONAL = Site("layer1", 0, (), "BCHW", (24, 24), 0)
TOKENS = Site("encoder.layers.encoder_layer_0", 0, (), "BNC", (4, 4), 1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None, num_classes=10).eval(), CONVOLUTIONAL, pictures(96)


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    model = VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10).eval()
    nn.init.normal_(model.heads.head.weight)  # as it is built it is zero
    return model, TOKENS, pictures(64)


def pictures(size):
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_every_known_method_is_here():
    assert sorted(formulas.METHODS + model_methods.METHODS) == sorted(settings.CAM_METHODS)
    assert sorted([*CLASSES, "finercam"]) == sorted(settings.CAM_METHODS)


@pytest.mark.parametrize("method", CLASSES)
def test_of_a_convolutional_network_is_the_librarys(method, resnet):
    model, site, inputs = resnet
    inputs = inputs[:1]
    likeliest = int(model(inputs).argmax())  # of a negative score the library's AblationCAM turns the sign
    goals = [ClassifierOutputReST(3)] if method == "shapleycam" else targets(likeliest)  # of a logit, it is Grad-CAM
    maps = explain(method, model, inputs, site, goals)
    expected = library(CLASSES[method], model, inputs, site, goals)
    assert expected.max() > 0.5
    signs = (1, -1) if method in SIGN_IS_ARBITRARY else (1,)
    assert min(np.abs(as_library_scales(sign * maps, 96) - expected).max() for sign in signs) < 1e-4


NOT_OF_A_TRANSFORMER = ("hirescam", "fullgrad")  # refused, and tested so
NOT_COMPARED = ("shapleycam", "ablationcam")  # the library's fails on tokens; its ablated channels get -1e7


@pytest.mark.parametrize("method", [m for m in CLASSES if m not in NOT_OF_A_TRANSFORMER + NOT_COMPARED])
def test_of_a_transformer_is_the_librarys(method, transformer):
    model, site, inputs = transformer
    inputs = inputs[:1]
    maps = explain(method, model, inputs, site, [3])
    expected = library(CLASSES[method], model, inputs, site, targets(3))
    signs = (1, -1) if method in SIGN_IS_ARBITRARY else (1,)
    assert min(np.abs(as_library_scales(sign * maps, 64) - expected).max() for sign in signs) < 1e-4


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *(("resnet", method) for method in settings.CAM_METHODS),
        *(("transformer", method) for method in settings.CAM_METHODS if method not in NOT_OF_A_TRANSFORMER),
    ],
)
def test_maps_are_finite_repeat_bit_for_bit_and_do_not_mix_images(method, kind, request):
    model, site, inputs = request.getfixturevalue(kind)
    maps = explain(method, model, inputs, site, [3, 5])
    assert maps.dtype == np.float32
    assert maps.shape == (2, *(inputs.shape[-2:] if method == "fullgrad" else site.grid))
    assert np.isfinite(maps).all()
    assert np.ptp(maps, axis=(1, 2)).min() > 0
    np.testing.assert_array_equal(explain(method, model, inputs, site, [3, 5]), maps)
    alone = explain(method, model, inputs[1:], site, [5])
    np.testing.assert_allclose(alone[0], maps[1], atol=1e-4 * np.abs(maps[1]).max())


class TargetFailed(Exception):
    pass


def fails(_output):
    raise TargetFailed


def fails_later():
    """A target that fails in the middle of a method's work."""
    calls = iter(range(3))

    def target(output):
        if next(calls, None) is None:
            raise IndexError("of the user's own")
        return output[3]

    return target


@pytest.mark.parametrize("method", settings.CAM_METHODS)
def test_nothing_is_left_on_the_model(method, resnet):
    model, site, inputs = resnet
    model = copy.deepcopy(model).train()
    before = state_of(model)
    explain(method, model, inputs[:1], site, [3])
    assert same(state_of(model), before)
    with pytest.raises(HeatmapError, match="raised TargetFailed") as caught:
        explain(method, model, inputs[:1], site, [fails])
    assert isinstance(caught.value.__cause__, TargetFailed)
    assert same(state_of(model), before)


@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_an_index_error_of_the_target_is_the_users_to_see(method, resnet):
    model, site, inputs = resnet
    before = state_of(model)
    with pytest.raises(HeatmapError, match=r"raised IndexError \(of the user's own\)"):
        explain(method, model, inputs[:1], site, [fails_later()])
    assert same(state_of(model), before)


@pytest.mark.parametrize("method", model_methods.METHODS)
def test_nothing_is_printed(method, resnet, capfd):
    model, site, inputs = resnet
    explain(method, model, inputs[:1], site, [3])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_no_forward_pass_has_more_images_than_allowed(method, transformer):
    model, site, inputs = transformer
    sizes, maps = [], []
    handle = model.register_forward_hook(lambda _module, received, _output: sizes.append(len(received[0])))
    try:
        for most in (5, 32):
            with untouched(model):
                maps.append(model_methods.grids(Method(method, most), model, inputs[:1], site, targets(3)))
    finally:
        handle.remove()
    assert sizes == [1, 5, 5, 5, 5, 5, 5, 2, 1, 32]  # the image, and one variant of it per channel
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4 * np.abs(maps[1]).max())


def test_fullgrad_refuses_a_transformer(transformer):
    model, site, inputs = transformer
    with pytest.raises(HeatmapError, match="is a LayerNorm"):
        explain("fullgrad", model, inputs, site, [3, 5])


@pytest.mark.parametrize("method", ["scorecam", "ablationcam"])
def test_a_score_that_is_not_finite_for_a_variant_of_the_image_is_an_error(method, transformer):
    model, site, inputs = transformer
    with untouched(model), pytest.raises(HeatmapError, match=f"{method} gives NaN or infinite values"):
        model_methods.grids(Method(method), model, inputs[:1], site, [lambda output: output[3] * float("nan")])


# Methods that know more than the formula


def test_finercam_is_the_librarys(resnet):
    model, site, inputs = resnet
    predicted = model(inputs).argmax(1).tolist()
    maps = explain("finercam", model, inputs, site, predicted)
    expected = library("FinerCAM", model, inputs, site, None)
    np.testing.assert_allclose(as_library_scales(maps, 96), expected, atol=1e-4)


def test_finer_compares_with_the_nearest_logits_weighted_by_probability():
    row = torch.tensor([5.0, 1.0, 4.0, -9.0, 6.5, 2.0])
    nearest = torch.tensor([4, 2, 5])
    weights = row[nearest].softmax(0)
    assert formulas.finer(row, 0).item() == pytest.approx((weights * (5 - row[nearest])).sum().item(), rel=1e-5)


def test_finer_of_equal_logits_compares_with_other_classes_only():
    assert formulas.finer(torch.zeros(4), 2).item() == 0
    assert formulas.finer(torch.tensor([1.0, 3.0]), 1).item() == pytest.approx(2)


def test_finer_needs_another_class():
    with pytest.raises(HeatmapError, match="finercam compares a class with others, but the model has only one"):
        formulas.finer(torch.tensor([1.0]), 0)


def test_shapley_gradient_of_a_cubic_is_its_gradient_less_half_its_hessian_times_the_leaf():
    leaf = torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]], requires_grad=True)
    # d/da a^3 = 3a^2, and the Hessian is diagonal: 6a.
    found = formulas.shapley_gradient((leaf**3).sum(), leaf)
    torch.testing.assert_close(found, (3 * leaf**2 - 0.5 * 6 * leaf * leaf).detach())


def test_shapley_gradient_of_a_linear_score_is_its_gradient():
    leaf = torch.ones(1, 2, 2, 2, requires_grad=True)
    torch.testing.assert_close(formulas.shapley_gradient((3 * leaf).sum(), leaf), torch.full((1, 2, 2, 2), 3.0))


def test_shapleycam_of_tokens_has_the_librarys_weights(transformer):
    model, site, inputs = transformer
    captured_pixels = inputs[:1].clone().requires_grad_()
    cam = pytorch_grad_cam.ShapleyCAM(model, [model.get_submodule(site.name)], reshape_transform=site.spatial)
    hooks = cam.activations_and_grads
    try:
        with formulas.differentiable_twice():
            score = hooks(captured_pixels)[0, 3]
            torch.autograd.grad(score, captured_pixels, create_graph=True)
        activations = hooks.activations[0]
        weights = cam.get_cam_weights(None, None, None, activations, hooks.gradients[0])
        grid = np.tensordot(weights[0], site.spatial(activations).detach().numpy()[0], 1)
    finally:
        hooks.release()
    ours = explain("shapleycam", model, inputs[:1], site, [3])[0]
    np.testing.assert_allclose(ours, grid, atol=1e-4 * np.abs(grid).max())
    plain = explain("gradcam", model, inputs[:1], site, [3])[0]
    assert np.abs(ours - plain).max() > 0.05 * np.abs(plain).max()


def test_shapleycam_without_second_derivatives_is_an_error():
    leaf = torch.randn(1, 2, 8, 4, requires_grad=True)
    score = nn.functional.scaled_dot_product_attention(leaf, leaf, leaf).square().sum()
    with pytest.raises(HeatmapError, match="shapleycam needs second derivatives, and the model has none"):
        formulas.shapley_gradient(score, leaf)


# Signs of principal components


@pytest.mark.parametrize("method", SIGN_IS_ARBITRARY)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_component_points_to_where_the_activations_are(method, turn):
    """One channel pattern, strong on a patch: whatever sign the solver gives, the patch has the positive values."""
    rng = np.random.default_rng(0)
    activations = rng.uniform(0, 0.1, (1, 6, 5, 5)).astype(np.float32)
    activations[0, :, 1:3, 1:3] += np.arange(1, 7, dtype=np.float32)[:, None, None] / 3
    order = slice(None, None, turn)  # of the channels, which turns the solver's sign now and then
    grid = formulas.grids(method, activations[:, order], np.ones_like(activations))[0]
    assert grid[1:3, 1:3].min() > grid[3:].max()
    assert grid[1:3, 1:3].min() > 0


def test_orientation_follows_the_summed_channels_and_its_own_extreme_where_these_are_flat():
    projection = np.array([[3.0, -1.0], [-1.0, -1.0]], np.float32)
    flat = np.stack([np.arange(4.0), 7 - np.arange(4.0)]).reshape(2, 2, 2)
    for turned in (projection, -projection):
        np.testing.assert_array_equal(formulas.oriented(turned, np.stack([projection, projection + 5])), projection)
        np.testing.assert_array_equal(formulas.oriented(turned, np.stack([-projection, 0 * projection])), -projection)
        np.testing.assert_array_equal(formulas.oriented(turned, flat), projection)
        np.testing.assert_array_equal(formulas.oriented(turned, flat + 1e-6 * projection), projection)


def test_hirescam_is_refused_where_a_class_token_reads_the_grid_through_a_layer_norm(transformer):
    model, site, inputs = transformer
    with pytest.raises(HeatmapError, match="hirescam is zero at this layer except for rounding"):
        explain("hirescam", model, inputs, site, [3, 5])
    earlier = Site("encoder.dropout", 0, (), "BNC", (4, 4), 1)
    assert np.isfinite(explain("hirescam", model, inputs, earlier, [3, 5])).all()


def test_randomcam_leaves_numpys_generator_and_draws_the_same_for_every_image():
    activations = np.random.default_rng(0).normal(size=(1, 4, 3, 3)).astype(np.float32)
    np.random.seed(7)
    before = np.random.get_state()
    twice = formulas.grids("randomcam", np.concatenate([activations, activations]), None)
    assert same(np.random.get_state(), before)
    np.testing.assert_array_equal(twice[0], twice[1])


def test_kernel_pca_repeats_on_grids_where_its_solver_starts_at_random():
    activations = np.random.default_rng(0).uniform(size=(1, 8, 20, 20)).astype(np.float32)
    np.testing.assert_array_equal(
        formulas.grids("kpcacam", activations, None), formulas.grids("kpcacam", activations, None)
    )
