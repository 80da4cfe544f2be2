"""A settled check as text: what was measured, against which bound, and what to do next."""

from __future__ import annotations

import unicodedata
from collections.abc import Container

from pytest_gradcam.evidence.bounds import RELEVANCE_MASS
from pytest_gradcam.evidence.record import Centres, Direction, Record, Subject

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format and surrogate characters, line and paragraph separators
#: The advice of a check on a heatmap and a mask begins with this; where a picture of the check was drawn, it is the overlay.
LOOK, _PICTURE = "look at heatmap.overlay(mask)", "look at the picture"


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


def one_line(text: str) -> str:
    """The text as one line that a terminal only shows, and that no pipeline takes for a command to it.

    Names come from files: control characters, which move the cursor or turn text around, are written out, and the signs
    that begin a workflow command of GitHub Actions are kept apart.
    """
    shown = "".join(_written_out(sign) if unicodedata.category(sign) in _CONTROL else sign for sign in text)
    shown = shown.replace("##[", "# #[")
    start = len(shown) - len(shown.lstrip())
    return shown[:start] + ": :" + shown[start + 2 :] if shown.startswith("::", start) else shown


def inert(text: str) -> str:
    """The text with each of its lines as `one_line` has it."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def _written_out(sign: str) -> str:
    return "    " if sign == "\t" else sign.encode("unicode_escape").decode()


def headline(record: Record) -> str:
    """What was measured against what was expected, in one sentence."""
    if record.finding:
        return record.finding
    if record.figure is None or record.bound is None:
        return f"{record.check} could not be decided: {record.reason}"
    # A record of an earlier version, which the check left to be phrased.
    found, wanted = _compared(record, record.figure, record.bound)
    return f"the {record.measure} of the {attention(record)} is {found}; {expected(record.direction)} {wanted}"


def attention(record: Record) -> str:
    """Whose attention the check is about."""
    return f"attention for {record.target!r}" if record.target else "attention"


def expected(direction: Direction) -> str:
    """What comes before a bound."""
    return f"expected {direction.replace('_', ' ')}"


def title(record: Record) -> str:
    """The headline of a picture of the check."""
    if record.outcome in ("passed", "failed"):
        return f"{record.check} {record.outcome}: {headline(record)}"
    return f"no verdict on {record.check}: {record.reason}"


def brief(record: Record) -> str:
    """The figure against the bound, or why there is none, in one line."""
    if record.figure is None or record.bound is None:
        return record.reason.splitlines()[0] if record.reason else ""
    found, wanted = _compared(record, record.figure, record.bound)
    return f"{found}, {expected(record.direction)} {wanted}"


def _compared(record: Record, figure: float, bound: float) -> tuple[str, str]:
    """Figure and bound, each with the digits that tell it from the other: 49.96 % is not 50.0 %."""
    say = percent if record.measure == RELEVANCE_MASS else number
    return say(figure, unlike=bound), say(bound, unlike=figure)


def rows(record: Record) -> list[tuple[str, str]]:
    """The figures and circumstances of a check, a label and a phrase each; what is not known is left out."""
    known = [
        ("attention", _attention(record)),
        ("target", _target(record)),
        ("prediction", _prediction(record)),
        ("output", record.output),
        *record.details,
        ("peak", _peak(record)),
        ("layer", _layer(record)),
        ("model", record.model),
        ("image", record.image),
        ("picture", record.picture or ""),
    ]
    return [(label, phrase) for label, phrase in known if phrase]


def lines(record: Record, without: Container[str] = ("picture",)) -> list[str]:
    """The rows under a picture of the check, a line each."""
    return [_line(label, phrase) for label, phrase in rows(record) if label not in without]


def failure(record: Record) -> str:
    """The whole message of a check that failed."""
    return _compose(headline(record), [*rows(record), ("try", advice(record))])


def undecided(record: Record) -> str:
    """The whole message of a check on which no verdict is possible."""
    return _compose(f"no verdict on {record.check}: {record.reason}", rows(record))


def _compose(first: str, rest: list[tuple[str, str]]) -> str:
    return inert("\n".join([first, *(f"  {_line(label, phrase)}" for label, phrase in rest if phrase)]))


def _line(label: str, phrase: str) -> str:
    return f"{label:<10} {phrase}"


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
        parts.append(f"{'sigmoid' if record.task == 'multi' else 'softmax'} {record.probability:.3g}")
    return f"{record.target!r}{index}" + (": " if parts else "") + ", ".join(parts)


def is_mispredicted(subject: Subject) -> bool:
    """Whether the class that is explained is not the one that is predicted; if any number may be, not among them."""
    if subject.task == "multi":
        return subject.target_index is not None and subject.score is not None and subject.score <= 0
    return subject.predicted_index is not None and subject.predicted_index != subject.target_index


def predicts(subject: Subject) -> str:
    """What the model does instead of predicting the class that is explained, after 'the model'."""
    if subject.task != "multi":
        return f"predicts {subject.predicted!r}"
    return f"does not find {subject.target!r}, and scores {subject.predicted!r} highest"


def _prediction(record: Record) -> str:
    if not is_mispredicted(record):
        return ""
    return f"the model {predicts(record)} ({record.predicted_index})"


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
    laid = f" ({placed(record.centres)})" if record.centres else ""
    return f"{layer}grid {height} x {width} on a view of {tall} x {wide} px{laid}{method}"


def placed(centres: Centres) -> str:
    """Where the cells of a grid lie that do not tile the view."""
    (top, down), (left, across) = centres
    return f"the first cell is centred at x {left:g}, y {top:g}, and the next ones {across:g} px across and {down:g} px down"


def advice(record: Record) -> str:
    """What to do next about a check that failed; nothing, in a record of an earlier version without a picture."""
    if not record.picture:
        return record.advice
    return record.advice.replace(LOOK, _PICTURE) or _PICTURE
