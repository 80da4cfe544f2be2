"""A model, and the global random states, are given back exactly as they were found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError, raised
from pytest_gradcam.state.attributes import TABLES, entries, same
from pytest_gradcam.state.parts import Parts, is_lazy, parts_of
from pytest_gradcam.state.pooling import pool_in_channels_last
from pytest_gradcam.state.surroundings import keep_random_states, run_eagerly, take_gradients
from pytest_gradcam.state.tensors import checksum, unreadable, writes_of
from pytest_gradcam.state.undo import later, undoing
from pytest_gradcam.state.values import Groups, Values

_SIZE = "check the size and the channels that the preprocess gives"
_NAMED = "name its inputs (image_input= and inputs= of an Explainer), or wrap it in a module whose forward takes the batch alone"
_DEPTH = 8  # of containers in containers in an output
_INSTALLED = "_output_capturing_hooks_installed"  # by transformers, in the first forward pass: goes with the hooks
_NEEDS_GRADIENT, _GRADIENT = attrgetter("requires_grad"), attrgetter("grad")


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
    later(partial(torch.set_default_dtype, torch.get_default_dtype()))
    take_gradients()  # undone last: until then nothing depends on the caller's modes
    keep_random_states()
    for keep in (_keep_tables, _keep_values, _keep_parameters, _keep_flags):
        keep(parts)
    later(partial(setattr, parts, "guarded", parts.guarded))
    parts.guarded = True
    for module in parts.modules:
        # Not model.eval(): a user's override of train() may do more than set flags.
        if module.training:
            module.training = False
    for parameter in parts.parameters:
        if parameter.requires_grad:
            parameter.requires_grad_(False)
    run_eagerly()
    pool_in_channels_last()
    return parts


def first_forward(model: nn.Module, inputs: torch.Tensor) -> Any:
    """As `forward`. Raises HeatmapError as well for a model that changes its parameters where PyTorch does not count it."""
    parts = parts_of(model)
    memories = [parameter.detach() for parameter in parts.parameters]  # another memory is put back
    before = list(map(checksum, memories))
    output = forward(model, inputs)
    for parameter, memory, found in zip(parts.parameters, memories, before, strict=True):
        if checksum(memory) != found:
            raise HeatmapError(_written(parts, parameter))
    return output


def forward(model: nn.Module, inputs: torch.Tensor) -> Any:
    """The model's output. Raises HeatmapError, naming the input's shape, for an input that it cannot take."""
    try:
        output = model(inputs)
    except (HeatmapError, MemoryError, torch.OutOfMemoryError):
        raise  # the last two say themselves what to do; a smaller batch_size helps
    except RuntimeError as error:
        raise HeatmapError(
            f"the model cannot take an input of shape {tuple(inputs.shape)} and type {inputs.dtype} "
            f"({str(error).splitlines()[0]}); {_way_out(model, _SIZE)}"
        ) from error
    except Exception as error:
        raise HeatmapError(
            f"the model {raised(error)} for an input of shape {tuple(inputs.shape)} and type {inputs.dtype}; expected one "
            f"that is called with a batch (N, C, H, W) alone; {_way_out(model, _NAMED)}"
        ) from error
    require_plain(output)
    return output


def require_plain(output: Any, depth: int = _DEPTH) -> None:
    """Raises HeatmapError for an output with tensors whose numbers cannot be read: sparse, nested, quantised and the like."""
    if isinstance(output, Tensor):
        if problem := unreadable(output, "plain tensors"):
            raise HeatmapError(f"the model returns {problem}, in the model or in a module around it")
    elif isinstance(output, (Mapping, tuple, list)):
        if not depth:
            raise HeatmapError(
                f"the model returns containers in containers, more than {_DEPTH} deep; expected tensors, or one container"
            )
        for part in output.values() if isinstance(output, Mapping) else output:
            require_plain(part, depth - 1)


def _way_out(model: nn.Module, usual: str) -> str:
    if any(isinstance(module, nn.Conv3d) for module in model.modules()):
        return (
            "it looks at videos or volumes (it has a Conv3d), which are not supported: pass a model of single images, or wrap "
            "this one in a module whose forward makes them of a batch (N, C, H, W)"
        )
    return usual


def _check_initialised(parts: Parts) -> None:
    if parts.lazy:
        named = chain(parts.modules[0].named_parameters(), parts.modules[0].named_buffers())
        name = next(name for name, tensor in named if is_lazy(tensor))
        raise HeatmapError(
            f"{name} has no values yet, so the model computes nothing; expected a model whose lazy modules have their "
            "weights. Load a state dict, or run the model once on an input of the right size"
        )


def _keep_flags(parts: Parts) -> None:
    kept = [(module, module.training) for module in parts.modules]

    def restore() -> None:
        for module, training in kept:
            if module.training != training:
                module.training = training

    later(restore)


def _keep_parameters(parts: Parts) -> None:
    memories = [each.detach() for each in parts.parameters]
    need, gradients = list(map(_NEEDS_GRADIENT, parts.parameters)), list(map(_GRADIENT, parts.parameters))
    addresses, counts = _addresses(parts.parameters), writes_of(parts.parameters)

    def restore() -> None:
        if (places := _addresses(parts.parameters)) != addresses:
            for parameter, memory, now, before in zip(parts.parameters, memories, places, addresses, strict=True):
                if now != before:
                    parameter.data = memory
        if list(map(_NEEDS_GRADIENT, parts.parameters)) != need:
            for parameter, needed in zip(parts.parameters, need, strict=True):
                parameter.requires_grad_(needed)
        if not all(map(is_, map(_GRADIENT, parts.parameters), gradients)):
            for parameter, gradient in zip(parts.parameters, gradients, strict=True):
                parameter.grad = gradient
        if (later_counts := writes_of(parts.parameters)) != counts:
            each = zip(parts.parameters, later_counts, counts, strict=True)
            raise HeatmapError(_written(parts, next(parameter for parameter, now, before in each if now != before)))

    later(restore)


def _written(parts: Parts, parameter: nn.Parameter) -> str:
    names = (name for name, each in parts.modules[0].named_parameters() if each is parameter)
    return (
        f"the model writes to its parameter {next(names, 'of a removed module')} in a forward pass, so that it is not the "
        "same model afterwards; expected weights that stay in eval mode. Compute them into a new tensor"
    )


def _keep_values(parts: Parts) -> None:
    """The values of the buffers, and of tensors that the user's own modules hold as plain attributes, lists and dicts."""
    attributes = parts.attributes()
    plain, collections = attributes.tensors, list(_with_tensors(attributes.collections))
    later(Values(parts.buffer_groups).restore)
    held_tensors = [value for _, _, value in plain] + [each for _, kept in collections for each in kept.values()]
    if tensors := [each for each in held_tensors if isinstance(each, Tensor)]:
        later(Values(Groups(tensors)).restore)

    def restore() -> None:
        for held, name, value in plain:
            if held.get(name) is not value:
                held[name] = value
        for collection, kept in collections:
            if isinstance(collection, dict):
                _put_back(collection, kept)
            elif not same(collection, list(kept.values())):
                collection[:] = kept.values()

    later(restore)


def _with_tensors(collections: Iterable[Any]) -> Iterator[tuple[Any, dict[Any, Any]]]:
    """The lists and dicts that hold tensors, or nothing yet, with what is in them."""
    for each in collections:
        kept = dict(each) if isinstance(each, dict) else dict(enumerate(each))
        if all(isinstance(value, Tensor) for value in kept.values()):
            yield each, kept


def _keep_tables(parts: Parts) -> None:
    """Which parameters, buffers, modules and hooks there are, and under which names."""
    attributes = parts.attributes()
    hooks = attributes.hooks
    hooked = [(table, dict(table)) for table in filter(None, hooks)]
    installed = [(held, held.get(_INSTALLED)) for held in parts.holders_of_own_code]
    not_saved = list(map(set, attributes.not_saved))

    def restore() -> None:
        found = {id(table): kept for table, kept in hooked}
        for table in filter(None, hooks):
            _put_back(table, found.get(id(table), {}))
        for table, kept in hooked:
            _put_back(table, kept)
        for held, flag in installed:
            if held.get(_INSTALLED) is not flag:
                held[_INSTALLED] = flag
        if parts.hold_the_same():
            return
        for held in parts.holders:  # a plain attribute would hide what is put back
            for name in chain.from_iterable(held.get(part) or () for part in TABLES):
                held.pop(name, None)
        for table, kept in parts.contents:
            _put_back(table, kept)
        for names, before in zip(attributes.not_saved, not_saved, strict=True):
            names.update(before)
            names.intersection_update(before)

    later(restore)


def _put_back(table: dict[Any, Any], before: dict[Any, Any]) -> None:
    if not same(entries([table]), entries([before])):
        table.update(before)
        for name in [name for name in table if name not in before]:
            del table[name]
        for name in before:  # in their order
            table[name] = table.pop(name)


def _addresses(tensors: Sequence[Tensor]) -> list[int]:
    try:
        return [tensor.data_ptr() for tensor in tensors]
    except (RuntimeError, NotImplementedError):  # sparse tensors and the like have no memory of their own
        return [_addresses([tensor])[0] for tensor in tensors] if len(tensors) > 1 else [0]
