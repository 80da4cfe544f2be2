"""Activations and gradients at one site, at the cost of about one forward pass.

With the parameters frozen and the site's tensor replaced by a detached leaf, autograd records nothing before the
site, and the backward pass runs from the score to the site and no further.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pytest_gradcam.cam import norms, onlookers
from pytest_gradcam.cam.containers import tensors
from pytest_gradcam.cam.few_rows import filled
from pytest_gradcam.cam.sites import Site
from pytest_gradcam.cam.zeros import rows_skipped
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward

#: Maps a sum of scores and the leaf to the gradient there, or to what a method uses instead of it.
Differentiate = Callable[[Tensor, Tensor], Tensor | None]


def gradient(total: Tensor, leaf: Tensor, seeds: Tensor | None = None) -> Tensor | None:
    """The gradient of a sum of scores, or of scores times seeds, at the leaf; None if no path leads there.

    The graph is retained.
    """
    return torch.autograd.grad(total, leaf, seeds, retain_graph=True, allow_unused=True)[0]


@dataclass(frozen=True)
class Captured:
    """One forward pass: the model's output, and the leaf at the site with respect to which scores are differentiated."""

    output: Any
    leaf: Tensor
    site: Site
    #: Whether hooks of the model may see the gradients.
    hooked: bool = False

    @property
    def activations(self) -> Tensor:
        """(B, C, h, w), detached."""
        return self.site.spatial(self.leaf.detach())

    def gradients(self, scores: Sequence[Tensor], *, by: Differentiate = gradient) -> Tensor:
        """The gradient (B, C, h, w) of the scores' sum: since images do not mix, that of each image's own score."""
        return self._slope(torch.stack([score.float() for score in scores]).sum(), by)

    def gradients_of_one_image(self, scores: Sequence[Tensor]) -> Tensor:
        """The gradients (n, C, h, w) of n scores of one image, in one batched backward pass where possible."""
        if len(scores) > 1 and all(score.requires_grad for score in scores):
            stacked = torch.stack([score.float() for score in scores])
            found = self._slopes(stacked, torch.eye(len(scores), device=stacked.device))
            if found is not None:
                return found
        return torch.cat([self.gradients([score]) for score in scores])

    def gradients_of_classes(self, seeds: Tensor) -> Tensor:
        """The gradients (n, C, h, w) of n weighted sums of the output (B, classes), with the weights `seeds` (n, classes).

        Either one sum per image, or all sums of one image. Equal to `gradients` of those sums, but faster.
        """
        if len(seeds) > len(self.output):
            found = self._slopes(self.output, seeds[:, None])
            return torch.cat([self.gradients_of_classes(seed[None]) for seed in seeds]) if found is None else found
        return self._slope(self.output, partial(gradient, seeds=seeds))

    def _slope(self, root: Tensor, by: Differentiate) -> Tensor:
        grad = None
        if root.requires_grad:
            differentiate = partial(by, root, self.leaf)
            grad = self._by_rows(root, differentiate, otherwise=differentiate)
        if grad is None:
            raise HeatmapError(
                f"the score has no gradient with respect to layer {self.site.name}; expected a differentiable path. "
                "Choose another layer, and look for no_grad, detach, argmax or .item() after it"
            )
        return self.site.spatial(grad)

    def _slopes(self, root: Tensor, seeds: Tensor) -> Tensor | None:
        """One gradient per seed; None if the backward pass cannot be batched, or no path leads to the leaf."""

        def batched() -> Tensor:
            return torch.autograd.grad(root, self.leaf, seeds, retain_graph=True, is_grads_batched=True)[0]

        def mapped() -> Tensor:
            with warnings.catch_warnings():  # PyTorch tells which operations are batched in a loop
                warnings.simplefilter("ignore", UserWarning)
                return cast("Tensor", torch.vmap(partial(gradient, root, self.leaf))(seeds))

        try:
            found = self._by_rows(root, mapped, otherwise=batched)
        except RuntimeError:
            return None
        return None if found is None else self.site.spatial(found.flatten(0, 1))

    def _by_rows(
        self, root: Tensor, differentiate: Callable[[], Tensor | None], *, otherwise: Callable[[], Tensor | None]
    ) -> Tensor | None:
        """What `differentiate` gives, with few rows of zeros on the way from `root` where class tokens are read.

        Where anything on the way is the user's, who may keep gradients or read their memory, or cannot work with FewRows,
        `otherwise`.
        """
        alone = self.site.prefix and not self.hooked and not onlookers.on_the_way(root)
        skipped = rows_skipped(self.leaf) if alone else None
        if skipped is not None:
            with suppress(Exception), skipped:
                return cast("Tensor | None", filled(differentiate()))
        return otherwise()


def capture(model: nn.Module, inputs: Tensor, site: Site) -> Captured:
    """Run the model on (B, C, H, W) with a leaf at the site. The caller holds the guard."""
    leaves: list[Tensor] = []
    handles: list[RemovableHandle] = []
    calls = 0

    def put_leaf(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return replaced(output, site.path, leaf_of) if calls == site.call + 1 else None

    def leaf_of(tensor: Tensor) -> Tensor:
        leaves.append(tensor.detach().clone().requires_grad_())
        # The next layer may work in place, which a leaf does not allow.
        return leaves[0].clone()

    hooks: list[str] = []
    handles.append(model.get_submodule(site.name).register_forward_hook(put_leaf))
    try:
        with onlookers.noted(hooks) if site.prefix else nullcontext():
            output = forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    if len(inputs) == 1:
        for _, tensor in tensors(output):
            norms.straighten_path(tensor)
    if not leaves:
        raise HeatmapError(
            f"layer {site.name} was called {calls} times for this input; expected at least {site.call + 1}, as for the "
            "input on which it was chosen. Name a layer yourself"
        )
    return Captured(output, leaves[0], site, bool(hooks) or bool(site.prefix and onlookers.on_modules(model)))


def replaced(output: Any, path: tuple[int | str, ...], new: Callable[[Tensor], Tensor]) -> Any:
    """The same nested output with the tensor at `path` replaced."""
    if not path:
        return new(output)
    key, rest = path[0], path[1:]
    if isinstance(output, tuple):
        parts = [replaced(part, rest, new) if i == key else part for i, part in enumerate(output)]
        return type(output)(*parts) if hasattr(output, "_fields") else tuple(parts)
    output[key] = replaced(output[key], rest, new)
    return output
