"""Traces one forward pass: what each module returned, and through which outputs every gradient passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from pytest_gradcam.cam import norms
from pytest_gradcam.cam.sites import Path, tensors_in
from pytest_gradcam.state.guard import forward

#: Whether every autograd path from the score to the input passes through an edge.
CutTest = Callable[[GradientEdge], bool]


@dataclass(frozen=True)
class Output:
    """One tensor that a module returned, represented by its `edge` in the autograd graph; the tensor is not kept.

    The edge is taken when the module returns, before anything modifies the tensor in place. `order` is the number of
    module calls that had returned before; `edge` is None if no gradient was recorded; `names` are all modules that
    returned this same tensor.
    """

    name: str
    call: int
    path: Path
    shape: tuple[int, ...]
    order: int
    edge: GradientEdge | None
    module: nn.Module
    names: tuple[str, ...]


@dataclass
class Trace:
    """The result of one forward pass, its modules' outputs in order, and how often each module was called."""

    by_module: bool = False
    result: Any = None
    outputs: dict[Hashable, Output] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def length(self) -> int:
        """The number of module calls."""
        return self.calls.total()

    def dominant(self) -> set[str]:
        """The modules that contain more than half of all module calls, including the whole model, ""."""
        inside: Counter[str] = Counter()
        for name, count in self.calls.items():
            parts = name.split(".")
            for depth in range(len(parts) + 1):
                inside[".".join(parts[:depth])] += count
        return {name for name, count in inside.items() if 2 * count > self.length}

    def note(self, name: str, module: nn.Module, _inputs: Any, result: Any) -> None:
        """A forward hook, with `name` bound."""
        for path, tensor in tensors_in(result):
            if tensor.is_floating_point():
                shape, order = tuple(tensor.shape), self.length
                self._add(Output(name, self.calls[name], path, shape, order, _edge(tensor), module, (name,)))
        self.calls[name] += 1

    def _add(self, new: Output) -> None:
        """One output per tensor. If a module returns only what a submodule returned, the tensor takes the module's name.

        Not if it returns other tensors too: they may derive from this one, which a leaf at its output would miss.
        """
        key: Hashable = (new.name, new.call, new.path)
        if new.edge is not None and not self.by_module:
            key = (new.edge.node, new.edge.output_nr)
        known = self.outputs.setdefault(key, new)
        if known is new:
            return
        known = replace(known, names=(*known.names, new.name))
        if known.name.startswith(f"{new.name}.") and not new.path:
            known = replace(known, name=new.name, call=new.call, path=new.path)
        self.outputs[key] = known


def run(model: nn.Module, inputs: Tensor, *, by_module: bool = False) -> Trace:
    """The trace of one forward pass. The hooks are removed afterwards, also after an exception."""
    trace = Trace(by_module)
    handles = norms.watch(model) + [
        module.register_forward_hook(partial(trace.note, name)) for name, module in model.named_modules() if name
    ]
    try:
        trace.result = forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return trace


def _edge(tensor: Tensor) -> GradientEdge | None:
    return get_gradient_edge(tensor) if tensor.requires_grad and tensor.grad_fn is not None else None


def cut_test(score: Tensor, inputs: Tensor) -> CutTest | None:
    """The cut test between a score and a non-leaf input; None if no path leads from one to the other.

    An edge is a cut if as many paths go through it as there are in all.
    """
    if score.grad_fn is None:
        return None
    nodes = children_first(score.grad_fn)
    onwards = {inputs.grad_fn: 1}  # paths from a node to the input
    for node in nodes:
        onwards.setdefault(node, sum(onwards.get(below, 0) for below, _ in node.next_functions))
    total = onwards.get(score.grad_fn, 0)
    if not total:
        return None
    arriving = _arrivals(nodes, score)
    return lambda edge: arriving[edge.node, edge.output_nr] * onwards.get(edge.node, 0) == total


def _arrivals(nodes: list[Any], score: Tensor) -> Counter[tuple[Any, int]]:
    """How many paths from the score reach each output of each node."""
    arriving = Counter({(score.grad_fn, score.output_nr): 1})
    at_node = Counter({score.grad_fn: 1})
    for node in reversed(nodes):
        for below, output_nr in node.next_functions:
            arriving[below, output_nr] += at_node[node]
            at_node[below] += at_node[node]
    return arriving


def children_first(root: Any) -> list[Any]:
    """The nodes of the graph under `root`, children first. Graphs are too deep for recursion."""
    done: list[Any] = []
    seen = {root}
    stack: list[tuple[Any, Iterator[Any]]] = [(root, iter(root.next_functions))]
    while stack:
        node, rest = stack[-1]
        below = next((child for child, _ in rest if child is not None and child not in seen), None)
        if below is None:
            done.append(node)
            stack.pop()
        else:
            seen.add(below)
            stack.append((below, iter(below.next_functions)))
    return done


def leads(later: GradientEdge | None, earlier: GradientEdge | None) -> bool:
    """Whether the later one was computed from the earlier one, as far as autograd recorded it."""
    if later is None or earlier is None:
        return False
    return earlier.node in children_first(later.node)


def gradient(score: Tensor, output: Output) -> Tensor | None:
    """The score's gradient at an output; None if no path leads there. The graph is retained."""
    if output.edge is None:
        return None
    return torch.autograd.grad(score, output.edge, retain_graph=True, allow_unused=True)[0]


def carried(slope: Tensor, later: Output, earlier: Output) -> Tensor | None:
    """A later output's gradient propagated back to an earlier one; None if no path leads there."""
    if later.edge is None or earlier.edge is None:
        return None
    return torch.autograd.grad(later.edge, earlier.edge, slope, retain_graph=True, allow_unused=True)[0]
