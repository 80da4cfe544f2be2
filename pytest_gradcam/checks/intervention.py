"""What one image's prediction owes to a masked place: several fills replace it, and they have to agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.checks import margins
from pytest_gradcam.checks.donors import hold_the_same
from pytest_gradcam.checks.margins import FillResult
from pytest_gradcam.checks.masked_image import MaskedImage, common_level, heat_of, read_masked_image, scores_of
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.questions.explained_model import ExplainedModel, ModelInput, Question
from pytest_gradcam.questions.lead import Lead
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target

if TYPE_CHECKING:
    from PIL.Image import Image

_DONORS = 4  # other images whose pixels are pasted in
_OTHERS = 9  # other images that are looked at: with all the rest, a check is at most 32 images, two batches of 16
#: How each fill is called in a row. The first three decide; clean models break on the others (docs/interventions.md).
_LABELS = {"colour": "colour", "inpaint": "inpainted", "paste": "pasted", "blur": "blurred", "noise": "noise"}
_DECIDING = ("colour", "inpaint", "paste")


@dataclass(frozen=True)
class _Change:
    """An image with one region filled: region 0 is the mask, the others are controls; `donor` numbers the others."""

    fill: str
    region: int
    image: ModelInput
    donor: int = -1


@dataclass(frozen=True)
class _Tried:
    """A change, its scores (classes,), and the fall of the margin in units."""

    change: _Change
    scores: NDArray[np.float32]
    fall: float


@dataclass(frozen=True)
class _Findings:
    """Everything that one check found out about one image."""

    place: MaskedImage
    lead: Lead
    scores: NDArray[np.float32]
    unit: float
    beside: int
    tried: list[_Tried]
    controls: int
    rest: float
    fallback: bool

    def at_mask(self, fill: str) -> list[_Tried]:
        return [one for one in self.tried if one.change.fill == fill and one.change.region == 0]

    def result(self, fill: str) -> FillResult:
        """The fall with this fill, and the mean fall in the control regions.

        Where none fits, all the rest of the view is the control if it is no smaller than the mask; else there is none.
        """
        control = [one.fall for one in self.tried if one.change.fill == fill and one.change.region]
        fall = float(np.mean([one.fall for one in self.at_mask(fill)]))
        if control:
            return FillResult(_LABELS[fill], fall, float(np.mean(control)))
        large = 2 * self.place.mask.sum() > (~self.place.padding).sum()
        rest = "all the rest (the mask's shape fits nowhere else)"
        return FillResult(_LABELS[fill], fall, None if large else self.rest, rest)

    @property
    def blind(self) -> bool:
        """Whether nothing here could make the class fall: it needs no evidence, and no other class's was brought in."""
        return self.fallback and not self.at_mask("paste")

    def results(self) -> list[FillResult]:
        """Those that decide."""
        return [self.result(fill) for fill in _DECIDING if self.at_mask(fill)]


def assert_ignores(
    model: ExplainedModel,
    image: Any,
    mask: Any,
    *,
    target: Target = None,
    others: Sequence[Any] = (),
    at_most: float = 0.25,
) -> None:
    """Replacing the masked pixels leaves the prediction: the margin of the target falls by at most this.

    The margin is the lead of the target's logit over the best other class (over the other class of a `Contrast`; of a
    multi-label model the logit itself).
    A fall of 1 is the lead that the model's first class has over the second: in this image or, where `others` are
    passed, in the mean over it and up to nine of them, images of the same size for the model. The pixels take one
    colour, are inpainted and, where others are passed, filled with theirs, of another class if there are such: these
    decide, and have to agree. Blur and noise are for information. Control regions of the mask's size and shape
    elsewhere say what any change of this size does. One call scores 32 images at the most.
    One image is not certain: `reliance` on a set of images is (docs/interventions.md).
    Raises FocusError if the margin falls by more with every fill; HeatmapError if the fills disagree, if a control
    region costs more than half as much or fits nowhere, if a target that is not predicted gains more, if the target
    is also the model's answer to the mean colour alone and no other brings in another class's pixels, and for
    malformed images, masks and bounds (0 < at_most <= 1).
    """
    check = Record(check="ignores", measure="fall of the margin", bound=at_most, direction="at_most")
    _judge_each(model, check, image, mask, target, others)


def assert_relies_on(
    model: ExplainedModel,
    image: Any,
    mask: Any,
    *,
    target: Target = None,
    others: Sequence[Any] = (),
    at_least: float = 0.5,
) -> None:
    """Replacing the masked pixels costs the prediction: the margin of the target falls by at least this.

    Arguments, units, fills and controls are those of `assert_ignores`; 0 < at_least <= 1, and at 1 the lead is lost.
    Raises FocusError if the margin falls by less with every fill; HeatmapError if that cannot be decided.
    """
    check = Record(check="relies_on", measure="fall of the margin", bound=at_least)
    _judge_each(model, check, image, mask, target, others)


def _judge_each(model: ExplainedModel, check: Record, image: Any, mask: Any, target: Target, others: Any) -> None:
    for question in model.questions(image, target):
        _judge(model, check, image, mask, question, others)


def _judge(model: ExplainedModel, check: Record, image: Any, mask: Any, question: Question, others: Any) -> None:
    kept: list[_Findings] = []

    def measure(check: Record) -> Record:
        check = replace(check, bound=margins.margin_bound(check.direction, check.bound))
        found = _find(model, read_masked_image(model.engine, image, mask), question, others)
        kept.append(found)
        check = _described(model, check, found, question)
        try:
            return _settled(check, found)
        except HeatmapError as error:  # here, so that the figures stay on the record
            return settle.undecided(check, error)

    settle.judge(check, measure, lambda record: _draw(model, record, kept, question))


def _find(model: ExplainedModel, place: MaskedImage, question: Question, others: Any) -> _Findings:
    """Fills the mask and the controls, and has everything scored in one call."""
    beside = _beside(model, place, others)
    forbidden = place.padding | (fills.soft(place.mask) > 0)
    regions = [place.mask, *control_regions.elsewhere(place.mask, forbidden)]
    level = common_level([place, *beside])
    changes = _changes(place, regions, beside, level)
    rest = place.at(~place.mask).filled(fills.colour, level=level)
    scores = scores_of(
        model.engine, [place.one, *(p.one for p in beside), *(one.image for one in changes), place.emptied(level), rest]
    )
    if not np.ptp(scores, axis=0).any():
        raise HeatmapError(
            "the model gives every image the same scores, so it ignores them altogether; check the weights"
        )
    seen, after = scores[: 1 + len(beside)], scores[1 + len(beside) :]
    lead = model.lead(question.target, scores[0])
    unit = margins.unit(seen, lead.of(seen) if lead.alone else None)
    falls = (lead.of(scores[:1]) - lead.of(after)) / unit
    tried = [_Tried(*both) for both in zip(changes, after, falls.tolist(), strict=False)]
    telling = [one for one in tried if one.change.donor < 0 or not lead.is_predicted(seen[1 + one.change.donor])]
    fallback = bool(lead.of(after[-2:-1])[0] > margins.LEVEL * unit)
    tried = telling if fallback or any(one.change.donor >= 0 for one in telling) else tried
    return _Findings(place, lead, scores[0], unit, len(beside), tried, len(regions) - 1, float(falls[-1]), fallback)


def _beside(model: ExplainedModel, place: MaskedImage, others: Any) -> list[MaskedImage]:
    """Up to so many of the other images, spread evenly, as the model sees them; with the same mask."""
    several = list(others)
    chosen = [several[k * len(several) // min(_OTHERS, len(several))] for k in range(min(_OTHERS, len(several)))]
    ready = [model.engine.read(other) for other in chosen]
    for one in ready:
        if one.pixels.shape != place.pixels.shape:
            raise HeatmapError(
                f"{one.name} of others is {one.pixels.shape} for the model, the image {place.pixels.shape}; "
                "pass others of one size"
            )
    return [replace(place, one=one, pixels=one.pixels) for one in ready]


def _changes(
    place: MaskedImage, regions: Sequence[NDArray[np.bool_]], beside: Sequence[MaskedImage], level: fills.Floats
) -> list[_Change]:
    made = [_Change("blur", 0, place.filled(fills.blur)), _Change("noise", 0, place.filled(fills.noise))]
    donors = [i for i, other in enumerate(beside) if not hold_the_same(place, other.pixels)][:_DONORS]
    for number, region in enumerate(regions):
        there = place.at(region)
        made.append(_Change("colour", number, there.filled(fills.colour, level=level)))
        made.append(_Change("inpaint", number, there.filled(fills.inpaint)))
        for i in donors:
            made.append(_Change("paste", number, there.filled(fills.paste, other=beside[i].pixels), i))
    return made


def _settled(check: Record, found: _Findings) -> Record:
    """The record with its verdict. Raises HeatmapError where the fills do not bear one."""
    assert check.bound is not None
    bound, wanted, results = check.bound, check.direction == "at_least", found.results()
    more = "use reliance() on a set of images"
    moves = margins.moved(
        results,
        lambda fall: fall < bound if wanted else fall <= bound,
        advice=more if found.beside else f"pass others=, or {more}",
    )
    falls = [result.fall for result in results]
    if not moves and not wanted and found.blind:
        raise HeatmapError(
            f"{check.target!r} is also what the model answers where there is nothing to see, so it would not fall when its "
            "evidence is taken away, wherever that lies; pass others= that are predicted as another class, or an image of "
            "another class"
        )
    if not moves and not wanted and messages.is_mispredicted(check) and -min(falls) > bound:
        raise HeatmapError(
            f"without these pixels the margin of {check.target!r} {margins.change(min(falls))}: they speak against it, and may "
            f"well carry {check.predicted!r}, which the model predicts; leave target out to ask what the prediction owes them"
        )
    # The figure is that of the fill that speaks against the verdict the most, and even it does so not enough.
    figure = min(falls) if moves else max(falls)
    finding = (
        f"the margin of {check.target!r} {_reach(figure, bound, moves)} with every fill of the "
        f"{'masked pixels' if wanted else 'pixels to ignore'}; expected a fall of {check.direction.replace('_', ' ')} "
        f"{messages.number(bound)}"
    )
    return replace(
        check,
        outcome="passed" if moves is wanted else "failed",
        figure=figure,
        finding=finding,
        advice=_advice(check, found),
    )


def _reach(figure: float, bound: float, moves: bool) -> str:
    """How far the margin falls at the least, if it does; how far at the most, if it does not."""
    if figure < 0:
        return f"rises by at least {messages.number(-figure)} units"
    return f"falls by {'at least' if moves else 'at most'} {messages.number(figure, unlike=bound)} units"


def _advice(check: Record, found: _Findings) -> str:
    if messages.is_mispredicted(check):
        return (
            f"look at the picture; the model {messages.predicts(check)}, so settle the prediction first, or leave target "
            "out to see what it was predicted by"
        )
    more = "how certain this is, reliance(images, masks) on a set of images says"
    if not found.beside:
        more += "; others= makes a single one more certain"
    if check.direction == "at_least":
        return f"look at the picture: if the outline is right, something else in the image carries the class; {more}"
    return f"look at the picture: if the mask holds nothing of the object, these pixels are a shortcut; {more}"


def _described(model: ExplainedModel, check: Record, found: _Findings, question: Question) -> Record:
    """The record with the image, the target, and a row for each fill."""
    rows = [(_LABELS[fill], _phrase(model, found, fill)) for fill in _LABELS if found.at_mask(fill)]
    few = "the image's own lead" if not found.beside else f"the mean lead over {1 + found.beside} images"
    lead = (
        "of the class over 0, where it is neither found nor missed"
        if found.lead.alone
        else "of the first class over the second"
    )
    return replace(
        check,
        **asdict(model.subject(found.place.one, found.scores, question.target)),
        view=found.place.one.shape,
        mask_area=float(found.place.mask.mean()),
        details=(
            *rows,
            ("rest", f"with all the rest replaced instead, the margin {margins.change(found.rest)}"),
            ("unit", f"one unit is {found.unit:.3g} of logit: {few} {lead}"),
        ),
    )


def _phrase(model: ExplainedModel, found: _Findings, fill: str) -> str:
    """What one fill did to the class and the score."""
    first, index = found.at_mask(fill)[0], found.lead.index
    before, after = (_predicted(model, found.lead, row) for row in (found.scores, first.scores))
    stays = f"{after!r} stays" if before == after else f"{before!r} becomes {after!r}"
    result, times = found.result(fill), len(found.at_mask(fill))
    mean = f"in the mean over {times} other images, " if times > 1 else ""
    control = _against(result) if found.controls and fill in _DECIDING else ""
    note = "" if fill in _DECIDING else " (for information)"
    return (
        f"{stays}, score {found.scores[index]:.3g} to {first.scores[index]:.3g}; {mean}the margin "
        f"{margins.change(result.fall)}{control}{note}"
    )


def _predicted(model: ExplainedModel, lead: Lead, row: NDArray[np.float32]) -> str:
    """What the model predicts; where classes do not compete, whether it finds the one that is asked about."""
    if not lead.alone:
        return model.engine.names.name(int(row.argmax()))
    return ("" if lead.is_predicted(row) else "no ") + model.engine.names.name(lead.index)


def _against(result: FillResult) -> str:
    """What the same fill does in the control regions, to be read after what it does in the mask."""
    if result.control is None:
        return ""
    change = margins.change(result.control)
    if change.split()[0] == margins.change(result.fall).split()[0]:
        return f", in control regions by {abs(result.control):.2f}"
    return f", in control regions it {change}"


def _draw(model: ExplainedModel, record: Record, kept: Sequence[_Findings], question: Question) -> Image:
    title = messages.title(record)
    lines = [f"{label:<11}{phrase}" for label, phrase in messages.rows(record) if label != "picture"]
    if not kept:
        return overlay.draw_panels([overlay.Panel(np.full((64, 128, 3), 255, np.uint8))], title=title, lines=lines)
    found = kept[0]
    view, mask, index = found.place.one.look()[0], found.place.mask, found.lead.index
    panels = [overlay.Panel(view, mask=mask, caption=f"{record.target}: {found.scores[index]:.3g}")]
    for fill, label in _LABELS.items():
        for one in found.at_mask(fill)[:1]:
            caption = f"{label}: {one.scores[index]:.3g}, margin {margins.change(one.fall)}"
            panels.append(overlay.Panel(one.change.image.look()[0], mask=mask, caption=caption))
    heat = heat_of(model.engine, found.place.one, index, question)
    if heat is not None:
        panels.insert(2, overlay.Panel(view, heat, mask, caption=f"heatmap of {record.target}"))
    return overlay.draw_panels(panels, title=title, lines=lines)
