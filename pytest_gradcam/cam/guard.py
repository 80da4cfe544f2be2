"""A model, and the global random states, are given back exactly as they were found."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import checkpoint

from pytest_gradcam.errors import HeatmapError

Restore = Callable[[], None]

# The two ways of torch.utils.checkpoint.checkpoint, by the names in its module that it looks up at each call. A version
# of torch that names them otherwise recomputes, and says so with a CheckpointError rather than with another map.
_REENTRANT = "CheckpointFunction"
_GENERATORS = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")


@contextmanager
def untouched(model: nn.Module) -> Iterator[Parts]:
    """Inside, the model is in eval mode, its parameters are frozen and gradients can be taken. Gives the model's parts.

    Afterwards, also after an exception, its training flags, requires_grad flags, grads and buffers and the global
    random states are what they were.
    """
    parts = parts_of(model)
    with ExitStack() as stack:
        stack.enter_context(random_states_kept())
        for freeze in (_flags, _parameters, _buffers):
            stack.callback(freeze(parts))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.compiler.set_stance("force_eager"))  # hooks do not reach into compiled code
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_nothing_recomputed())
        yield parts


def forward(model: nn.Module, inputs: torch.Tensor) -> Any:
    """The model's output. Raises HeatmapError, naming the input's shape, for an input that it cannot take."""
    try:
        return model(inputs)
    except torch.OutOfMemoryError:
        raise  # its own message says what to do; a smaller batch_size helps
    except RuntimeError as error:
        raise HeatmapError(
            f"the model cannot take an input of shape {tuple(inputs.shape)} and type {inputs.dtype} "
            f"({str(error).splitlines()[0]}); check the size and the channels that the preprocess gives"
        ) from error


@contextmanager
def random_states_kept() -> Iterator[None]:
    """The global random states of Python, NumPy and PyTorch are afterwards what they were before."""
    python, cpu = random.getstate(), torch.get_rng_state()
    numpy: Any = sys.modules.get("numpy")
    legacy = numpy.random.get_state() if numpy else None
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python)
        torch.set_rng_state(cpu)
        if legacy is not None:
            numpy.random.set_state(legacy)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextmanager
def _nothing_recomputed() -> Iterator[None]:
    """Gradient checkpointing is off: what is recomputed in the backward pass would not go through our leaf."""
    kept = {name: getattr(checkpoint, name) for name in (_REENTRANT, *_GENERATORS) if hasattr(checkpoint, name)}
    for name in kept:
        setattr(checkpoint, name, _PlainCall if name == _REENTRANT else _bare)
    try:
        yield
    finally:
        for name, original in kept.items():
            setattr(checkpoint, name, original)


class _PlainCall:
    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *arguments: Any) -> Any:
        return function(*arguments)


def _bare(*_arguments: Any, **_options: Any) -> Iterator[None]:
    """In place of what sets up a recomputation before its one yield, and finishes it after."""
    yield


@dataclass(frozen=True)
class Parts:
    """What a model is made of: its modules and parameters, each once, and its buffers with their modules and names."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]
    buffers: list[tuple[nn.Module, str, torch.Tensor]]

    @property
    def count(self) -> int:
        """The number of values of the parameters."""
        return sum(parameter.numel() for parameter in self.parameters)


def parts_of(model: nn.Module) -> Parts:
    """By one walk: `model.modules()`, `parameters()` and `buffers()` with their nested generators cost more than a layer."""
    modules, parameters, buffers, open_ = {id(model): model}, {}, [], [model]
    while open_:
        module = open_.pop()
        for parameter in module._parameters.values():
            if parameter is not None:
                parameters[id(parameter)] = parameter
        for name, buffer in module._buffers.items():
            if buffer is not None:
                buffers.append((module, name, buffer))
        for child in module._modules.values():
            if child is not None and id(child) not in modules:
                modules[id(child)] = child
                open_.append(child)
    return Parts(list(modules.values()), list(parameters.values()), buffers)


def _flags(parts: Parts) -> Restore:
    kept = [(module, module.training) for module in parts.modules]
    # Not model.eval(): a user's override of train() may do more than set flags.
    _set_flags((module, False) for module in parts.modules)
    return lambda: _set_flags(kept)


def _set_flags(flags: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, training in flags:
        if module.training != training:
            module.training = training


def _parameters(parts: Parts) -> Restore:
    kept = [(parameter, parameter.requires_grad, parameter.grad) for parameter in parts.parameters]
    for parameter, requires_grad, _ in kept:
        if requires_grad:
            parameter.requires_grad_(False)

    def restore() -> None:
        for parameter, requires_grad, grad in kept:
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad

    return restore


def _buffers(parts: Parts) -> Restore:
    with torch.no_grad():
        kept = [(module, name, buffer, buffer.clone(), _changes(buffer)) for module, name, buffer in parts.buffers]

    def restore() -> None:
        for module, name, buffer, value, changes in kept:
            if module._buffers.get(name) is not buffer:
                module._buffers[name] = buffer
            if _changes(buffer) != changes:
                with torch.no_grad():
                    buffer.copy_(value)

    return restore


def _changes(tensor: torch.Tensor) -> int:
    """How often the tensor was written to; tensors made in inference mode do not count, and cannot be written here."""
    return 0 if tensor.is_inference() else tensor._version
