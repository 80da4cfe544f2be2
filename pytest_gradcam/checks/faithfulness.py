"""Whether a heatmap is faithful: what it marks moves the score more than the same marks in random places.

Deletion and insertion (Petsiuk, Das and Saenko, RISE, BMVC 2018) and ROAD (Rong et al., ICML 2022). The random orders
rearrange the heatmap's own cells: an image stays recognisable for longer when single pixels go in random order, so every
coarse heatmap would beat orders of pixels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from pytest_gradcam import metrics
from pytest_gradcam.checks.explained import Explained, explained, given, picture
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.messages import percent
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.grids import resize
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import HeatmapLike, ModelInput
from pytest_gradcam.replacement import road
from pytest_gradcam.targets import Target

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]
Bools = NDArray[np.bool_]
Score = Callable[[Sequence[ModelInput]], Floats]

_STEPS = 10  # of the deletion and insertion curves
_ROAD_LEVELS = (0.3, 0.7)  # shares of the pixels that are imputed: each takes two linear systems
_ROAD_NOISE = 0.01  # in standard deviations of the image
_BLUR = 1 / 16  # of the longer side: the standard deviation of what insertion starts from
_LEAST_RISE = (
    0.01  # of the scores: every figure is in units of the rise over a blank image, and a smaller rise is rounding
)
_FEWEST = 9  # random orders; with fewer, a worthless heatmap beats all of them in more than one of ten cases


@dataclass(frozen=True)
class Faithfulness:
    """Three figures, in units of how much more the image scores than a blank one; `insertion`, `road`: higher is better."""

    deletion: float
    insertion: float
    road: float

    @property
    def total(self) -> float:
        """How much sooner the score falls, and returns, than on a straight line: the three figures in one."""
        return (self.insertion - self.deletion + self.road) / 3


@dataclass(frozen=True)
class Faithful(Check):
    """The heatmap's total is higher than that of at least this share of random orders; a tie counts half."""

    orders: Any

    name, measure = "faithful", "share of random orders beaten"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"orders": self.orders}

    def plain_parameters(self) -> dict[str, float]:
        orders = super().plain_parameters()["orders"]
        if orders != int(orders) or orders < _FEWEST:
            raise HeatmapError(
                f"orders={orders:g} cannot tell a heatmap from chance; expected a whole number of at least {_FEWEST}"
            )
        return {"orders": orders}

    def judged(self, record: Record, own: Faithfulness, others: Sequence[Faithfulness]) -> Record:
        """The record decided, from the figures of the heatmap's order and of the random ones."""
        beaten = sum(1.0 if own.total > other.total else 0.5 if own.total == other.total else 0.0 for other in others)
        return self.decided(replace(record, details=_details(own, others)), beaten / len(others))

    def finding(self, record: Record, figure: float, bound: float) -> str:
        whose, orders = f" of {record.target!r}" if record.target else "", record.parameters["orders"]
        return (
            f"the heatmap's order of pixels moves the score{whose} more than {figure * orders:g} of {orders:g} random "
            f"orders do, {percent(figure, unlike=bound)}; expected at least {percent(bound, unlike=figure)}"
        )

    def advice(self, record: Record) -> str:
        return (
            "look at the picture; the map does not say what this score depends on: choose another layer or method "
            "(hirescam, layercam), and base no verdict on this one"
        )


def assert_faithful(
    model: ExplainedModel,
    image: Any,
    *,
    target: Target = None,
    at_least: float = 0.9,
    orders: int = 20,
    seed: int = 0,
    layer: str | None = None,
    method: str | None = None,
    heatmap: HeatmapLike | None = None,
) -> None:
    """The heatmap's order of pixels moves the score more than this share of random orders do (0 < at_least <= 1).

    Each order is scored by deletion and insertion (Petsiuk et al. 2018) and ROAD (Rong et al. 2022). The random
    `orders`, at least 9, drawn with `seed`, rearrange the heatmap's own cells. `image`, `target`, `layer` and `method`
    are those of a call. `heatmap` is one from elsewhere, `Heatmap.from_array(values)`, of the view that the model sees;
    then none is computed. Each order costs 22 forward passes.
    Raises FocusError if it beats fewer; HeatmapError if the check cannot be decided: no evidence, an image that
    scores no higher than a blank one, a grid of too few cells.
    """
    check = Faithful(at_least, orders)
    for question in model.questions(image, target, layer, method):
        subject = explained(model, image, question) if heatmap is None else given(model, image, question, heatmap)
        record = check.on(subject.heatmap, seed=seed)
        settle.judge(record, partial(_measured, check, subject), partial(picture, subject))


def _measured(check: Faithful, subject: Explained, record: Record) -> Record:
    record, heatmap = check.checked(record), subject.heatmap
    _ = heatmap.peak  # raises if there is none
    curves = DeletionInsertion(subject.image_input, subject.scores, np.random.default_rng(record.seed))
    arrangements = rearranged(heatmap.grid, int(record.parameters["orders"]), np.random.default_rng(record.seed))
    shape, centres = subject.image_input.shape, heatmap.subject.centres
    own, *others = (curves.of(resize(grid, shape, centres)) for grid in (heatmap.grid, *arrangements))
    return check.judged(record, own, others)


class DeletionInsertion:
    """What removing and revealing an image's pixels in some order does to its score."""

    def __init__(self, image_input: ModelInput, score: Score, random: np.random.Generator) -> None:
        self._input, self._score, self._random = image_input, score, random
        self._image: Pixels = image_input.pixels
        self._grey = np.broadcast_to(self._image.mean((1, 2), keepdims=True), self._image.shape)
        width = max(image_input.shape) * _BLUR
        self._blurred: Pixels = scipy.ndimage.gaussian_filter(self._image, (0, width, width), mode="nearest")
        self._full, self._blank, self._hazy = self._scores([self._image, self._grey, self._blurred])
        for blank, what in ((self._blank, "its own mean colour"), (self._hazy, "a strong blur of it")):
            if self._full - blank <= _LEAST_RISE * max(abs(self._full), abs(blank)):
                raise HeatmapError(
                    f"the image scores {self._full:.4g} and {what} {blank:.4g}; expected the image to score clearly "
                    "higher, since otherwise its pixels add nothing to the target. Explain another target, or use another image"
                )

    def of(self, values: Pixels) -> Faithfulness:
        """The figures of this heatmap (H, W), from the order of its pixels; ties are broken at random."""
        order = np.lexsort((self._random.permutation(values.size), -values.ravel()))
        removed = [self._first(order, step / _STEPS) for step in range(1, _STEPS)]
        curve = self._scores(
            [np.where(gone, self._grey, self._image) for gone in removed]
            + [np.where(shown, self._image, self._blurred) for shown in removed]
            + [self._imputed(self._first(way, level)) for way in (order, order[::-1]) for level in _ROAD_LEVELS]
        )
        deleted, inserted, imputed = np.split(curve, [_STEPS - 1, 2 * _STEPS - 2])
        most, least = np.split(imputed, 2)
        return Faithfulness(
            deletion=metrics.deletion_auc([self._full, *deleted, self._blank]),
            insertion=metrics.insertion_auc([self._hazy, *inserted, self._full]),
            road=float((least - most).mean() / (self._full - self._blank)) / 2,
        )

    def _first(self, order: NDArray[np.intp], share: float) -> Bools:
        chosen = np.zeros(order.size, bool)
        chosen[order[: round(share * order.size)]] = True
        return chosen.reshape(self._input.shape)

    def _imputed(self, missing: Bools) -> Pixels:
        filled = road.linear(self._image, missing)
        noise = self._random.normal(0, _ROAD_NOISE * float(self._image.std()), (len(filled), int(missing.sum())))
        filled[:, missing] += noise.astype(np.float32)
        return filled

    def _scores(self, pictures: Sequence[Pixels]) -> Floats:
        found: Floats = self._score([self._input.with_pixels(pixels) for pixels in pictures])
        if not np.isfinite(found).all():
            raise HeatmapError("the model scores a changed image NaN or infinite; check the weights")
        return found


def rearranged(grid: Pixels, count: int, random: np.random.Generator) -> Iterator[Pixels]:
    """The grid with its cells rearranged, `count` times. Raises HeatmapError if it has too few other arrangements."""
    ways = _ways(grid)
    if ways <= math.log(2 * count):
        raise HeatmapError(
            f"a grid of {grid.shape[0]} x {grid.shape[1]} cells has too few other orders to compare {count} with it; "
            "choose a layer with a finer grid"
        )
    made = 0
    while made < count:
        other = random.permutation(grid.ravel()).reshape(grid.shape)
        if not np.array_equal(other, grid):
            made += 1
            yield other


def _ways(grid: Pixels) -> float:
    """The logarithm of the number of different arrangements of the cells."""
    return math.lgamma(grid.size + 1) - sum(math.lgamma(same + 1) for same in Counter(grid.ravel().tolist()).values())


def _details(own: Faithfulness, others: Sequence[Faithfulness]) -> tuple[tuple[str, str], ...]:
    names = ("deletion", "insertion", "ROAD")
    medians = np.median([astuple(other) for other in others], axis=0)
    better = ("lower", "higher", "higher")
    return tuple(
        (name, f"{figure:.3f}, random orders {median:.3f} ({way} is better)")
        for name, figure, median, way in zip(names, astuple(own), medians, better, strict=True)
    )
