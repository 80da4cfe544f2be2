"""Which model and image a record is about, so that an auditor can compare it with a weights file and a photograph."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from pytest_gradcam.evidence.current_test import current, started
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.inputs.reader import Input
from pytest_gradcam.state.attributes import same
from pytest_gradcam.state.forward_only import ForwardOnly
from pytest_gradcam.state.parts import Parts, parts_of
from pytest_gradcam.state.tensors import writes_of

_Subject = TypeVar("_Subject", bound=Subject)
_OF_THE_MODEL = ("model", "model_class", "parameter_count", "weights", "device")


def describe(model: nn.Module) -> str:
    """The model in one phrase."""
    return _phrase(model, parts_of(model).count)


def weights_digest(model: nn.Module) -> str:
    """A SHA-256 over the names and digests of all parameters and buffers, in order of name; empty if one has no bytes.

    Of a model that is known by its scores alone it is the digest of its file, and empty where there is none.
    A tensor's own digest is a SHA-256 over its dtype, shape and bytes. Every call reads all of them.
    """
    return _digest(model, parts_of(model))


class Identity:
    """Describes one model for records. Digests are taken only inside a test, where a record may keep them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._read: _Read | None = None
        self._held: list[Parts] = []  # so that they need not be looked up again

    def model(self, parts: Parts | None = None) -> Subject:
        """The model's half of a subject; `parts` saves collecting its tensors again.

        The weights are digested once per test, and again if PyTorch's version counters or their addresses changed. A
        write that PyTorch does not count (through `.data` or NumPy) is noticed in the next test.
        """
        parts = self._own(parts)
        return self._subject(parts, self._weights(parts) if current() is not None else "")

    def read(self, parts: Parts | None = None) -> tuple[str, Subject]:
        """The digest of the weights as they are now, always taken anew, and the model's half of a subject with it."""
        parts = self._own(parts)
        self._read = _Read(self._model, parts)
        return self._read.digest, self._subject(parts, self._read.digest if current() is not None else "")

    def _own(self, parts: Parts | None) -> Parts:
        """These parts, unless they are those of a module around the model."""
        own = parts if parts is not None and parts.modules[0] is self._model else parts_of(self._model)
        self._held = [own, parts or own]
        return own

    def _subject(self, parts: Parts, weights: str) -> Subject:
        kind = type(self._model.function if isinstance(self._model, ForwardOnly) else self._model)
        return Subject(
            model=_phrase(self._model, parts.count),
            model_class=f"{kind.__module__}.{kind.__qualname__}",
            parameter_count=parts.count,
            weights=weights,
            device=_device(self._model),
        )

    def _weights(self, parts: Parts) -> str:
        if self._read is None or self._read.outdated(parts):
            self._read = _Read(self._model, parts)
        return self._read.digest


class _Read:
    """The digest of the weights, and what tells whether they may have changed since."""

    def __init__(self, model: nn.Module, parts: Parts) -> None:
        self.digest = _digest(model, parts)
        self._start = started()
        self._tensors = _tensors(parts)
        # Holding the memory keeps other tensors from getting the same address.
        self._memory = [tensor.detach() for tensor in self._tensors]
        self._counters = _counters(self._tensors) if self.digest else None

    def outdated(self, parts: Parts) -> bool:
        tensors = _tensors(parts)
        return (
            self._start is not started()
            or self._counters is None
            or not same(tensors, self._tensors)
            or _counters(tensors) != self._counters
        )


def about(subject: _Subject, model: Subject, image: Input | None) -> _Subject:
    """The subject completed with the fields of `Identity.model` and, if it is about one, the image."""
    subject = replace(subject, **{name: getattr(model, name) for name in _OF_THE_MODEL})
    if image is None:
        return subject
    return replace(subject, image=image.name, image_digest=image.identify() if current() is not None else "")


def _tensors(parts: Parts) -> list[Tensor]:
    return [*parts.parameters, *(buffer for _, _, buffer in parts.buffers)]


def _digest(model: nn.Module, parts: Parts) -> str:
    return model.digest if isinstance(model, ForwardOnly) else parts.weights.now()


def _counters(tensors: list[Tensor]) -> list[int | None] | None:
    """The addresses and version counters of tensors that have bytes; None if PyTorch lacks these for one of them."""
    counts = writes_of(tensors)
    try:
        return None if None in counts else [*map(Tensor.data_ptr, tensors), *counts]
    except (RuntimeError, NotImplementedError):  # without bytes by now
        return None


def _phrase(model: nn.Module, count: int) -> str:
    if isinstance(model, ForwardOnly):
        return f"{model.name} (known by its scores alone)"
    return f"{type(model).__name__} ({count / 1e6:.3g} M parameters)"


def _device(model: nn.Module) -> str:
    """The model's device, with the GPU's name."""
    for parameter in model.parameters():
        if parameter.device.type == "cuda":
            return f"{parameter.device} {torch.cuda.get_device_name(parameter.device)}"
        return str(parameter.device)
    return ""
