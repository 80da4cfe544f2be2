"""A model, and the global random states, are given back exactly as they were found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from pytest_gradcam.errors import HeatmapError, raised
from pytest_gradcam.state.surroundings import keep_random_states, run_eagerly, take_gradients
from pytest_gradcam.state.undo import later, undoing
from pytest_gradcam.state.values import Values

_COUNTER = "_version"  # where PyTorch counts the writes into a tensor
_PARTS = ("_parameters", "_buffers", "_modules")
_NOT_SAVED = "_non_persistent_buffers_set"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def untouched(model: nn.Module) -> undoing[Parts]:
    """A `with` block: inside, the model is in eval mode, its parameters are frozen and gradients can be taken.

    Gives the model's parts. Afterwards, also after an exception or an interrupt, its training flags, requires_grad flags,
    grads, buffers and hooks and the global random states are what they were. Other threads wait for their turn.
    Raises HeatmapError for a model whose lazy modules have no weights yet, and for one that changes its parameters.
    """
    return undoing(partial(_begin, model))


def _begin(model: nn.Module) -> Parts:
    parts = parts_of(model)
    _check_initialised(parts)
    take_gradients()  # undone last: until then nothing depends on the caller's modes
    keep_random_states()
    for keep in (_keep_tables, _keep_values, _keep_parameters, _keep_flags):
        keep(parts)
    for module in parts.modules:
        # Not model.eval(): a user's override of train() may do more than set flags.
        if module.training:
            module.training = False
    for parameter in parts.parameters:
        if parameter.requires_grad:
            parameter.requires_grad_(False)
    run_eagerly()
    return parts


def forward(model: nn.Module, inputs: torch.Tensor) -> Any:
    """The model's output. Raises HeatmapError, naming the input's shape, for an input that it cannot take."""
    try:
        return model(inputs)
    except (HeatmapError, MemoryError, torch.OutOfMemoryError):
        raise  # the last two say themselves what to do; a smaller batch_size helps
    except RuntimeError as error:
        raise HeatmapError(
            f"the model cannot take an input of shape {tuple(inputs.shape)} and type {inputs.dtype} "
            f"({str(error).splitlines()[0]}); check the size and the channels that the preprocess gives"
        ) from error
    except Exception as error:
        raise HeatmapError(
            f"the model {raised(error)} for an input of shape {tuple(inputs.shape)} and type {inputs.dtype}; expected one "
            "that is called with a batch (N, C, H, W) alone; wrap it in a module whose forward does that"
        ) from error


@dataclass(frozen=True)
class Parts:
    """What a model is made of: its modules and parameters, each once, and its buffers with their modules and names."""

    modules: list[nn.Module]
    parameters: list[nn.Parameter]
    buffers: list[tuple[nn.Module, str, torch.Tensor]]

    @cached_property
    def count(self) -> int:
        """The number of values of the parameters; those of lazy modules that have none yet do not count."""
        return sum(parameter.numel() for parameter in self.parameters if not _is_lazy(parameter))


def parts_of(model: nn.Module) -> Parts:
    """The parts of a model and of all modules in it."""
    modules = list(model.modules())
    parameters = dict.fromkeys(each for module in modules for _, each in _own(module, "_parameters"))
    parameters.pop(None, None)
    buffers = [
        (module, name, each) for module in modules for name, each in _own(module, "_buffers") if each is not None
    ]
    return Parts(modules, list(parameters), buffers)


def _own(module: nn.Module, table: str) -> Iterable[tuple[str, Any]]:
    """What the module itself holds; read from its tables, since `named_parameters` takes ten times as long."""
    found = vars(module).get(table)
    if isinstance(found, dict):
        return found.items()
    if table == "_parameters":
        return module.named_parameters(recurse=False)
    return module.named_buffers(recurse=False, remove_duplicate=False)


def _check_initialised(parts: Parts) -> None:
    if any(map(_is_lazy, chain(parts.parameters, (buffer for _, _, buffer in parts.buffers)))):
        named = chain(parts.modules[0].named_parameters(), parts.modules[0].named_buffers())
        name = next(name for name, tensor in named if _is_lazy(tensor))
        raise HeatmapError(
            f"{name} has no values yet, so the model computes nothing; expected a model whose lazy modules have their "
            "weights. Load a state dict, or run the model once on an input of the right size"
        )


def _is_lazy(tensor: Tensor) -> bool:
    return type(tensor) in (UninitializedParameter, UninitializedBuffer)


def _keep_flags(parts: Parts) -> None:
    kept = [(module, module.training) for module in parts.modules]

    def restore() -> None:
        for module, training in kept:
            if module.training != training:
                module.training = training

    later(restore)


def _keep_parameters(parts: Parts) -> None:
    kept = [(each, each.requires_grad, each.grad, each.detach(), _writes(each)) for each in parts.parameters]

    def restore() -> None:
        written = []
        for parameter, requires_grad, grad, memory, writes in kept:
            if _address(parameter) != _address(memory):
                parameter.data = memory
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)
            if parameter.grad is not grad:
                parameter.grad = grad
            if _writes(parameter) != writes:
                written.append(parameter)
        if written:
            raise HeatmapError(_written(parts, written[0]))

    later(restore)


def _written(parts: Parts, parameter: nn.Parameter) -> str:
    names = (name for name, each in parts.modules[0].named_parameters() if each is parameter)
    return (
        f"the model writes to its parameter {next(names, 'of a removed module')} in a forward pass, so that it is not the "
        "same model afterwards; expected weights that stay in eval mode. Compute them into a new tensor"
    )


def _keep_values(parts: Parts) -> None:
    """The values of the buffers, and of tensors that the user's own modules hold as plain attributes."""
    plain = [
        (held, name, tensor)
        for module in parts.modules
        if not type(module).__module__.startswith("torch.nn.")
        for held in [vars(module)]
        for name, tensor in held.items()
        if isinstance(tensor, Tensor)
    ]
    later(Values([*(buffer for _, _, buffer in parts.buffers), *(tensor for _, _, tensor in plain)]).restore)

    def restore() -> None:
        for held, name, tensor in plain:
            if held.get(name) is not tensor:
                held[name] = tensor

    later(restore)


def _keep_tables(parts: Parts) -> None:
    """Which parameters, buffers, modules and hooks there are, and under which names."""
    holders = [vars(module) for module in parts.modules]
    tables = [table for held in holders for name in _PARTS if isinstance(table := held.get(name), dict)]
    hooks = [table for held in holders for name in _HOOKS if isinstance(table := held.get(name), dict)]
    kept = [(table, dict(table)) for table in tables]
    persistence = [(names, set(names)) for held in holders if isinstance(names := held.get(_NOT_SAVED), set)]
    entries = list(_entries(tables))
    hooked = {id(table): dict(table) for table in hooks if table}

    def restore() -> None:
        for table in hooks:
            _put_back(table, hooked.get(id(table), {}))
        if _same(entries, list(_entries(tables))):
            return
        for held in holders:  # a plain attribute would hide what is put back
            for name in chain.from_iterable(held.get(part) or () for part in _PARTS):
                held.pop(name, None)
        for table, before in kept:
            _put_back(table, before)
        for names, non_persistent in persistence:
            names.update(non_persistent)
            names.intersection_update(non_persistent)

    later(restore)


def _entries(tables: list[dict[str, Any]]) -> Iterator[Any]:
    """Names and values, in order."""
    return chain(chain.from_iterable(tables), chain.from_iterable(table.values() for table in tables))


def _same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))


def _put_back(table: dict[Any, Any], before: dict[Any, Any]) -> None:
    if (table or before) and not _same(list(_entries([table])), list(_entries([before]))):
        table.update(before)
        for name in [name for name in table if name not in before]:
            del table[name]
        for name in before:  # in their order
            table[name] = table.pop(name)


def _address(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse tensors and the like have no memory of their own
        return 0


def _writes(tensor: Tensor) -> object:
    """How often the tensor was written to; tensors made in inference mode do not count, and cannot be written here."""
    return 0 if tensor.is_inference() else getattr(tensor, _COUNTER, 0)
