"""The softmax or sigmoid that a model ends in: recognised by its result, and bypassed to get the logits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.hooks import RemovableHandle

from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.guard import forward
from pytest_gradcam.state.tensors import writes
from pytest_gradcam.state.undo import later, undoing

_Mode = TypeVar("_Mode", bound=TorchFunctionMode)
_KEPT = 8  # last calls of a forward pass: attention and gates alone may make hundreds
#: Keyed by the names of torch's functions and tensor methods; torch's modules call these too.
_KINDS = {
    "softmax": "softmax",
    "softmax_": "softmax",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "expit": "sigmoid",
    "log_softmax": "log_softmax",
    "logsigmoid": "logsigmoid",
    "log_sigmoid": "logsigmoid",
    "special_expit": "sigmoid",
    "special_softmax": "softmax",
    "special_log_softmax": "log_softmax",
}
_SORTING = ("topk", "sort")
_LINEAR = ("linear", "matmul", "__matmul__", "addmm", "conv1d", "conv2d", "conv3d")
#: Of values that have no bounds these have none either: averages, also the weighted ones of resizing, and sums.
_UNBOUNDED = ("interpolate", "adaptive_avg_pool2d", "avg_pool2d", "mean", "add", "__add__", "flatten", "squeeze")
#: A number or a parameter as the other operand, a temperature, sets no bounds either.
_SCALED = ("mul", "__mul__", "__rmul__", "div", "__truediv__")
_FIXED = (int, float, nn.Parameter)
_FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "sigmoid": torch.sigmoid,
    "log_softmax": lambda logits: logits.log_softmax(1),
    "logsigmoid": F.logsigmoid,
}
_ROUNDING = 64  # units in the last place


@dataclass(frozen=True)
class Activation:
    """The softmax or sigmoid call whose result the model returns: its index among all such `calls` of a forward pass.

    `of_linear`: its argument comes from a linear layer, so nothing limits it.
    """

    kind: str
    number: int
    calls: int
    of_linear: bool = False


@dataclass(frozen=True)
class Call:
    """One observed call and its result."""

    kind: str
    number: int
    result: Any
    writes: int | None  # an activation in place makes something else of it
    of_linear: bool


class Watched(TorchFunctionMode):
    """While active, keeps the last softmax and sigmoid calls and the last linear ones, and counts the former.

    `sorts` are how many values each sort or topk returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.sorts: set[int] = set()
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self._linear: deque[tuple[Tensor, int | None]] = deque(maxlen=_KEPT)
        self._of_activations: deque[Tensor] = deque(maxlen=_KEPT)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        kind = _KINDS.get(name)
        of_linear = kind is not None and self._made_of_linear(args)  # before it: it may write in place
        result = func(*args, **(kwargs or {}))
        if name in _SORTING and result[0].ndim:
            self.sorts.add(result[0].shape[-1])
        unbounded = name in _UNBOUNDED or (name in _SCALED and any(isinstance(each, _FIXED) for each in args))
        if name in _LINEAR or (unbounded and self._made_of_linear(args)):
            self._linear.append((result, writes(result)))
            if any(call.result is each for call in self._calls for each in args) and not self._made_of_linear(args[1:]):
                self._of_activations.append(result)
        if kind is not None:
            self._calls.append(Call(kind, self.count, result, writes(result), of_linear))
            self.count += 1
        return result

    def _made_of_linear(self, args: Any) -> bool:
        tensors = [each for each in args if isinstance(each, Tensor) and not isinstance(each, nn.Parameter)]
        return bool(tensors) and all(
            any(each is result and writes(each) == count for result, count in self._linear) for each in tensors
        )

    def returned(self, scores: Tensor) -> Activation | None:
        """The recent call that returned these scores, reshaped or not; None if there is none."""
        for call in reversed(self._calls):
            if (
                _same(call.result, scores)
                and writes(call.result) == call.writes
                and _shares_memory(call.result, scores)
            ):
                return Activation(call.kind, call.number, self.count, call.of_linear)
        return None

    def linear(self, scores: Tensor) -> bool:
        """Whether a recent linear call returned these scores, or what they are averages or sums of."""
        return any(
            _same(result, scores) and writes(result) == count and _shares_memory(result, scores)
            for result, count in self._linear
        )

    def mixes(self, scores: Tensor) -> bool:
        """Whether a recent linear call made these scores of what a softmax or sigmoid returned, as groups of classes are."""
        return any(_same(result, scores) and _shares_memory(result, scores) for result in self._of_activations)


def _shares_memory(result: Tensor, scores: Tensor) -> bool:
    """Whether the scores are the result itself, in whatever shape. A clip that changed nothing this time gives a copy, and
    would clip the logits if the activation were passed by."""
    return result.untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


def _same(result: Any, scores: Tensor) -> bool:
    """Whether a result equals these scores, whatever its shape."""
    if not isinstance(result, Tensor) or result.numel() != scores.numel():
        return False
    return torch.equal(result.detach().flatten(), scores.detach().flatten())


class PassedBy(TorchFunctionMode):
    """While active, the activation returns its input, the logits."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._activation = activation
        self._count: int | None = None

    def begin(self) -> None:
        """Call when a forward pass begins; outside of one nothing changes."""
        self._count = 0

    def end(self) -> None:
        """Call when it ends. Raises HeatmapError if it made a different number of calls than when the activation was found."""
        count, self._count = self._count, None
        if count != self._activation.calls:
            raise HeatmapError(
                f"the model called softmax and sigmoid {count} times for this input and {self._activation.calls} times before, "
                "so its final activation cannot be identified; let the model return logits"
            )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._count is not None and getattr(func, "__name__", "") in _KINDS:
            self._count += 1
            if self._count == self._activation.number + 1:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))


def inside(mode: _Mode) -> undoing[_Mode]:
    """A `with` block in which the mode intercepts calls of torch's functions."""

    def begin() -> _Mode:
        _enter(mode)
        return mode

    return undoing(begin)


def _enter(mode: TorchFunctionMode) -> None:
    def leave() -> None:
        if any(each is mode for each in _get_current_function_mode_stack()):
            mode.__exit__(None, None, None)

    later(leave)
    mode.__enter__()


def return_instead(model: nn.Module, read: Callable[[Any, int], Any], activation: Activation | None) -> None:
    """For `undoing`: the model returns `read(output, number of images)`, with the activation bypassed.

    The caller holds the guard.
    """
    mode, depth = None if activation is None else PassedBy(activation), 0

    def before(_module: nn.Module, _inputs: Any) -> None:
        nonlocal depth
        depth += 1
        if mode is not None and depth == 1:
            mode.begin()

    def after(_module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal depth
        depth -= 1
        if depth or output is None:  # a model that calls itself, or that raised an exception
            return None
        if mode is not None:
            mode.end()
        return read(output, len(inputs[0]))

    handles: list[RemovableHandle] = []
    later(lambda: _remove_all(handles))
    handles.append(model.register_forward_pre_hook(before))
    handles.append(model.register_forward_hook(after, always_call=True))
    if mode is not None:
        _enter(mode)


def _remove_all(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


def confirmed(
    model: nn.Module, inputs: Tensor, activation: Activation, scores: Tensor, read: Callable[[Any, int], Tensor]
) -> bool:
    """Whether the model returns logits once the activation is bypassed: applying it to them gives these scores again."""
    try:
        with undoing(partial(return_instead, model, read, activation)):
            logits = forward(model, inputs)
    except HeatmapError:
        return False
    if logits.shape != scores.shape:
        return False
    step = _ROUNDING * torch.finfo(scores.dtype).eps
    return torch.allclose(_FORMULAS[activation.kind](logits).detach(), scores.detach(), rtol=step, atol=step)
