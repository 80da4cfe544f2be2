"""A model and what is asked about it as bytes, for another process that makes the same heatmaps."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, cast

import torch

from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.checks.gate import Gatekeeper
from pytest_gradcam.errors import HeatmapError, said
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.state.wrappers import unwrap


def packed(model: ExplainedModel, pickler: Any) -> bytes:
    """The model, its preprocess and classes, and the policy of the running test; `pickler` is a module such as cloudpickle.

    Raises HeatmapError that names the part which cannot be serialised.
    """
    network, interface, layer, method = _engine(model).parts
    parts = {
        "model": unwrap(network),
        "preprocess": interface.preprocess,
        "classes": interface.classes,
        "target of the test": model.policy.target,
    }
    content = (parts["model"], interface, layer, method, model.policy)
    try:
        return _device(_engine(model)).encode() + b"\n" + _bytes(content, pickler)
    except Exception as error:  # of any object of the user's
        what = next(_unsendable(parts, pickler), "explainer")
        raise HeatmapError(
            f"the {what} cannot be sent to another process: {said(error)}; expected what cloudpickle "
            "serialises. Build what it holds (files, sessions, locks) when it is first called, or use engine='local'"
        ) from None


def unpacked(content: bytes, threads: int) -> ExplainedModel:
    """The model of `packed`, on the first device of its kind that this process sees. It computes in so many threads.

    With another number of threads sums may be rounded otherwise. Raises HeatmapError for what this process cannot build.
    """
    torch.set_num_threads(threads)
    device, _, packed = content.partition(b"\n")
    try:
        *parts, policy = torch.load(BytesIO(packed), map_location=device.decode(), weights_only=False)
    except Exception as error:  # of any object of the user's
        raise HeatmapError(
            f"a worker cannot build the model: {said(error)}; expected the packages, modules and files "
            "that it is made from on every machine"
        ) from None
    engine = Engine(*parts)
    return ExplainedModel(engine, lambda: policy, Gatekeeper(engine) if policy.gate else None)


def needs(model: ExplainedModel) -> tuple[int, bool]:
    """How many threads the model is computed in, and whether on CUDA."""
    return torch.get_num_threads(), _device(_engine(model)) == "cuda"


def _bytes(content: tuple[Any, ...], pickler: Any) -> bytes:
    stream = BytesIO()
    torch.save(content, stream, pickle_module=pickler)
    return stream.getvalue()


def _unsendable(parts: dict[str, Any], pickler: Any) -> Iterator[str]:
    for name, part in parts.items():
        try:
            _bytes((part,), pickler)
        except Exception:
            yield name


def _engine(model: ExplainedModel) -> Engine:
    return cast(Engine, model.engine)


def _device(engine: Engine) -> str:
    return next((parameter.device.type for parameter in engine.network.parameters()), "cpu")
