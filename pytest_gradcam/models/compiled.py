"""What compiled models have in common: a fixed input size, batches of a fixed size, and an activation at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pytest_gradcam.errors import HeatmapError

#: What a file may end in: it is computed by PyTorch, where it is recognised.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "log_softmax": lambda logits: logits.log_softmax(1),
    "sigmoid": torch.sigmoid,
}


def require_shape(declared: tuple[int | None, ...], shape: tuple[int, ...], what: str, *, otherwise: str = "") -> None:
    """Raises HeatmapError for an input (C, H, W) that is not of the declared shape; None stands for any size.

    `otherwise` ends the message where the size is another: what else can be done.
    """
    if any(own is not None and own != given for own, given in zip(declared, shape, strict=True)):
        wanted = " x ".join("any" if own is None else str(own) for own in declared)
        found = f"{what} takes an input of {wanted} (C x H x W), and the preprocess gives {' x '.join(map(str, shape))}"
        if declared[0] not in (None, shape[0]):
            colours = {1: ", such as convert('L')", 3: ", such as convert('RGB')"}.get(declared[0] or 0, "")
            raise HeatmapError(f"{found}; give it {declared[0]} channels in the preprocess{colours}")
        raise HeatmapError(f"{found}; resize, or crop, to that in the preprocess{otherwise}")


def in_chunks(run: Callable[[Tensor], dict[str, Tensor]], batch: Tensor, size: int | None) -> dict[str, Tensor]:
    """The outputs for a batch (N, ...) of a model that takes `size` images at a time; the last chunk repeats an image."""
    if size is None or size == len(batch):
        return run(batch)
    found = []
    for chunk in batch.split(size):
        missing = size - len(chunk)
        whole = torch.cat([chunk, chunk[-1:].expand(missing, *chunk.shape[1:])]) if missing else chunk
        outputs = run(whole)
        for name, value in outputs.items():
            if not value.ndim or len(value) != size:
                raise HeatmapError(
                    f"the model takes {size} images at a time and returns {name!r} of shape {tuple(value.shape)}, whose first "
                    "axis is not these images; export it for a batch of any size"
                )
        found.append({name: value[: len(chunk)] for name, value in outputs.items()})
    return {name: torch.cat([outputs[name] for outputs in found]) for name in found[0]}


def single(outputs: dict[str, Tensor]) -> Any:
    """The one output, or all of them by their names: then gradcam_output_key picks one."""
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
