"""A settled check as text: what was measured, against which bound, and what to do next."""

from __future__ import annotations

from pytest_gradcam.evidence.record import Record, Subject


def percent(share: float, *, unlike: float | None = None) -> str:
    """A share as '12.3 %', with as many digits as it takes to be told apart from `unlike`."""
    for digits in range(1, 12):
        text = f"{100 * share:.{digits}f}"
        if unlike is None or share == unlike or text != f"{100 * unlike:.{digits}f}":
            break
    return f"{text} %"


def number(value: float, *, unlike: float | None = None, unit: str = "") -> str:
    """A number with three significant digits, or as many as it takes to be told apart from `unlike`."""
    for digits in range(3, 17):
        text = f"{value:.{digits}g}"
        if unlike is None or value == unlike or text != f"{unlike:.{digits}g}":
            break
    return text + unit


def headline(record: Record) -> str:
    """What was measured against what was expected, in one sentence."""
    figure, bound = record.figure, record.bound
    if record.finding:
        return record.finding
    if figure is None or bound is None:
        return f"{record.check} could not be decided: {record.reason}"
    whose = f"attention for {record.target!r}" if record.target else "attention"
    limit = f"expected {record.direction.replace('_', ' ')}"
    if record.measure == "lift":
        return _lift_headline(record, figure, bound, whose, limit)
    # Each with the digits that tell it from the other: 49.96 % is no '50.0 %; expected at least 50.0 %'.
    if record.check in ("focus_within", "focus_avoids"):
        where = "the mask to avoid" if record.check == "focus_avoids" else "the mask"
        found, wanted = percent(figure, unlike=bound), percent(bound, unlike=figure)
        return f"{found} of the {whose} lies inside {where}; {limit} {wanted}"
    found, wanted = number(figure, unlike=bound), number(bound, unlike=figure)
    if record.check == "peak_within":
        place = "inside the mask" if figure == 0 else f"{found} px away from the mask"
        return f"the {whose} peaks {place}; expected {'it inside' if bound == 0 else f'at most {wanted} px'}"
    if "threshold" in record.parameters:
        above = f"above {number(record.parameters['threshold'])} of its maximum"
        return f"the {whose} {above} has an IoU of {found} with the mask; {limit} {wanted}"
    return f"the {record.measure} of the {whose} is {found}; {limit} {wanted}"


def title(record: Record) -> str:
    """The headline of a picture of the check."""
    if record.outcome in ("passed", "failed"):
        return f"{record.check} {record.outcome}: {headline(record)}"
    return f"no verdict on {record.check}: {record.reason}"


def _lift_headline(record: Record, figure: float, bound: float, whose: str, limit: str) -> str:
    """Both the lift and the share, of what was measured and of what was expected."""
    area, mass = record.mask_area or 0.0, record.mass or 0.0
    where = "the mask to avoid" if record.check == "focus_avoids" else "the mask"
    return (
        f"the {whose} has a lift of {number(figure, unlike=bound)} on {where}, {percent(mass, unlike=bound * area)} of it; "
        f"{limit} {number(bound, unlike=figure)}, {percent(bound * area, unlike=mass)} on {percent(area)} of the view"
    )


def brief(record: Record) -> str:
    """The figure against the bound, or why there is none, in one line."""
    figure, bound = record.figure, record.bound
    if figure is None or bound is None:
        return record.reason.splitlines()[0] if record.reason else ""
    say = percent if record.measure == "relevance mass" else number
    return f"{say(figure, unlike=bound)}, expected {record.direction.replace('_', ' ')} {say(bound, unlike=figure)}"


def rows(record: Record) -> list[tuple[str, str]]:
    """The figures and circumstances of a check, a label and a phrase each; what is not known is left out."""
    known = [
        ("attention", _attention(record)),
        ("target", _target(record)),
        ("prediction", _prediction(record)),
        *record.details,
        ("peak", _peak(record)),
        ("layer", _layer(record)),
        ("model", record.model),
        ("image", record.image),
        ("picture", record.picture or ""),
    ]
    return [(label, phrase) for label, phrase in known if phrase]


def failure(record: Record) -> str:
    """The whole message of a check that failed."""
    return _compose(headline(record), [*rows(record), ("try", advice(record))])


def undecided(record: Record) -> str:
    """The whole message of a check on which no verdict is possible."""
    return _compose(f"no verdict on {record.check}: {record.reason}", rows(record))


def _compose(first: str, rest: list[tuple[str, str]]) -> str:
    return "\n".join([first, *(f"  {label:<11}{phrase}" for label, phrase in rest)])


def _attention(record: Record) -> str:
    if record.mass is None or record.mask_area is None or record.lift is None:
        return ""
    return (
        f"{percent(record.mass)} of the relevance mass on {percent(record.mask_area)} of the view, "
        f"lift {record.lift:.2f} (1 is chance)"
    )


def _target(record: Record) -> str:
    if not record.target:
        return ""
    index = f" ({record.target_index})" if record.target_index is not None else ""
    parts = [f"score {record.score:.4g}"] if record.score is not None else []
    if record.rank is not None:
        parts.append(f"rank {record.rank} of {record.classes}")
    if record.probability is not None:
        parts.append(f"softmax {record.probability:.3g}")
    return f"{record.target!r}{index}" + (": " if parts else "") + ", ".join(parts)


def is_mispredicted(subject: Subject) -> bool:
    """Whether the class that is explained is not the one that is predicted."""
    return subject.predicted_index is not None and subject.predicted_index != subject.target_index


def _prediction(record: Record) -> str:
    if not is_mispredicted(record):
        return ""
    return f"the model predicts {record.predicted!r} ({record.predicted_index})"


def _peak(record: Record) -> str:
    if record.peak is None:
        return ""
    more = f", the first of {record.peaks} equal maxima" if record.peaks is not None and record.peaks > 1 else ""
    return f"x {record.peak[0]}, y {record.peak[1]} in the view{more}"


def _layer(record: Record) -> str:
    if record.grid is None or record.view is None:
        return ""
    (height, width), (tall, wide) = record.grid, record.view
    layer = f"{record.layer}, " if record.layer else ""
    method = f", method {record.method}" if record.method else ""
    return f"{layer}grid {height} x {width} on a view of {tall} x {wide} px{method}"


def advice(record: Record) -> str:
    """What to do next about a check that failed."""
    if record.advice:
        return record.advice
    look = "look at the picture" if record.picture else "look at heatmap.overlay(mask)"
    if record.rank is not None and record.rank > 1:
        return (
            f"{look}; the model predicts {record.predicted!r}, so settle the prediction first, "
            "or leave target out to see what it was predicted by"
        )
    return f"{look}; {_next(record)}"


def _next(record: Record) -> str:
    """What to try where the outline of the mask is right."""
    lift = record.lift
    if lift is not None and record.direction == "at_least" and lift >= 1.5:
        return (
            f"the attention does favour the mask (lift {lift:.1f}): if its outline is right, a mask of this size may need "
            "a lower bound, or a target layer with a finer grid"
        )
    if lift is not None and record.check == "focus_avoids" and lift <= 1 / 1.5:
        return (
            f"the attention does keep off the mask (lift {lift:.2g}): if its outline is right, a mask of "
            f"{percent(record.mask_area or 0)} of the view may need a higher bound, or a lift: at_most=masks.lift(0.5)"
        )
    if record.target_index is None:  # the checks that replace pixels are about classes
        return "if the outline is right, change these pixels and see whether the prediction follows them"
    call = "assert_ignores" if record.check == "focus_avoids" else "assert_relies_on"
    return f"if the outline is right, gradcam.{call}(image, mask) says whether the prediction hangs on these pixels"
