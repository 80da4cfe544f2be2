"""ONNX files, run by ONNX Runtime: scores without gradients.

A softmax or sigmoid that the file ends in is computed by PyTorch instead, from the same input: there it is recognised, and
passed by, as in any model (`cam/activations.py`).
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.models.compiled import ACTIVATIONS, in_chunks, require_shape, single
from pytest_gradcam.models.kinds import Wanted, package, require_file
from pytest_gradcam.state.forward_only import ForwardOnly

WEIGHTS = "file"
_FLOATS = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}
_CHANNELS = (1, 2, 3, 4)
_KINDS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_FOLDER = "session.model_external_initializers_file_folder_path"
_ANY_SIZE = "; or, if the network takes any size and only the file says this one, change the file (onnx.tools.update_model_dims)"
_WRAP = (
    "write a fixture gradcam_model that returns a callable: lambda batch: session.run(None, {...: batch.numpy()})[0]"
)


def look_up(name: str) -> None:
    """Raises SettingsError where ONNX Runtime, or the file, is missing."""
    _packages()
    require_file(name, "onnx:")


def build(name: str, wanted: Wanted) -> nn.Module:
    """The network of an ONNX file. Raises SettingsError for a file that is not one image classifier's."""
    path = require_file(name, "onnx:")
    onnx, runtime = _packages()
    try:
        graph = onnx.load(str(path), load_external_data=False)
        digest = _digest(path, graph)
        ends, names = _last_activations(graph), [output.name for output in graph.graph.output]
        run = _Run(path, _session(runtime, graph, path, ends), names, ends)
    except SettingsError:
        raise
    except (
        Exception
    ) as error:  # protobuf's and ONNX Runtime's own, of a file that is not a model, or has operators of its own
        reason = next(iter(str(error).splitlines()), "")
        raise SettingsError(
            f"{path} cannot be read as an ONNX model ({type(error).__name__}: {reason:.300}); check that the file is complete"
        ) from None
    again = partial(build, str(path.resolve()), Wanted())
    return ForwardOnly(run, name=f"ONNX model {path.name}", digest=digest, again=again)


def preprocess(name: str, wanted: Wanted) -> None:
    """None: an ONNX file does not say how its images are made."""


def classes(name: str, wanted: Wanted) -> None:
    """None: an ONNX file has no class names."""


def _packages() -> tuple[Any, Any]:
    what = "an onnx: model"
    return package("onnx", what, "onnx"), package("onnxruntime", what, "onnx")


def _digest(path: Path, graph: Any) -> str:
    """The SHA-256 of the file; with weights in files of their own, one over all of them."""
    places = sorted(
        {entry.value for tensor in graph.graph.initializer for entry in tensor.external_data if entry.key == "location"}
    )
    digests = [sha256(each.read_bytes()).hexdigest() for each in (path, *(path.parent / place for place in places))]
    return digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode()).hexdigest()


def _last_activations(graph: Any) -> dict[str, tuple[str, str]]:
    """The softmax or sigmoid over the classes, and its input, by the name of the output (N, classes, ...) that it gives."""
    # Until version 13 a softmax is one over all that follows its axis.
    flattens = any(each.domain in ("", "ai.onnx") and each.version < 13 for each in graph.opset_import)
    makers = {output: node for node in graph.graph.node for output in node.output}
    names = {output.name for output in graph.graph.output}
    found = {}
    for output in graph.graph.output:
        node = makers.get(output.name)
        while node is not None and node.op_type == "Identity":
            node = makers.get(node.input[0])
        rank = len(output.type.tensor_type.shape.dim)
        if node is None or node.op_type not in _KINDS or rank not in (2, 4):
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1 if flattens else -1)
        over_classes = axis in (1, 1 - rank) and (rank == 2 or not flattens)
        if (node.op_type == "Sigmoid" or over_classes) and node.input[0] not in names:
            found[output.name] = (_KINDS[node.op_type], node.input[0])
    return found


def _session(runtime: Any, graph: Any, path: Path, ends: dict[str, tuple[str, str]]) -> Any:
    """A session on the CPU whose outputs are those of the file, with logits in place of what `ends` names."""
    for output in graph.graph.output:
        if output.name in ends:
            logits = ends[output.name][1]
            output.Clear()  # of its type as well, which ONNX Runtime finds out by itself
            output.name = logits
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # by itself it takes all, whatever OMP_NUM_THREADS says
    options.log_severity_level = 3
    if any(tensor.external_data for tensor in graph.graph.initializer):
        options.add_session_config_entry(_FOLDER, str(path.parent.resolve()))
    return runtime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Run:
    """One session as a callable from a batch (N, C, H, W) to scores."""

    def __init__(self, path: Path, session: Any, names: list[str], ends: dict[str, tuple[str, str]]) -> None:
        self._path, self._session, self._names, self._ends = path, session, names, ends
        inputs = session.get_inputs()
        if len(inputs) != 1:
            listed = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise SettingsError(f"{path} takes {len(inputs)} inputs ({listed}); expected one, the images. {_WRAP}")
        self._input = inputs[0]
        shape = [size if isinstance(size, int) and size > 0 else None for size in self._input.shape]
        if self._input.type not in _FLOATS or len(shape) != 4:
            raise SettingsError(
                f"{path} takes {self._input.type} of shape {self._input.shape}; expected floats (N, C, H, W). {_WRAP}"
            )
        self._last = shape[3] in _CHANNELS and shape[1] not in _CHANNELS
        self._declared = (shape[3], shape[1], shape[2]) if self._last else tuple(shape[1:])
        self._size = shape[0]

    def __call__(self, batch: Tensor) -> Any:
        require_shape(self._declared, tuple(batch.shape[1:]), self._path.name, otherwise=_ANY_SIZE)
        return single(in_chunks(self._run, batch.cpu().to(_FLOATS[self._input.type]), self._size))

    def _run(self, batch: Tensor) -> dict[str, Tensor]:
        images = batch.permute(0, 2, 3, 1) if self._last else batch
        found = self._session.run(None, {self._input.name: np.ascontiguousarray(images.numpy())})
        return {name: self._output(name, value) for name, value in zip(self._names, found, strict=True)}

    def _output(self, name: str, value: Any) -> Tensor:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise HeatmapError(
                f"the output {name!r} of {self._path.name} is a {type(value).__name__}; expected an array of scores. {_WRAP}"
            )
        scores = torch.from_numpy(value)
        if name not in self._ends:
            return scores
        return ACTIVATIONS[self._ends[name][0]](scores)
