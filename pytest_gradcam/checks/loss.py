"""The verdict on reliance from exchanged pixels: how many decisions are lost, of which classes, and whether that is too many.

Two claims, each with its own bound, and 'relies weakly' between them. 'Relies' needs a lower bound of the loss above `RELIES`, or
of its part in one class above `IN_ONE`; 'does not rely' needs upper bounds of everything that was looked at below theirs.
The loss is of accuracy, as far as the model's own probabilities tell; for a 'no' every lost decision counts in full.
The constants were chosen on the tuning half of the ladder in benchmarks/shortcuts and judged on the other half.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import scipy

from pytest_gradcam.checks.averages import Averaged
from pytest_gradcam.checks.exchange import FEWEST, Difference, Exchange, Floats, Row, normal

Claim = Literal["relies", "relies weakly", "does not rely", "undecided"]
Entry = tuple[int | None, int | None]  # receiving and donor class; None: any

#: The loss of accuracy above which the model relies, at the lower bound.
RELIES = 0.10
#: The share of decisions that one class's images lose, or that one class's pixels turn, at the lower bound.
IN_ONE = 0.20
#: Weak reliance: so much accuracy is lost and so much of the margin falls, at the lower bounds; or the margin alone.
WEAK_LOSS, WEAK_FALL, FALL_ALONE = 0.02, 0.12, 0.20
#: Weak reliance of one class's images: they lose so much accuracy, and at the lower bound more than `FALL_ALONE` of their margin.
WEAK_IN_ONE = 0.10
#: No reliance: the upper bounds of the loss, of the fall of the margin, and of the loss of each class stay below these. No
#: control is subtracted for that, nor the yardstick where the scene shows through: what they take away may be the artefact's.
NONE_LOSS, NONE_FALL, NONE_IN_ONE = 0.15, 0.35, 0.40
#: A correlation across the mask's outline above which the scene shows through the mask.
THROUGH = 0.25
#: Both ends of every interval are one-sided bounds of this confidence.
CONFIDENCE = 0.95
#: How far the estimate is off besides chance, measured on models of known truth: at no loss, and more for each unit of it.
OFF, OFF_PER_LOSS = 0.025, 0.10
_SHOWN = 5  # classes in a message


@dataclass(frozen=True)
class Exchanged:
    """What was measured: exchanges of the masked pixels, the same elsewhere in the scene, and how far it shows through the mask.

    `control` is the same exchange where the mask would lie on the object; `name` names a class. `averages` is what became of
    exchanged means, which say more than both of them where the scene shows through.
    """

    main: Exchange
    control: Exchange | None = None
    continuity: float = 0.0
    name: Callable[[int], str] = str
    averages: Averaged | None = None

    @property
    def through(self) -> bool:
        """Whether the mask contains some of the scene, so that donors bring in their objects, too."""
        return self.continuity > THROUGH


@dataclass(frozen=True)
class Loss:
    """The estimated loss of accuracy when the pixels are exchanged, and the verdict on it.

    `estimate` is that loss, by the model's own probabilities, `interval` its 90 % interval. `worst` is the largest entry of the
    matrix in words, with `worst_estimate` and its lower bound `worst_lower`, corrected for having looked at all entries;
    `single` says that this entry decides, `by_margin` that the fall of the margin does, whatever the loss; `way` what was done
    to the pixels.
    `by_class` and `matrix` hold the estimates by receiving class, and by receiving and donor class.
    """

    claim: Claim
    estimate: float
    interval: tuple[float, float]
    reason: str = ""
    control: float | None = None
    worst: str = ""
    worst_estimate: float | None = None
    worst_lower: float | None = None
    single: bool = False
    by_margin: bool = False
    way: str = "exchanged"
    p_value: float | None = None
    by_class: dict[str, float] = field(default_factory=dict)
    matrix: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def relies(self) -> bool | None:
        return None if self.claim == "undecided" else self.claim != "does not rely"

    @property
    def decisive(self) -> float:
        """The loss that the verdict rests on: that of one class where it stands out, else that of all."""
        assert not self.single or self.worst_estimate is not None
        return max(self.estimate, self.worst_estimate or 0.0) if self.single else self.estimate

    @property
    def said(self) -> str:
        """The estimate and its interval."""
        low, high = self.interval
        return f"{share(self.estimate)} of accuracy, {share(low)} to {share(high)} at 90 %"

    def rows(self) -> list[tuple[str, str]]:
        """The figures: a label and a phrase for each."""
        rows = [("loss", self.said)]
        if self.control is not None:
            rows.append(
                (
                    "scene",
                    f"{share(self.control)} for as many pixels elsewhere: subtracted, since the scene shows through the mask",
                )
            )
        if self.by_class:
            parts = sorted(self.by_class.items(), key=lambda part: -part[1])
            shown = ", ".join(f"{name} {max(0.0, part):.2f}" for name, part in parts[:_SHOWN])
            rows.append(("by class", shown + (f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else "")))
        if self.worst_lower is not None and self.worst:
            rows.append(
                (
                    "worst",
                    f"{self.worst}: at least {max(0.0, self.worst_lower):.2f}, corrected for looking at all of them",
                )
            )
        return rows

    @property
    def sentence(self) -> str:
        """The estimate in one sentence."""
        low, high = self.interval
        said = f"if they were {self.way}, accuracy would fall by about {share(self.estimate)} ({share(low)} to {share(high)})"
        return f"{said}; {self.worst}" if self.worst else said


def percent(share: float) -> str:
    """A share, at least 0, as whole percent."""
    return f"{round(100 * min(1.0, max(0.0, share)))} %"


def share(figure: float) -> str:
    """A share between 0 and 1 with two decimals."""
    return f"{min(1.0, max(0.0, figure)):.2f}"


def estimated(found: Exchanged) -> Loss:
    """The loss and the verdict."""
    net, gross, control = _net(found)
    rows, entries = _rows(found), _looked_at(found)
    z = normal(CONFIDENCE, len(entries))
    # Of equals the one that says most: a row or a column before one of its cells.
    worst = max(entries, key=lambda place: (round(entries[place].lower(z), 2), place.count(None)), default=None)
    single = worst is not None and entries[worst].lower(z) > IN_ONE and _falls(found, worst, net, rows)
    claim, reason = _claim(found, net, single=single)
    p_value = _p_value(net.fall, WEAK_FALL)
    weak = _weakest(rows) if claim in ("undecided", "does not rely") else None
    if weak is not None:
        claim, reason, worst, single = "relies weakly", "", (weak, None), True
        p_value = min(p_value, _p_value(rows[weak].fall, FALL_ALONE, len(rows)))
    elif single and worst is not None:
        p_value = min(p_value, _p_value(entries[worst], IN_ONE, len(entries)))
    verdict = Loss(
        claim,
        round(max(0.0, net.accuracy.mean), 6),
        _interval(net.accuracy, gross),
        reason,
        control=control,
        single=single,
        p_value=p_value,
        by_class={found.name(a): entry.mean for (a, b), entry in entries.items() if a is not None and b is None},
        matrix={
            (found.name(a), found.name(b)): entry.mean
            for (a, b), entry in found.main.entries.items()
            if a is not None and b is not None
        },
    )
    if worst is None:
        return verdict
    largest = entries[worst]
    verdict = replace(verdict, worst_estimate=largest.mean, worst_lower=largest.lower(z))
    shown = weak is not None or _stands_out(largest, net.flips)
    return replace(verdict, worst=_words(found, worst, largest)) if shown else verdict


def _rows(found: Exchanged) -> dict[int, Row]:
    """What the images of each class lose; where the scene shows through beyond what as many pixels elsewhere cost them."""
    if not found.through:
        return found.main.rows
    if found.averages is not None:
        return found.averages.rows
    control = {} if found.control is None else found.control.rows
    return {index: row.less(control[index]) for index, row in found.main.rows.items() if index in control}


def _looked_at(found: Exchanged) -> dict[Entry, Difference]:
    """Every entry of the matrix; where the scene shows through only its rows, of which the control has enough images."""
    if not found.through:
        return found.main.entries
    return {(index, None): row.flips for index, row in _rows(found).items()}


def _falls(found: Exchanged, place: Entry, net: Row, rows: dict[int, Row]) -> bool:
    """Whether the margin falls as well: at all, or where the scene shows through that of the class that loses most."""
    if not found.through:
        return net.fall.lower(normal(CONFIDENCE)) > 0
    assert place[0] is not None
    return rows[place[0]].fall.lower(normal(CONFIDENCE, len(rows))) > FALL_ALONE


def _weakest(rows: dict[int, Row]) -> int | None:
    """The class whose images lose most, of those that rely weakly; None if no class does."""
    z = normal(CONFIDENCE, len(rows))
    weak = [a for a, row in rows.items() if row.accuracy.mean >= WEAK_IN_ONE and row.fall.lower(z) > FALL_ALONE]
    return max(weak, key=lambda index: rows[index].accuracy.mean, default=None)


def removed(costs: Floats, way: str) -> Loss | None:
    """A weak reliance: decisions are lost when the pixels of each image are replaced in another `way`; None if they may be by
    chance. `costs` (N,) is what that costs in accuracy, 0 where the decision stays.

    The interval of the share of lost decisions is exact (Clopper and Pearson 1934).
    """
    lost, images = int((costs > 0).sum()), len(costs)
    low = 0.0 if lost == 0 else float(scipy.special.betaincinv(lost, images - lost + 1, 1 - CONFIDENCE))
    high = 1.0 if lost == images else float(scipy.special.betaincinv(lost + 1, images - lost, CONFIDENCE))
    if low <= WEAK_LOSS:
        return None
    each = float(costs.sum()) / lost
    p_value = float(scipy.special.bdtrc(lost - 1, images, WEAK_LOSS))
    return Loss("relies weakly", float(costs.mean()), (low * each, high * each), p_value=p_value, way=way)


def _net(found: Exchanged) -> tuple[Row, float, float | None]:
    """What is lost, the accuracy that was lost before a control was subtracted, and the control; None where the mask hides the
    scene.
    """
    whole = found.main.whole
    if not found.through:
        return whole, whole.accuracy.mean, None
    if found.averages is not None:
        net = found.averages.whole
        return net, net.accuracy.mean + net.accuracy.own, net.accuracy.own
    control = None if found.control is None else found.control.whole
    return whole.less(control), whole.accuracy.mean, None if control is None else control.accuracy.mean


def _claim(found: Exchanged, net: Row, *, single: bool) -> tuple[Claim, str]:
    z, lost, fall = normal(CONFIDENCE), net.accuracy, net.fall
    if (lost.lower(z) > RELIES and fall.lower(z) > WEAK_FALL) or single:
        return "relies", ""
    if (lost.lower(z) > WEAK_LOSS and fall.lower(z) > WEAK_FALL) or (fall.lower(z) > FALL_ALONE and lost.mean > 0):
        return "relies weakly", ""
    reason = _open(found, net.flips, net.fall)
    return ("undecided", reason) if reason else ("does not rely", "")


def _open(found: Exchanged, net: Difference, fall: Difference) -> str:
    """Why it cannot be said that the model does not rely on the pixels; empty if it can."""
    if not math.isfinite(fall.error):
        what = (
            "only one image was exchanged"
            if fall.receivers < 2
            else "all pixels that were exchanged came from one image"
        )
        return f"{what}, which does not show how far images differ; pass more images, of two or more predicted classes"
    z, gross, margin = normal(CONFIDENCE), found.main.flips, found.main.margin
    most, farthest = gross.upper(z), margin.upper(z)
    # Where the scene shows through, what donors of the own class change may be the artefact's as well.
    every = gross.mean + gross.own if found.through else gross.mean
    if most < NONE_LOSS and farthest < NONE_FALL and every < NONE_LOSS:
        return _unseen(found)
    if found.through and (every >= NONE_LOSS or margin.mean >= NONE_FALL):
        return (
            "the scene shows through the masked pixels, so exchanging them exchanges parts of the object, which changes "
            f"{percent(every)} of the decisions and takes {margin.mean:.2f} of the margin; pass the same scenes without the "
            "artefact as `pairs=`, other images `without=` it, or a mask of its pixels alone"
        )
    return (
        f"exchanging the masked pixels loses between {percent(net.lower(z))} and {percent(most)} of the decisions and "
        f"{fall.lower(z):.2f} to {farthest:.2f} of the margin; {_more(found, net, fall)}"
    )


def _more(found: Exchanged, net: Difference, fall: Difference) -> str:
    """How many images would decide, from the spread that was seen."""
    z, count = normal(CONFIDENCE), net.receivers
    # Either claim: the bounds close in on the means with the root of the number of images.
    needs = [
        _needed(count, z * net.error, NONE_LOSS - net.mean, RELIES - net.mean),
        _needed(count, z * fall.error, NONE_FALL - fall.mean, FALL_ALONE - fall.mean),
    ]
    if max(needs) > 20 * count:
        closer = "" if bool(found.main.paired.any()) else ", or pass the same scenes without the artefact as pairs="
        return f"the loss is so close to the bounds that more images would hardly decide; look at the classes one by one{closer}"
    return f"about {math.ceil(max(needs))} images like these would decide"


def _needed(count: int, reach: float, above: float, below: float) -> float:
    distance = max(above, -below, 1e-6)
    return max(count + 1.0, count * (reach / distance) ** 2)


def _unseen(found: Exchanged) -> str:
    """Classes of which too few images were seen to say that none of their decisions is lost."""
    z, rows = normal(CONFIDENCE), _rows(found)
    for index, row in rows.items():
        if row.flips.mean >= WEAK_IN_ONE and row.fall.lower(normal(CONFIDENCE, len(rows))) > FALL_ALONE:
            return (
                f"images of {found.name(index)!r} lose {percent(row.flips.mean)} of their decisions and {row.fall.mean:.2f} of "
                "the margin; pass more images of that class"
            )
    for index in map(int, found.main.classes):
        entry, name = found.main.entries.get((index, None)), found.name(index)
        shaken, have = found.main.shaken(index), int((found.main.predicted == index).sum())
        # No event in n images: at most 3 in n (rule of three). A class that hardly moves needs no such proof.
        fewest = math.ceil(3 / NONE_IN_ONE) if shaken else FEWEST
        if entry is None or have < fewest:
            return (
                f"only {have} of the images are predicted as {name!r}, too few to say that these do not depend on the masked "
                f"pixels; pass {max(1, fewest - have)} more of that class"
            )
        if shaken and entry.upper(z) >= NONE_IN_ONE:
            return (
                f"images of {name!r} lose {percent(entry.mean)} of their decisions, perhaps up to {percent(entry.upper(z))}; "
                "pass more images of that class"
            )
    return ""


def _p_value(found: Difference, bound: float, comparisons: int = 1) -> float:
    """One-sided, for a mean at or below the bound, the worst of several."""
    few = min(found.receivers, found.donors)
    if few < 2:
        return 1.0
    return min(1.0, comparisons * float(scipy.special.stdtr(few - 1, (bound - found.mean) / max(found.error, 1e-12))))


def _interval(net: Difference, gross: float) -> tuple[float, float]:
    """The 90 % interval of the loss: chance, and how far the estimate was off on models of known truth.

    What the control takes away may have been the artefact's: the upper end is no less than the loss before.
    """
    mean = max(0.0, net.mean)
    reach = normal(CONFIDENCE) * math.hypot(net.error, OFF + OFF_PER_LOSS * mean)
    return max(0.0, mean - reach), min(1.0, max(mean + reach, gross))


def _stands_out(entry: Difference, net: Difference) -> bool:
    return entry.mean >= max(IN_ONE, net.mean + 0.1)


def _words(found: Exchanged, place: Entry, entry: Difference) -> str:
    receiving, giving = place
    lose = f"lose {max(0.0, entry.mean):.2f} of their decisions"
    if receiving is None:
        assert giving is not None
        return f"images of other classes {lose} to the pixels of {found.name(giving)!r}"
    if giving is None:
        return f"images of {found.name(receiving)!r} {lose}"
    return f"images of {found.name(receiving)!r} {lose} to the pixels of {found.name(giving)!r}"
