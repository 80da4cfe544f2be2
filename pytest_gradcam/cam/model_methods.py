"""Methods that run the model themselves: many forward passes, or one backward pass to the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pytest_gradcam.cam import norms
from pytest_gradcam.cam.capture import capture, replaced
from pytest_gradcam.cam.formulas import FloatArray, constructed
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.outputs import per_image
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.grids import weights
from pytest_gradcam.state.guard import forward

#: Maps the model's output for one image to a scalar.
Score = Callable[[Any], Tensor]

_FLAT = 1e-8  # added to a channel's range, as in the library; a constant channel then masks the whole image


def grids(method: Method, model: nn.Module, inputs: Tensor, site: Site, goals: Sequence[Score]) -> FloatArray:
    """The class activation maps (B, h, w) of inputs (B, C, H, W), one goal each, signed and not normalised.

    Goals score many variants of their image, so the predicted class must be fixed beforehand. A forward pass takes at
    most the method's `batch_size` images, except FullGrad's, which takes all; it has no layer, and maps of the input's size.
    The caller holds the guard. Raises HeatmapError for a model that the method does not apply to, and for a map that is
    not finite.
    """
    maps = _METHODS[method.name](model, inputs, site, goals, method.batch_size)
    if not np.isfinite(maps).all():
        raise HeatmapError(
            f"{method.name} gives NaN or infinite values; expected finite scores for every variant of the image it tries. "
            "Check the target, or use another method"
        )
    return maps


def _scorecam(model: nn.Module, inputs: Tensor, site: Site, goals: Sequence[Score], batch_size: int) -> FloatArray:
    """Wang et al., Score-CAM, CVPRW 2020: each channel's weight is the score of the image seen through it.

    The library's class is not used: it keeps one masked image per channel in memory and draws a progress bar.
    """
    with torch.no_grad():
        return np.stack([_masked(model, *one, site, batch_size) for one in zip(inputs.split(1), goals, strict=True)])


def _masked(model: nn.Module, image: Tensor, goal: Score, site: Site, batch_size: int) -> FloatArray:
    activations = capture(model, image, site).activations.float()
    scores: list[float] = []
    for channels in activations[0].split(batch_size):
        enlarged = _enlarged(channels[:, None], image, site)
        low, high = enlarged.amin((2, 3), keepdim=True), enlarged.amax((2, 3), keepdim=True)
        seen = image * ((enlarged - low) / (high - low + _FLAT))
        scores += [float(goal(output)) for output in _outputs(model, seen.to(image.dtype))]
    weights = torch.tensor(scores).softmax(0).numpy()
    return np.asarray((weights[:, None, None] * activations[0].cpu().numpy()).sum(0), np.float32)


def _enlarged(channels: Tensor, image: Tensor, site: Site) -> Tensor:
    if site.centres is None:
        return interpolate(channels, image.shape[-2:], mode="bilinear", align_corners=True)
    shape = (image.shape[2], image.shape[3])
    down, across = (torch.from_numpy(each).to(channels) for each in weights(site.grid, shape, site.centres))
    return down @ channels @ across.T


def _ablationcam(model: nn.Module, inputs: Tensor, site: Site, goals: Sequence[Score], batch_size: int) -> FloatArray:
    """Desai and Ramaswamy, Ablation-CAM, WACV 2020: each channel's weight is how far the score falls without it.

    The library's class is not used: it replaces the layer in the model, sets channels to -1e7 where activations can be
    negative, and divides by the score, which flips the map's sign if the score is negative.
    """
    with torch.no_grad():
        return np.stack([_ablated(model, *one, site, batch_size) for one in zip(inputs.split(1), goals, strict=True)])


def _ablated(model: nn.Module, image: Tensor, goal: Score, site: Site, batch_size: int) -> FloatArray:
    captured = capture(model, image, site)
    activations = captured.activations[0].float().cpu().numpy()
    rest: list[float] = []
    for channels in torch.arange(len(activations)).split(batch_size):
        count = len(channels)
        without = torch.cat([captured.leaf.detach()] * count)
        site.clear(without, channels)
        with _standing_in(model, site, without):
            rest += [float(goal(output)) for output in _outputs(model, torch.cat([image] * count))]
    falls = float(goal(per_image(captured.output, 0, 1))) - np.asarray(rest)
    return np.asarray(np.tensordot(falls, activations, 1), np.float32)


def _fullgrad(model: nn.Module, inputs: Tensor, _site: Site, goals: Sequence[Score], _batch_size: int) -> FloatArray:
    """Srinivas and Fleuret, FullGrad, NeurIPS 2019: the gradients of the input and of every bias, on the input's grid.

    The library scales each channel's map to [0, 1] before it sums them, so the values count channels.
    """
    layers = _biased(model)
    leaf = inputs.detach().clone().requires_grad_()
    with _gradients_of(model, layers) as found:
        outputs = _outputs(model, leaf.clone())
        total = torch.stack([goal(output).float() for goal, output in zip(goals, outputs, strict=True)]).sum()
        gradient = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        raise HeatmapError(
            "the score has no gradient with respect to the input, and fullgrad needs one; look for no_grad, detach, "
            "argmax or .item() in the model and the target"
        )
    cam = constructed("FullGrad")
    cam.bias_data = [cam.get_bias_data(layer).float().cpu().numpy() for layer, _ in found]
    cam.activations_and_grads = SimpleNamespace(gradients=[slope for _, slope in found], release=lambda: None)
    pixels = inputs.detach().float().cpu()
    pixels.grad = gradient.float().cpu()
    return np.asarray(cam.compute_cam_per_layer(pixels, None, False)[:, 0], np.float32)


def _biased(model: nn.Module) -> list[nn.Module]:
    """The layers whose biases FullGrad counts. Raises HeatmapError if other layers have biases."""
    layers: list[nn.Module] = []
    for name, module in model.named_modules():
        if isinstance(getattr(module, "bias", None), Tensor) and not isinstance(module, nn.Linear):
            # A subclass may do more than normalise; timm's include the activation function.
            plain = type(module) is nn.BatchNorm2d and module.running_mean is not None
            if not plain and not isinstance(module, nn.Conv2d):
                raise HeatmapError(
                    f"fullgrad counts the biases of Conv2d and BatchNorm2d, but the model has others: {name} is a "
                    f"{type(module).__name__}. The map would leave them out; use another method"
                )
            layers.append(module)
    if not layers:
        raise HeatmapError("fullgrad counts the biases of Conv2d and BatchNorm2d, but the model has none; use hirescam")
    return layers


@contextmanager
def _gradients_of(model: nn.Module, layers: Sequence[nn.Module]) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """A list that the backward pass fills: each layer, once per call, with the gradient of its output."""
    found: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: found.append((module, gradient.float())))

    with ExitStack() as stack:
        for handle in [*norms.watch(model), *(layer.register_forward_hook(watch) for layer in layers)]:
            stack.callback(handle.remove)
        yield found


@contextmanager
def _standing_in(model: nn.Module, site: Site, tensor: Tensor) -> Iterator[None]:
    """A `with` block in which one forward pass finds this tensor at the site."""
    calls = 0

    def put(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return replaced(output, site.path, lambda _: tensor) if calls == site.call + 1 else None

    handle = model.get_submodule(site.name).register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _outputs(model: nn.Module, inputs: Tensor) -> list[Any]:
    output = forward(model, inputs)
    return [per_image(output, i, len(inputs)) for i in range(len(inputs))]


_METHODS = {"scorecam": _scorecam, "ablationcam": _ablationcam, "fullgrad": _fullgrad}
METHODS = tuple(_METHODS)
