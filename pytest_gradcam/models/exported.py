"""Programs of torch.export (.pt2): scores without gradients, since their graph has no layers that could be watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.models.compiled import ACTIVATIONS, in_chunks, require_shape
from pytest_gradcam.models.kinds import Wanted, require_file
from pytest_gradcam.state.forward_only import ForwardOnly

WEIGHTS = "file"


def look_up(name: str) -> None:
    """Raises SettingsError where there is no such file."""
    require_file(name, "export:")


def build(name: str, wanted: Wanted) -> nn.Module:
    """The network of a .pt2 file. Raises SettingsError for a file that is not one image classifier's."""
    path = require_file(name, "export:")
    try:
        ZipFile(path).close()  # torch logs a guess of its own about what is none
        program = torch.export.load(str(path))
    except Exception as error:  # of whatever the file holds
        reason = next(iter(str(error).splitlines()), "")
        raise SettingsError(
            f"{path} cannot be read as a program of torch.export ({type(error).__name__}: {reason:.300}); check that "
            f"the file is complete, and that torch.export.save of this version of PyTorch ({torch.__version__}) wrote it"
        ) from None
    digest = sha256(path.read_bytes()).hexdigest()
    again = partial(build, str(path.resolve()), Wanted())
    return ForwardOnly(_Run(path, program), name=f"exported program {path.name}", digest=digest, again=again)


def preprocess(name: str, wanted: Wanted) -> None:
    """None: a program does not say how its images are made."""


def classes(name: str, wanted: Wanted) -> None:
    """None: a program has no class names."""


class _Run(nn.Module):
    """One program as a callable from a batch (N, C, H, W) to its output; a module, so that its weights are given back."""

    def __init__(self, path: Path, program: Any) -> None:
        super().__init__()
        self.network = program.module()
        self._end = _without_last_activation(self.network)
        self._path = path
        inputs = [
            node.meta["val"]
            for node in program.graph.nodes
            if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
        ]
        if len(inputs) != 1 or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 4:
            found = ", ".join(
                str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in inputs
            )
            raise SettingsError(
                f"{path} takes {len(inputs)} inputs ({found}); expected one, images (N, C, H, W). Write a fixture "
                "gradcam_model that returns a callable: lambda batch: program(batch, ...), with torch.export.load(...).module()"
            )
        sizes = [size if type(size) is int else None for size in inputs[0].shape]
        self._size, self._declared, self._dtype = sizes[0], tuple(sizes[1:]), inputs[0].dtype

    def forward(self, batch: Tensor) -> Any:
        require_shape(self._declared, tuple(batch.shape[1:]), self._path.name)
        images = batch.to(self._dtype)
        whole = self._size in (None, len(batch))
        output = self.network(images) if whole else in_chunks(self._only_scores, images, self._size)["scores"]
        return output if self._end is None else self._end(output)

    def _only_scores(self, batch: Tensor) -> dict[str, Tensor]:
        scores = self.network(batch)
        if not isinstance(scores, Tensor):
            raise HeatmapError(
                f"{self._path.name} was exported for {self._size} images and returns a {type(scores).__name__}; expected one "
                "tensor of scores. Export it for a batch of any size: dynamic_shapes with torch.export.Dim for the first axis"
            )
        return {"scores": scores}


def _without_last_activation(network: Any) -> Callable[[Tensor], Tensor] | None:
    """The softmax or sigmoid that the program ends in, taken out of it; None where it ends in none.

    Computed outside of it, it is recognised, and passed by, as in any model (`cam/activations.py`).
    """
    output = next(node for node in network.graph.nodes if node.op == "output")
    returned = output.args[0]
    node = returned[0] if isinstance(returned, (tuple, list)) and len(returned) == 1 else returned
    kind = str(getattr(node, "target", "")).removeprefix("aten.").partition(".")[0].removeprefix("_")
    rank = node.meta["val"].ndim if kind in ACTIVATIONS else 0
    if rank not in (2, 4) or (kind != "sigmoid" and node.args[1] not in (1, 1 - rank)):
        return None
    output.args = ((node.args[0],),) if isinstance(returned, tuple) else ([node.args[0]],)
    network.graph.eliminate_dead_code()
    network.recompile()
    return ACTIVATIONS[kind]
