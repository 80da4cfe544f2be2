"""Where in the input each cell of a layer's grid looks: measured, where a shape alone would be a guess."""

from __future__ import annotations

from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from pytest_gradcam.cam import trace
from pytest_gradcam.cam.trace import Output, Trace
from pytest_gradcam.errors import HeatmapError

__all__ = ["refuse_second_look"]


def refuse_second_look(model: nn.Module, traced: Trace, output: Output, start: Tensor) -> None:
    """Raises HeatmapError if the output's module has been called on the input more than once, side by side.

    Calls one after the other, as of shared weights, are no second look: one is computed from the other.
    """
    if next(model.get_submodule(output.name).parameters(), None) is None:  # an activation may be shared by all branches
        return
    edge = get_gradient_edge(start)
    calls = {
        other.call
        for other in traced.outputs.values()
        if other.name == output.name
        and other.call != output.call
        and trace.leads(other.edge, edge)
        and not trace.leads(other.edge, output.edge)
        and not trace.leads(output.edge, other.edge)
    }
    if calls:
        raise HeatmapError(
            f"layer {output.name} looks at the input {len(calls) + 1} times side by side in one forward pass, as where the "
            "model averages over a flipped copy or compares two images; expected once, since a heatmap of one look leaves "
            "out the others. Explain the part of the model that looks once, or name a layer after they are joined"
        )
