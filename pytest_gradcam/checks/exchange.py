"""What is lost when images exchange their masked pixels: the share of decisions that flip, by receiving and by donor class.

Each image receives the masked pixels of others. Donors that the model predicts as the same class are the yardstick: what they
flip is the exchange itself, its edges and another object. What other classes' donors flip beyond that is lost because the
pixels said something else. Images and donors are both drawn, so pairs that share an image are not independent: the standard
errors are those of dyadic data (Fafchamps and Gubert 2007; Aronow, Samii and Assenova 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

#: Receivers and donors that an entry of the matrix needs to be looked at.
FEWEST = 3
#: Where the mean margin is smaller, the scores say little about probabilities, as cosines do, and are scaled to it.
LEAST_MARGIN = 1.5


@dataclass(frozen=True)
class Difference:
    """How much more other classes' donors change than donors of the own class: `mean`, with its standard error.

    `own` is what donors of the own class change; `receivers` and `donors` say how many images of each there are.
    """

    mean: float
    error: float
    own: float
    receivers: int
    donors: int

    def lower(self, z: float) -> float:
        return self.mean - z * self.error

    def upper(self, z: float) -> float:
        return self.mean + z * self.error

    def less(self, control: Difference | None) -> Difference:
        """This less a control, which never adds to it."""
        if control is None:
            return self
        error = math.hypot(self.error, control.error)
        return Difference(self.mean - max(0.0, control.mean), error, self.own, self.receivers, self.donors)


@dataclass(frozen=True)
class Row:
    """What images lose: their decisions, the accuracy that is lost with these, and how far their margin falls."""

    flips: Difference
    accuracy: Difference
    fall: Difference

    def less(self, control: Row | None) -> Row:
        """This less a control, which never adds to it."""
        if control is None:
            return self
        return Row(self.flips.less(control.flips), self.accuracy.less(control.accuracy), self.fall.less(control.fall))


@dataclass(frozen=True)
class Exchange:
    """What became of a model's decisions when masked pixels were exchanged, pair by pair.

    `predicted` (N,) are the classes of the unchanged images, `leads` (N,) their margins in the model's units; `to` and `donor`
    (M,) the image that was changed and the one whose pixels it received; `falls` (M,) how far its margin fell, in the same
    units: by all of its lead, and another class is predicted. Where both are the same image, the pixels are those of the same
    scene in its pair. `costs` (M,) is how much accuracy each change costs (`costs`); without them every lost decision costs one.
    """

    predicted: Indices
    leads: Floats
    to: Indices
    donor: Indices
    falls: Floats
    costs: Floats | None = None

    @cached_property
    def paired(self) -> Bools:
        """Whether the pixels came from the same scene (M,)."""
        return np.asarray(self.to == self.donor)

    @cached_property
    def flipped(self) -> Bools:
        """Whether another class was predicted (M,)."""
        return np.asarray(self.falls > self.leads[self.to])

    def shaken(self, receiving: int) -> bool:
        """Whether another class's pixels took half of its lead, or more, from any image of this class."""
        own, other = self.predicted[self.to], self.predicted[self.donor]
        half = self.falls > 0.5 * self.leads[self.to]
        return bool(((own == receiving) & ((other != receiving) | self.paired) & half).any())

    @cached_property
    def classes(self) -> Indices:
        """The predicted classes."""
        return np.unique(self.predicted)

    @cached_property
    def flips(self) -> Difference:
        """The share of decisions that are lost."""
        return self.difference(self.flipped.astype(np.float64), rate=True)

    @cached_property
    def accuracy(self) -> Difference:
        """The accuracy that is lost with them, by the model's own probabilities."""
        return self.difference(self._costs, rate=True)

    @property
    def _costs(self) -> Floats:
        return self.flipped.astype(np.float64) if self.costs is None else self.costs

    @cached_property
    def margin(self) -> Difference:
        """The fall of the margin, in the model's units."""
        return self.difference(self.falls)

    def entry(self, receiving: int | None, giving: int | None) -> Difference | None:
        """The flips in images of one class (None: any) by donors of one other class (None: any); None if there are too few."""
        found = self.difference(self.flipped.astype(np.float64), receiving, giving, rate=True)
        return found if min(found.receivers, found.donors) >= FEWEST else None

    @cached_property
    def entries(self) -> dict[tuple[int | None, int | None], Difference]:
        """Every row, column and cell of the matrix of receiving by donor classes that has enough images."""
        several: list[int | None] = [*map(int, self.classes)]
        places = [(a, b) for a in [*several, None] for b in [*several, None] if a != b]
        found = {place: self.entry(*place) for place in places}
        return {place: entry for place, entry in found.items() if entry is not None}

    @property
    def whole(self) -> Row:
        """What all images lose."""
        return Row(self.flips, self.accuracy, self.margin)

    @cached_property
    def rows(self) -> dict[int, Row]:
        """What the images of each class lose of which there are enough."""
        several = [a for a, b in self.entries if a is not None and b is None]
        return {
            a: Row(self.entries[a, None], self.difference(self._costs, a, rate=True), self.difference(self.falls, a))
            for a in several
        }

    def difference(
        self, value: Floats, receiving: int | None = None, giving: int | None = None, *, rate: bool = False
    ) -> Difference:
        """The mean of a value (M,) over other classes' donors less that over the own class's.

        Each image weighs the same, and for each image each other class. For a `rate` in [0, 1] the error is at least that of
        one event more than none, so that no event in a few images is not certainty.
        """
        own_class, donor_class = self.predicted[self.to], self.predicted[self.donor]
        other, own = (donor_class != own_class) | self.paired, (donor_class == own_class) & ~self.paired
        if receiving is not None:
            other, own = other & (own_class == receiving), own & (own_class == receiving)
        if giving is not None:
            other &= (donor_class == giving) & ~self.paired
        # The yardstick is that of the images that receive something.
        own &= np.isin(self.to, self.to[other])
        weights = self._weights(other), self._weights(own)
        means = [float(weight @ value) for weight in weights]  # 0 where none is of the own class
        residual = weights[0] * (value - means[0]) - weights[1] * (value - means[1])
        receivers, donors = len(np.unique(self.to[other])), len(np.unique(self.donor[other]))
        few = min(receivers, donors)
        error = self._error(residual) * math.sqrt(few / (few - 1)) if few > 1 else math.inf
        if rate:
            error = math.hypot(error, least(few))
        return Difference(means[0] - means[1], error, means[1], receivers, donors)

    def _weights(self, pairs: Bools) -> Floats:
        """Weights (M,) that sum to 1 over these pairs: alike for each receiver, and within it for each donor class."""
        places = self.to * (int(self.predicted.max()) + 1) + self.predicted[self.donor]
        weights = np.where(pairs, 1.0 / np.maximum(np.bincount(places, pairs)[places], 1), 0.0)
        total = np.bincount(self.to, weights)[self.to]
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        return np.asarray(weights / max(weights.sum(), 1e-12))

    def _error(self, residual: Floats) -> float:
        """The standard error of a sum of residuals (M,) in which pairs that share an image are dependent."""
        count = len(self.predicted)
        received = np.bincount(self.to, residual, minlength=count)
        both = received + np.bincount(self.donor, np.where(self.paired, 0, residual), minlength=count)
        return math.sqrt(max(float(both @ both - residual @ residual), float(received @ received)))


def costs(before: NDArray[np.floating], after: NDArray[np.floating], to: Indices, unit: float) -> Floats:
    """How much accuracy each change costs (M,), from the scores (N, classes) of the unchanged and (M, classes) of the changed
    images, and the model's mean margin: how likely the class was that was predicted before, less how likely the new one was,
    by the model itself before the change. A decision that was a toss-up costs little, whichever way it turns.
    """
    scale = max(1.0, LEAST_MARGIN / unit)
    likely = scipy.special.softmax(scale * before.astype(np.float64), axis=1)[to]
    rows = np.arange(len(to))
    return np.asarray(likely[rows, before.argmax(axis=1)[to]] - likely[rows, after.argmax(axis=1)])


def least(count: int) -> float:
    """The standard error of a rate of which no event was seen in `count` images, with one event added (Laplace)."""
    rate = 1 / (count + 2)
    return math.sqrt(rate * (1 - rate) / count) if count else math.inf


def normal(confidence: float, comparisons: int = 1) -> float:
    """How many standard errors a one-sided bound of this confidence lies away, for the worst of several comparisons."""
    return float(scipy.special.ndtri(1 - (1 - confidence) / max(1, comparisons)))
