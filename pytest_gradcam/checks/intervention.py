"""Whether one image's prediction depends on masked pixels: several fills replace them, and the fills have to agree."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.checks import margins
from pytest_gradcam.checks.answers import Answers, answers
from pytest_gradcam.checks.donors import hold_the_same
from pytest_gradcam.checks.margins import MARGIN, FillResult, Wording
from pytest_gradcam.checks.masked_image import MaskedImage, common_level, heat_of, read_masked_image
from pytest_gradcam.checks.samples import content, distinct
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import messages, settle
from pytest_gradcam.evidence.check import Check
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.questions.explained_model import ExplainedModel, Question
from pytest_gradcam.questions.protocols import ModelInput
from pytest_gradcam.replacement import control_regions, fills
from pytest_gradcam.targets import Target
from pytest_gradcam.validation import each_of, listed

if TYPE_CHECKING:
    from PIL.Image import Image

_DONORS = 4  # other images whose pixels are pasted in
_OTHERS = 9  # other images that are used: a check then scores at most 32 images, two batches of 16
#: What each fill is called in a row. The first three decide; clean models fail on the others (docs/interventions.md).
_LABELS = {"colour": "colour", "inpaint": "inpainted", "paste": "pasted", "blur": "blurred", "noise": "noise"}
_DECIDING = ("colour", "inpaint", "paste")


@dataclass(frozen=True)
class _Change:
    """An image with one region filled: region 0 is the mask, the rest are controls; `donor` is an index into others."""

    fill: str
    region: int
    image: ModelInput
    donor: int = -1


@dataclass(frozen=True)
class _Scored:
    """A change, its place among all of them, and the fall in units."""

    change: _Change
    place: int
    fall: float


@dataclass(frozen=True)
class _Findings:
    """Everything that a check found out about one image; `beside` of the `passed` other images were used."""

    image: MaskedImage
    answers: Answers
    beside: int
    passed: int
    changes: list[_Scored]
    controls: int
    rest: float

    @property
    def wording(self) -> Wording:
        return self.answers.wording

    def at_mask(self, fill: str) -> list[_Scored]:
        return [scored for scored in self.changes if scored.change.fill == fill and scored.change.region == 0]

    def result(self, fill: str) -> FillResult:
        """The fall with this fill, and the mean fall in the control regions.

        If no control region fits, the rest of the view is the control, unless it is smaller than the mask.
        """
        control = [scored.fall for scored in self.changes if scored.change.fill == fill and scored.change.region]
        fall = float(np.mean([scored.fall for scored in self.at_mask(fill)]))
        if control:
            return FillResult(_LABELS[fill], fall, float(np.mean(control)))
        large = 2 * self.image.mask.sum() > (~self.image.padding).sum()
        rest = "all the rest (the mask's shape fits nowhere else)"
        return FillResult(_LABELS[fill], fall, None if large else self.rest, rest)

    @property
    def blind(self) -> bool:
        """Whether no change could make the class fall: it needs no evidence, and none for another class was pasted in."""
        return self.answers.needs_nothing and not self.at_mask("paste")

    def results(self) -> list[FillResult]:
        """The results of the fills that decide."""
        return [self.result(fill) for fill in _DECIDING if self.at_mask(fill)]


@dataclass(frozen=True)
class _OnMargin(Check):
    """A bound on the fall of the margin under every fill; `others` are further images, which make it more certain."""

    others: Sequence[Any]
    wording: Wording = MARGIN

    measure = MARGIN.measure
    replaced: ClassVar[str]
    suspicion: ClassVar[str]

    def plain_bound(self) -> float:
        return margins.margin_bound(self.direction, self.bound)

    @abstractmethod
    def keeps(self, fall: float, bound: float) -> bool:
        """Whether the margin counts as unmoved."""

    @abstractmethod
    def accepts(self, record: Record, found: _Findings, falls: Sequence[float]) -> None:
        """Raises HeatmapError if a margin that no fill moves does not show what the check asserts."""

    def judged(self, record: Record, found: _Findings) -> Record:
        """The record decided. Raises HeatmapError if the fills do not allow a verdict."""
        assert record.bound is not None
        bound, results, more = record.bound, found.results(), "use reliance() on a set of images"
        advice = more if found.beside else f"pass others=, or {more}"
        moves = margins.moved(results, lambda fall: self.keeps(fall, bound), advice=advice, wording=found.wording)
        falls = [result.fall for result in results]
        if not moves:
            self.accepts(record, found, falls)
        # The figure is that of the fill that speaks most against the verdict, and even that is not enough to change it.
        return replace(self, wording=found.wording).decided(record, min(falls) if moves else max(falls))

    def finding(self, record: Record, figure: float, bound: float) -> str:
        verb = "moves" if self.wording.two_sided else "falls"
        side = "at most" if self.keeps(figure, bound) else "at least"
        falls = f"{verb} by {side} {messages.number(figure, unlike=bound)} units"
        rises = f"rises by at least {messages.number(-figure)} units"
        return (
            f"the {self.wording.noun} of {record.target!r} {rises if figure < 0 else falls} with every fill of the "
            f"{self.replaced}; expected a {verb[:-1]} of {self.direction.replace('_', ' ')} {messages.number(bound)}"
        )

    def advice(self, record: Record) -> str:
        if messages.is_mispredicted(record):
            return (
                f"look at the picture; the model {messages.predicts(record)}, so look into the prediction first, or "
                "leave target out to see what the prediction is based on"
            )
        more = "reliance(images, masks) on a set of images says how certain this is"
        if not self.others:
            more += "; others= makes a single image more certain"
        return f"look at the picture: {self.suspicion}; {more}"


class Ignores(_OnMargin):
    """Replacing the masked pixels leaves the margin: it falls by at most this."""

    name, direction, replaced = "ignores", "at_most", "pixels to ignore"
    suspicion = "if the mask contains nothing of the object, these pixels are a shortcut"

    def keeps(self, fall: float, bound: float) -> bool:
        return fall <= bound

    def accepts(self, record: Record, found: _Findings, falls: Sequence[float]) -> None:
        assert record.bound is not None
        if found.blind and record.predicted_index is not None:
            raise HeatmapError(
                f"{record.target!r} is also what the model predicts for a blank image, so its margin would not fall "
                "wherever the evidence was removed; pass others= that are predicted as another class, or an "
                "image of another class"
            )
        if found.blind:
            raise HeatmapError(
                f"the {found.wording.noun} of {record.target!r} is much the same where there is nothing to see, so it would not "
                "move when its evidence is taken away, wherever that lies; pass others= that differ from the image in it, or "
                "another image"
            )
        if messages.is_mispredicted(record) and -min(falls) > record.bound:
            raise HeatmapError(
                f"without these pixels the margin of {record.target!r} {MARGIN.change(min(falls))}: they are "
                f"evidence against it, and perhaps for {record.predicted!r}, which the model predicts; leave target "
                "out to ask whether the "
                "prediction depends on them"
            )


class ReliesOn(_OnMargin):
    """Replacing the masked pixels costs the margin: it falls by at least this."""

    name, replaced = "relies_on", "masked pixels"
    suspicion = "if the outline is right, something else in the image carries the class"

    def keeps(self, fall: float, bound: float) -> bool:
        return fall < bound

    def accepts(self, record: Record, found: _Findings, falls: Sequence[float]) -> None:
        """A margin that no fill moves shows it: the check fails."""


def assert_ignores(
    model: ExplainedModel,
    image: Any,
    mask: Any,
    *,
    target: Target = None,
    others: Sequence[Any] = (),
    at_most: float = 0.25,
) -> None:
    """Replacing the masked pixels does not change the prediction: the margin of the target falls by at most this.

    The margin is the lead of the target's logit over the best other class (over the other class of a `Contrast`; in a
    multi-label model, the logit itself).
    A fall of 1 equals the lead of the model's first class over the second: in this image or, if `others` are passed, in
    the mean over it and up to nine of them, which must have the same size for the model. The pixels are replaced by one
    colour, by inpainting and, if others are passed, by theirs, from another class if possible: these three decide, and
    have to agree. Blur and noise are for information. Control regions of the mask's size and shape elsewhere show what
    any change of this size does. One call scores at most 32 images.
    A verdict on one image is uncertain; `reliance` takes a set of images (docs/interventions.md).
    Raises FocusError if the margin falls by more with every fill; HeatmapError if the fills disagree, if a control
    region costs more than half as much or fits nowhere, if a target that is not predicted gains more, if the target
    is also the model's answer to the mean colour alone and no other image brings in another class's pixels, and for
    malformed images, masks and bounds (0 < at_most <= 1).
    """
    check = Ignores(at_most, tuple(listed("others", others)))
    for question in model.questions(image, target):
        _judge(model, check, image, mask, question)


def assert_relies_on(
    model: ExplainedModel,
    image: Any,
    mask: Any,
    *,
    target: Target = None,
    others: Sequence[Any] = (),
    at_least: float = 0.5,
) -> None:
    """The prediction depends on the masked pixels: replacing them lowers the margin of the target by at least this.

    Arguments, units, fills and controls are those of `assert_ignores`; 0 < at_least <= 1, and at 1 the lead is lost.
    Raises FocusError if the margin falls by less with every fill; HeatmapError if that cannot be decided.
    """
    check = ReliesOn(at_least, tuple(listed("others", others)))
    for question in model.questions(image, target):
        _judge(model, check, image, mask, question)


def _judge(model: ExplainedModel, check: _OnMargin, image: Any, mask: Any, question: Question) -> None:
    findings: list[_Findings] = []

    def measure(record: Record) -> Record:
        record = check.checked(record)
        assert record.bound is not None
        found = _find(model, read_masked_image(model.engine, image, mask), question, check.others, record.bound)
        findings.append(found)
        record = _described(record, found)
        try:
            return check.judged(record, found)
        except HeatmapError as error:  # here, so that the figures stay on the record
            return settle.undecided(record, error)

    settle.judge(check.record(Subject()), measure, lambda record: _draw(model, record, findings, question))


def _find(
    model: ExplainedModel, image: MaskedImage, question: Question, others: Sequence[Any], bound: float
) -> _Findings:
    """Fills the mask and the controls, and has all images scored in one call."""
    beside = _beside(model, image, others)
    forbidden = image.padding | (fills.soft(image.mask) > 0)
    regions = [image.mask, *control_regions.elsewhere(image.mask, forbidden)]
    level = common_level([image, *beside])
    changes = _changes(image, regions, beside, level)
    rest = image.at(~image.mask).filled(fills.colour, level=level)
    unchanged = [masked.image_input for masked in (image, *beside)]
    found = answers(
        model, question.target, unchanged, [*(change.image for change in changes), image.emptied(level), rest], bound
    )
    scored = [_Scored(change, place, float(found.falls[place])) for place, change in enumerate(changes)]
    telling = [each for each in scored if each.change.donor < 0 or found.telling[each.change.donor]]
    scored = telling if found.needs_nothing or any(each.change.donor >= 0 for each in telling) else scored
    return _Findings(image, found, len(beside), len(others), scored, len(regions) - 1, float(found.falls[-1]))


def _beside(model: ExplainedModel, image: MaskedImage, others: Sequence[Any]) -> list[MaskedImage]:
    """The different ones of the other images as the model sees them, with the same mask: at most `_OTHERS`, by content."""
    inputs = each_of("others", others, model.engine.read)
    for other in inputs:
        if other.pixels.shape != image.pixels.shape:
            raise HeatmapError(
                f"{other.name} in others has shape {other.pixels.shape} for the model, the image {image.pixels.shape}; "
                "pass others of one size"
            )
    found = [replace(image, image_input=other, pixels=other.pixels) for other in inputs]
    new = [found[i] for i in distinct(found, [None] * len(found)) if content(found[i]) != content(image)]
    return new[:_OTHERS]


def _changes(
    image: MaskedImage, regions: Sequence[NDArray[np.bool_]], beside: Sequence[MaskedImage], level: fills.Floats
) -> list[_Change]:
    made = [_Change("blur", 0, image.filled(fills.blur)), _Change("noise", 0, image.filled(fills.noise))]
    donors = [i for i, other in enumerate(beside) if not hold_the_same(image, other.pixels)][:_DONORS]
    for number, region in enumerate(regions):
        there = image.at(region)
        made.append(_Change("colour", number, there.filled(fills.colour, level=level)))
        made.append(_Change("inpaint", number, there.filled(fills.inpaint)))
        for i in donors:
            made.append(_Change("paste", number, there.filled(fills.paste, other=beside[i].pixels), i))
    return made


def _described(record: Record, found: _Findings) -> Record:
    """The record with the image, the target, and a row for each fill."""
    rows = [(_LABELS[fill], _phrase(found, fill)) for fill in _LABELS if found.at_mask(fill)]
    wording = found.wording
    return replace(
        record,
        **asdict(found.answers.subject),
        measure=wording.measure,
        view=found.image.image_input.shape,
        mask_area=float(found.image.mask.mean()),
        details=(
            *rows,
            ("rest", f"with all the rest replaced instead, the {wording.noun} {wording.change(found.rest)}"),
            ("unit", f"one unit is {found.answers.unit_said}"),
            *_others(found),
        ),
    )


def _others(found: _Findings) -> list[tuple[str, str]]:
    """That some of the others were left out, if some were."""
    if found.passed == found.beside:
        return []
    return [
        (
            "others",
            f"{found.beside} of the {found.passed} passed were used: copies do not count, and at most {_OTHERS} are used",
        )
    ]


def _phrase(found: _Findings, fill: str) -> str:
    """What one fill does to the target and its score."""
    result, times = found.result(fill), len(found.at_mask(fill))
    mean = f"on average over {times} other images, " if times > 1 else ""
    control = _against(result, found.wording) if found.controls and fill in _DECIDING else ""
    note = "" if fill in _DECIDING else " (for information)"
    said = found.answers.said(found.at_mask(fill)[0].place)
    return f"{said}; {mean}the {found.wording.noun} {found.wording.change(result.fall)}{control}{note}"


def _against(result: FillResult, wording: Wording) -> str:
    """What the same fill does in the control regions; it follows what the fill does in the mask."""
    if result.control is None:
        return ""
    change = wording.change(result.control)
    if change.split()[0] == wording.change(result.fall).split()[0]:
        return f", in control regions by {abs(result.control):.2f}"
    return f", in control regions it {change}"


def _draw(model: ExplainedModel, record: Record, findings: Sequence[_Findings], question: Question) -> Image:
    title, lines = messages.title(record), messages.lines(record)
    if not findings:
        return overlay.draw_panels([overlay.Panel(np.full((64, 128, 3), 255, np.uint8))], title=title, lines=lines)
    found = findings[0]
    image_input, mask, wording = found.image.image_input, found.image.mask, found.wording
    view = image_input.look()[0]
    panels = [overlay.Panel(view, mask=mask, caption=f"{record.target}: {record.score:.3g}")]
    for fill, label in _LABELS.items():
        for scored in found.at_mask(fill)[:1]:
            now = found.answers.caption(scored.place)
            caption = f"{label}: {now}, {wording.noun} {wording.change(scored.fall)}"
            panels.append(overlay.Panel(scored.change.image.look()[0], mask=mask, caption=caption))
    heat = heat_of(model.engine, image_input, found.answers.target, question)
    if heat is not None:
        panels.insert(2, overlay.Panel(view, heat, mask, caption=f"heatmap of {record.target}"))
    return overlay.draw_panels(panels, title=title, lines=lines)
