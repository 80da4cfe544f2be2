"""Redraws the weights of a copy of a model: the values of each parameter tensor are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.inputs.reader import Input, stack
from pytest_gradcam.state.forward_only import require_insides
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.surroundings import eager, random_states_kept, without_gradients

_STEPS = 50  # of a power iteration, which give a spectral norm to within a percent
_CHANGED = 4.0  # times larger or smaller than before: more than shuffling does
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_Engine = TypeVar("_Engine")

_OTHERWISE = (
    "; of heatmaps by rise or occlusion assert_faithful and assert_deterministic say whether they can be trusted"
)


@dataclass(frozen=True)
class Redraw(Generic[_Engine]):
    """A copy of a model, to redraw its weights; `engine_of` makes an engine that explains the copy."""

    original: nn.Module
    copy: nn.Module
    engine_of: Callable[[nn.Module], _Engine]

    def stages(self, seed: int, count: int, image: Input) -> Iterator[_Engine]:
        """The copy's engine after each of at most `count` stages of redrawing, from the output down.

        The first stage starts from the original's weights. Batch statistics are taken from the image.
        """
        inputs, engine = stack([image], self.copy), self.engine_of(self.copy)
        self.copy.load_state_dict(self.original.state_dict())
        generator, done = torch.Generator().manual_seed(seed), list[nn.Module]()
        for part in parts(self.copy, count):
            redraw(part, generator)
            done += part
            _recalibrate(self.copy, done, inputs)
            yield engine


def copied(network: nn.Module) -> nn.Module:
    """A copy in eval mode that shares no memory with the model. Raises HeatmapError if it cannot be made."""
    require_insides(network, "redrawing its weights", otherwise=_OTHERWISE)
    try:
        with random_states_kept():
            model = deepcopy(network)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model may contain anything, and fail to copy in any way
        raise HeatmapError(
            f"the model cannot be copied ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
            "make copy.deepcopy(model) work, since this check redraws the weights of a copy"
        ) from error
    own = {parameter.data_ptr() for parameter in network.parameters() if parameter.numel()}
    if any(parameter.data_ptr() in own for parameter in model.parameters() if parameter.numel()):
        raise HeatmapError(
            "the model's copy shares its weights, so this check would redraw the model's own; "
            "make copy.deepcopy(model) copy the weights"
        )
    return model.eval()


def redraw(modules: Sequence[nn.Module], generator: torch.Generator) -> None:
    """Shuffles the values of each of the modules' parameter tensors, which keeps their scale."""
    with without_gradients():
        scales = [(name, effective, _scale(effective())) for name, effective in _parametrised(modules)]
        for parameter in (parameter for module in modules for parameter in module.parameters(recurse=False)):
            flat = parameter.detach().reshape(-1)
            order = torch.randperm(flat.numel(), generator=generator).to(flat.device)
            parameter.copy_(flat[order].reshape(parameter.shape))
        for module in modules:
            _estimate_anew(module)
        for name, effective, before in scales:
            _check_scale(name, before, _scale(effective()))


def _parametrised(modules: Sequence[nn.Module]) -> list[tuple[str, Callable[[], Tensor]]]:
    """The effective weights that the model computes from these modules' parameters, each with a name."""
    found: list[tuple[str, Callable[[], Tensor]]] = []
    for module in modules:
        if isinstance(module, parametrize.ParametrizationList):
            found.append((" and ".join(type(each).__name__ for each in module), module))
        for hook in _weight_hooks(module):
            found.append((type(hook).__name__, partial(_computed, hook, module)))
    return found


def _weight_hooks(module: nn.Module) -> list[Any]:
    """The hooks with which PyTorch's older parametrisations compute a weight before each forward pass."""
    return [hook for hook in module._forward_pre_hooks.values() if isinstance(hook, (SpectralNorm, WeightNorm))]


def _computed(hook: Any, module: nn.Module) -> Tensor:
    hook(module, None)
    weight: Tensor = getattr(module, hook.name)
    return weight


def _estimate_anew(module: nn.Module) -> None:
    """Training estimates a spectral norm step by step; this takes the steps for the redrawn weights."""
    spectral = [hook for hook in _weight_hooks(module) if isinstance(hook, SpectralNorm)]
    for _ in range(_STEPS):
        for hook in spectral:
            hook.compute_weight(module, do_power_iteration=True)
        if isinstance(module, parametrize.ParametrizationList) and list(module.buffers()):
            module.train()
            module()
            module.eval()


def _scale(weight: Tensor) -> float:
    return float(weight.double().norm())


def _check_scale(name: str, before: float, after: float) -> None:
    if not before / _CHANGED <= after <= before * _CHANGED:
        raise HeatmapError(
            f"redrawing changed the norm of a weight parametrised by {name} from {before:.3g} to {after:.3g}; expected it to "
            "stay about the same. Remove the parametrisation with torch.nn.utils.parametrize.remove_parametrizations"
        )


def parts(model: nn.Module, stages: int) -> list[list[nn.Module]]:
    """The modules that have parameters, in at most `stages` parts, from the output down.

    Each part has a parameter whose values differ. Raises HeatmapError if no parameter has.
    """
    groups: list[list[nn.Module]] = []
    for module in reversed([one for one in model.modules() if any(True for _ in one.parameters(recurse=False))]):
        if not groups or (_varies([module]) and _varies(groups[-1])):
            groups.append([])
        groups[-1].append(module)
    if not groups:
        raise HeatmapError(
            "the model has no parameters, so no heatmap can depend on them; check which model is explained"
        )
    if not any(map(_varies, groups)):
        raise HeatmapError("each weight tensor is constant, so redrawing changes nothing; train the model first")
    cuts = np.linspace(0, len(groups), min(stages, len(groups)) + 1).round().astype(int)
    return [[module for group in groups[start:end] for module in group] for start, end in pairwise(cuts)]


def _varies(modules: Sequence[nn.Module]) -> bool:
    own = (parameter for module in modules for parameter in module.parameters(recurse=False))
    return any(bool((parameter != parameter.reshape(-1)[:1]).any()) for parameter in own if parameter.numel())


def _recalibrate(model: nn.Module, redrawn: Sequence[nn.Module], inputs: Tensor) -> None:
    """Takes the batch statistics of redrawn layers anew; the old ones would blow up or silence channels."""
    norms = [one for one in redrawn if isinstance(one, _BATCH_NORMS) and one.running_mean is not None]
    if not norms:
        return
    views = torch.cat([inputs, inputs.flip(3), inputs.flip(2), inputs.flip(2, 3)])
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with random_states_kept(), without_gradients(), eager():
        forward(model, views)
    model.eval()
