"""All that decides what a model computes, as one digest: weights, structure, attributes, hooks and code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from operator import is_

from torch import nn
from torch.nn.modules import module as global_hooks

from pytest_gradcam.cam.encoding import Encoder, OpaqueError
from pytest_gradcam.cam.tensors import Watched

_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


@dataclass(frozen=True)
class Fingerprint:
    """`digest` is equal only for models that compute the same; `portable` says that other processes may rely on it."""

    digest: str
    portable: bool


class Fingerprints:
    """The fingerprint of one model at any moment; while nothing changes, for the price of a look at it."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen: _Seen | None = None
        self._held: Fingerprint | None = None

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Inside, the model is as it is now: for the calls of one check, between which nobody changes it."""
        self._held = self.current()
        try:
            yield
        finally:
            self._held = None

    def current(self) -> Fingerprint | None:
        """None if the model holds something whose behaviour cannot be read, such as a lock, or hooks on all modules."""
        return self._held or self._look()

    def _look(self) -> Fingerprint | None:
        if any(getattr(global_hooks, name, None) for name in _GLOBAL_HOOKS):
            return None
        if self._seen is None or self._seen.changed():
            self._seen = _Seen(self._model)
        return self._seen.fingerprint


class _Seen:
    """A model as it was read, and whether it has changed since."""

    def __init__(self, model: nn.Module) -> None:
        self._encoder = Encoder()
        self.fingerprint = _fingerprint(model, self._encoder)
        self._objects = self._now()
        self._tensors = Watched(self._encoder.tensors)
        self._arrays = [array.tobytes() for array in self._encoder.arrays]

    def changed(self) -> bool:
        """Always, if the model could not be read."""
        now = self._now()
        return (
            self.fingerprint is None
            or any(self._encoder.empty)
            or len(now) != len(self._objects)
            or not all(map(is_, now, self._objects))
            or self._tensors.changed()
            or [array.tobytes() for array in self._encoder.arrays] != self._arrays
        )

    def _now(self) -> list[object]:
        return list(chain.from_iterable(self._encoder.views))


def _fingerprint(model: nn.Module, encoder: Encoder) -> Fingerprint | None:
    try:
        encoder.add(model)
    except (OpaqueError, RecursionError):
        return None
    return Fingerprint(encoder.hexdigest(), encoder.portable)
