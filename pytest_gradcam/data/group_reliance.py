"""Whether a model relies on the invalid pixels of a data set, a group at a time: what one group shows, the mean may hide."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_gradcam import overlay
from pytest_gradcam.checks.loss import RELIES
from pytest_gradcam.checks.no_reliance import NoReliance, deciding
from pytest_gradcam.checks.reliance import reliance
from pytest_gradcam.checks.reliance_rule import Reliance
from pytest_gradcam.data import picture, statistics
from pytest_gradcam.data.case import Case
from pytest_gradcam.data.results import CLASS, PREDICTED, Results
from pytest_gradcam.errors import GradcamWarning, HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.validation import count

if TYPE_CHECKING:
    from PIL.Image import Image

_LEVEL = 0.05
_KINDS = ("invalid", "mask")


def reliance_by(
    audit: Results, *, by: str | None = None, on: str = "invalid", images: int = 100, seed: int = 0
) -> dict[str, Reliance | str]:
    """The verdict of `reliance` on the `invalid` pixels (or the `mask`) of each group of a slice, or why there is none.

    Up to `images` different images of each group are drawn with the `seed`. A class exchanges pixels with the others, so by
    "class" or "predicted" there is one verdict, under an empty name, on the images of all of them: it says for which class
    the model relies, and `by_class` has the loss of each (docs/reliance.md).
    Raises HeatmapError if no case has such a mask.
    """
    if on not in _KINDS:
        raise HeatmapError(f"on={on!r} is not a mask of a case; expected {' or '.join(_KINDS)}")
    most, rng = count("images", images, 2), np.random.default_rng(count("seed", seed, 0))
    cases, model = audit.cases, audit.model
    assert cases is not None
    chosen: dict[str, list[Case]] = {}
    for name, rows in audit.groups(audit.checks[0], by).items():
        own = [cases[row["place"]] for row in rows if row["digest"]]
        own = [case for case in own if getattr(case, on) is not None]
        if own:
            group = "" if by in (CLASS, PREDICTED) else name
            chosen.setdefault(group, []).extend(own[int(place)] for place in np.sort(rng.permutation(len(own))[:most]))
    if not chosen:
        raise HeatmapError(f"no case has {on} pixels; give them to the cases: Case(image, {on}=mask)")
    return {name: _asked(model, own, on) for name, own in chosen.items()}


def assert_no_reliance(
    audit: Results,
    *,
    by: str | None = None,
    on: str = "invalid",
    images: int = 100,
    seed: int = 0,
) -> None:
    """The model does not rely on the invalid pixels of the data set, or of any group of a slice: `reliance` says no to each.

    By "class" up to `images` of each class are judged together, and the rule itself looks at each class.

    Fails if it relies on them in one group, at a chance of a false alarm of 5 % over all groups together (Holm 1979); where it
    relies weakly, from a loss of 0.10 of accuracy, and warns otherwise.
    Raises FocusError for the groups; HeatmapError if it is undecided for one.
    """
    check, found = NoRelianceBy(None), dict[str, Reliance | str]()

    def measure(record: Record) -> Record:
        found.update(reliance_by(audit, by=by, on=on, images=images, seed=seed))
        return check.judged(audit.identified(record), found, by)

    record = replace(check.record(Subject()), details=audit.about(f"{on} pixels"))
    settle.judge(audit.identified(record), measure, lambda kept: picture.below(_draw(found, kept), audit.view))
    for each in found.values():
        if isinstance(each, Reliance) and each.weak:
            warnings.warn(each.verdict, GradcamWarning, stacklevel=3)


@dataclass(frozen=True)
class NoRelianceBy(Check):
    """No group of images shows reliance. The verdict on each group decides."""

    name, measure, direction = "no_reliance_by", "largest fall of the margin in a group", "at_most"

    def plain_bound(self) -> float | None:
        return None

    def judged(self, record: Record, found: Mapping[str, Reliance | str], by: str | None) -> Record:
        """The record decided by the verdicts on the groups."""
        rows = tuple((f"{by} {name}" if name else "all images", _said(each)) for name, each in found.items())
        known = {name: each for name, each in found.items() if isinstance(each, Reliance)}
        record = replace(record, details=(*record.details, *rows))
        fails = {name: each for name, each in known.items() if each.relies and not NoReliance(None, each).tolerates()}
        adjusted = dict(zip(known, statistics.holm([_p(each) for each in known.values()]), strict=True))
        accused = {name: each for name, each in fails.items() if adjusted[name] <= _LEVEL}
        if accused:
            worst = _worst(accused)
            said = f"the model relies on the masked pixels{_named(by, list(accused))}: {worst.verdict}"
            record = replace(deciding(record, worst), figure=worst.figure, outcome="failed")
            return replace(record, finding=said, advice=self.advice(record))
        if unclear := [name for name, each in found.items() if name in fails or _undecided(each)]:
            reason = _said(found[unclear[0]])
            return replace(record, outcome="invalid", reason=f"undecided{_named(by, unclear)}: {reason}")
        worst, weak = _worst(known), [name for name, each in known.items() if each.weak]
        groups = f" in any of {len(found)} values of {by}" if any(found) else ""
        claim = f"relies weakly on the masked pixels{_named(by, weak)}, which fails from a loss of {RELIES:.2f}"
        said = f"the model {claim if weak else f'does not rely on the masked pixels{groups}'}: {worst.verdict}"
        return replace(deciding(record, worst), figure=worst.figure, outcome="passed", finding=said)

    def finding(self, record: Record, figure: float, bound: float) -> str:
        return record.finding

    def advice(self, record: Record) -> str:
        return (
            "look at the picture: if the masks contain nothing of the object, break the link between these pixels and the class "
            "in the training data of these groups (crop or cover them, or mix them over the classes), and train again"
        )


def _asked(model: Any, cases: list[Case], on: str) -> Reliance | str:
    try:
        images, masks = [case.read_image() for case in cases], [case.read_mask(on) for case in cases]
        return reliance(model, images, masks, [case.target for case in cases])
    except HeatmapError as error:
        return str(error)


def _named(by: str | None, groups: Iterable[str]) -> str:
    return f" for {by} {', '.join(groups)}" if any(groups) else ""


def _worst(groups: Mapping[str, Reliance]) -> Reliance:
    """The group that relies most: one that relies comes before one that does not, lost decisions before a fall."""
    return max(groups.values(), key=lambda each: (each.relies is True, each.by_loss, each.figure))


def _undecided(found: Reliance | str) -> bool:
    return isinstance(found, str) or found.relies is None


def _p(found: Reliance) -> float:
    return 1.0 if found.p_value is None else found.p_value


def _said(found: Reliance | str) -> str:
    return found if isinstance(found, str) else f"{found.images} images: {found.verdict}"


def _draw(found: Mapping[str, Reliance | str], record: Record) -> Image:
    """The picture of the group with the largest fall."""
    known = [each for each in found.values() if isinstance(each, Reliance)]
    if known:
        return max(known, key=lambda each: each.effect).picture
    return overlay.draw_panels([picture.NOTHING], title=messages.headline(record))
