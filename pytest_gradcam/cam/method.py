"""A method by its name, with how much it may compute at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pytest_gradcam.cam.rise import FEWEST_MASKS
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.settings import METHODS, NO_HEATMAP, RISE_MASKS, SCORE_METHODS
from pytest_gradcam.validation import count, nearest


@dataclass(frozen=True)
class Method:
    """How a heatmap is made: a name from `pytest_gradcam.settings.METHODS`, or NO_HEATMAP for an empty one.

    `batch_size` is the most images in one forward pass, `rise_masks` the number of RISE's masks for an image.
    Raises HeatmapError for a name that is not known, and for numbers that cannot be used.
    """

    name: str = "gradcam"
    batch_size: int = 16
    rise_masks: int = RISE_MASKS

    def __post_init__(self) -> None:
        if self.name not in (*METHODS, NO_HEATMAP):
            hint = nearest(str(self.name), METHODS)
            raise HeatmapError(f"method={self.name!r} is not known; expected one of {', '.join(METHODS)}{hint}")
        object.__setattr__(self, "batch_size", count("batch_size", self.batch_size))
        object.__setattr__(self, "rise_masks", count("rise_masks", self.rise_masks, FEWEST_MASKS))

    def named(self, name: str | None) -> Method:
        """Another method under the same limits; None for this one."""
        return self if name is None else replace(self, name=name)

    def one_at_a_time(self) -> Method:
        return replace(self, batch_size=1)

    @property
    def needs_layer(self) -> bool:
        return self.name not in (*SCORE_METHODS, NO_HEATMAP)
