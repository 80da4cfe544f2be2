"""What a check leaves behind, and the one place where a check is settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from pytest_gradcam.errors import FocusError, HeatmapError, NoEvidenceError
from pytest_gradcam.running import current

if TYPE_CHECKING:
    from PIL.Image import Image

Outcome = Literal["passed", "failed", "no evidence", "invalid"]

#: The version of the record; it changes when a field changes its meaning or goes away.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a heatmap explains, and how it was made; a field that does not apply is empty or None.

    `score` is the model's own output for the target (a logit, for a classifier), `probability` its softmax over the
    classes, `rank` its place among them, from 1.
    """

    target: str = ""
    target_index: int | None = None
    score: float | None = None
    probability: float | None = None
    rank: int | None = None
    classes: int | None = None
    predicted: str | None = None
    predicted_index: int | None = None
    model: str = ""
    layer: str = ""
    method: str = ""
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class Record(Subject):
    """One check as plain built-ins: what was asserted, about what, and how it came out.

    Shares (mass, mask_area) are fractions of the view, the image as the model saw it. Sizes and grids are
    (height, width), points are (x, y), both in pixels of the view. `finding` is the outcome in one sentence, where the
    check's own figures say it (the checks on one heatmap leave it to `messages`); `details` are a label and a phrase
    each; `advice` is what to do next.
    """

    check: str
    measure: str
    outcome: Outcome = "invalid"
    figure: float | None = None
    bound: float | None = None
    direction: Literal["at_least", "at_most"] = "at_least"
    reason: str = ""
    finding: str = ""
    details: tuple[tuple[str, str], ...] = ()
    advice: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    perturbation: str = ""
    seed: int | None = None
    mask_area: float | None = None
    mass: float | None = None
    lift: float | None = None
    peak: tuple[int, int] | None = None
    peaks: int | None = None
    grid: tuple[int, int] | None = None
    view: tuple[int, int] | None = None
    test: str = ""
    picture: str | None = None
    version: int = VERSION

    def to_plain(self) -> dict[str, Any]:
        """The record as built-ins only, which JSON, pytest-xdist and JUnit XML can carry."""
        return {key: _listed(value) for key, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Record:
        """The record that `to_plain` was called on."""
        return cls(**{key: _tupled(value) for key, value in plain.items()})


def judge(check: Record, measure: Callable[[Record], Record], draw: Callable[[Record], Image]) -> Record:
    """The check as `measure` completes it, settled; a HeatmapError that it raises makes it undecided.

    Raises as `settle` does.
    """
    try:
        record = measure(check)
    except HeatmapError as error:
        record = undecided(check, error)
    settle(record, draw)
    return record


def settle(record: Record, draw: Callable[[Record], Image]) -> None:
    """Keep the record; raise if its check did not pass.

    Raises FocusError if it failed, NoEvidenceError or HeatmapError if it could not be decided.
    """
    test = current()
    if test is not None:
        record = test.keep(record, draw)
    if record.outcome != "passed":
        _raise(record)


def _raise(record: Record) -> NoReturn:
    from pytest_gradcam import messages

    if record.outcome == "failed":
        raise FocusError(messages.failure(record))
    if record.outcome == "no evidence":
        raise NoEvidenceError(messages.undecided(record))
    raise HeatmapError(messages.undecided(record))


def undecided(record: Record, error: HeatmapError) -> Record:
    """The record of the same check, when this error kept it from being decided."""
    outcome: Outcome = "no evidence" if isinstance(error, NoEvidenceError) else "invalid"
    return replace(record, outcome=outcome, reason=str(error), figure=None)


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value
