"""What the checks on heatmaps know of a heatmap, and of a mask where the model saw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.evidence.record import Subject

Mask = Any  # whatever masks.as_mask reads: an array, a PIL image, a path
Bools = NDArray[np.bool_]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class MaskInView:
    """A mask where the model saw it: `pixels` (H, W) in the view; `seen` says what part of the image the view shows."""

    pixels: Bools
    seen: str = ""


class MapOnView(Protocol):
    """A grid (h, w), the same resized to the size (H, W) of the view, the view (H, W, 3), and what it explains."""

    @property
    def grid(self) -> Values: ...
    @property
    def values(self) -> Values: ...
    @property
    def view(self) -> NDArray[np.uint8]: ...
    @property
    def subject(self) -> Subject: ...


class HeatmapLike(MapOnView, Protocol):
    """A map that masks of its image can be carried to."""

    @property
    def padding(self) -> Bools: ...
    @property
    def carry(self) -> Callable[[Mask], MaskInView]:
        """Carries a mask of the image into the view."""

    @property
    def gate(self) -> Callable[[], str]:
        """Says why checks on where the heatmap lies can have no verdict; nothing, where they can."""

    @property
    def also(self) -> Sequence[HeatmapLike]:
        """Other heatmaps for which these checks must hold as well."""


def is_heatmap(value: Any) -> TypeGuard[MapOnView]:
    """Whether the value is a heatmap; it is asked of its type, since a heatmap draws its view when that is looked at."""
    return all(hasattr(type(value), name) for name in ("values", "view", "peak"))
