"""Which model and which image a record is about: what an auditor can compare with a weights file and a photograph."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import chain
from typing import TypeVar

import torch
from torch import nn

from pytest_gradcam.cam.fingerprint import Fingerprint
from pytest_gradcam.cam.guard import Parts, parts_of
from pytest_gradcam.cam.inputs import Input
from pytest_gradcam.cam.tensors import remembered_digest
from pytest_gradcam.evidence.current_test import current
from pytest_gradcam.evidence.record import Subject

_Subject = TypeVar("_Subject", bound=Subject)
_OF_THE_MODEL = ("model", "model_class", "parameter_count", "weights", "device")


def describe(model: nn.Module) -> str:
    """The model in one phrase."""
    return _phrase(model, parts_of(model).count)


def weights_digest(model: nn.Module) -> str:
    """A SHA-256 over name and digest of every parameter and buffer, by name; empty if one has no bytes of its own.

    A tensor's own digest is a SHA-256 over its type, its shape and its bytes.
    """
    tensors = chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    found = sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest = remembered_digest(tensor)
        if digest is None:
            return ""
        found.update(f"{name} {digest}\n".encode())
    return found.hexdigest()


class Identity:
    """What is said of one model at any moment. Digests are taken in a test only, where a record may keep them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known: tuple[Fingerprint, bool, Subject] | None = None

    def model(self, print_: Fingerprint | None, parts: Parts | None = None) -> Subject:
        """The model. While the print is the object that it was at the last call, nothing is looked at again.

        `parts` are the model's, where the caller has them.
        """
        kept = current() is not None
        if self._known and self._known[0] is print_ and self._known[1] == kept:
            return self._known[2]
        kind, count = type(self._model), (parts or parts_of(self._model)).count
        subject = Subject(
            model=_phrase(self._model, count),
            model_class=f"{kind.__module__}.{kind.__qualname__}",
            parameter_count=count,
            weights=weights_digest(self._model) if kept else "",
            device=_device(self._model),
        )
        self._known = (print_, kept, subject) if print_ else None
        return subject


def about(subject: _Subject, model: Subject, image: Input | None) -> _Subject:
    """The subject with what `Identity.model` said of the model, and with the image if it is about one."""
    subject = replace(subject, **{name: getattr(model, name) for name in _OF_THE_MODEL})
    if image is None:
        return subject
    return replace(subject, image=image.name, image_digest=image.identify() if current() is not None else "")


def _phrase(model: nn.Module, count: int) -> str:
    return f"{type(model).__name__} ({count / 1e6:.3g} M parameters)"


def _device(model: nn.Module) -> str:
    """Where the model computes, and on which kind of GPU."""
    for parameter in model.parameters():
        if parameter.device.type == "cuda":
            return f"{parameter.device} {torch.cuda.get_device_name(parameter.device)}"
        return str(parameter.device)
    return ""
