"""What a check leaves behind: one record of plain built-ins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from pytest_gradcam.evidence.plain import checked

Direction = Literal["at_least", "at_most"]
Outcome = Literal["passed", "failed", "no evidence", "invalid"]

#: The version of the record; it changes when a field is added, changes its meaning or goes away.
VERSION = 4

#: Down and across: the pixel at which the first cell of a grid is centred, counted from 0, and the distance of the cells.
Centres = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a heatmap explains, and how it was made; a field that does not apply is empty or None.

    `score` is the logit of the target for a classifier, for a callable what it returns; `probability` its softmax over the
    classes (its sigmoid, if the task is "multi"), `rank` its place among them, from 1. `output` says what was found out
    about the model's output, and is empty for bare logits; `task` is "single" where classes compete, else "multi".
    `weights` is a SHA-256 over the model's parameters and buffers, `image_digest` one over the image's file, or over its
    pixels where there is no file: it says which. `centres` says where the cells of the grid lie in the view, if they do not
    tile it, as those of layers without padding.
    """

    target: str = ""
    target_index: int | None = None
    score: float | None = None
    probability: float | None = None
    rank: int | None = None
    classes: int | None = None
    predicted: str | None = None
    predicted_index: int | None = None
    output: str = ""
    task: str = ""
    model: str = ""
    model_class: str = ""
    parameter_count: int | None = None
    weights: str = ""
    device: str = ""
    layer: str = ""
    centres: Centres | None = None
    method: str = ""
    image: str = ""
    image_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Record(Subject):
    """One check as plain built-ins: what was asserted, about what, and how it came out.

    Shares (mass, mask_area) are fractions of the view, the image as the model saw it. Sizes and grids are
    (height, width), points are (x, y), both in pixels of the view. `finding` is the outcome in one sentence, which
    records of earlier versions may lack; `details` are a label and a phrase each; `advice` is what to do next.
    `test` is the test's id and `number` the place of the check in it, from 1; `duration` the seconds since the test began
    or kept its check before, drawing not counted; `test_outcome` how the whole test came out. `picture` is its path from
    the working directory; in a report, from the report's directory; `unpictured` says why a picture that was wanted could
    not be written.
    """

    check: str
    measure: str
    outcome: Outcome = "invalid"
    figure: float | None = None
    bound: float | None = None
    direction: Direction = "at_least"
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
    number: int = 0
    test_outcome: str = ""
    requirements: tuple[str, ...] = ()
    duration: float | None = None
    picture: str | None = None
    unpictured: str = ""
    version: int = VERSION

    def to_plain(self) -> dict[str, Any]:
        """The record as finite built-ins only, which JSON, pytest-xdist and JUnit XML can carry."""
        return {part.name: _plain(getattr(self, part.name)) for part in fields(self)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Record:
        """The record that `to_plain` was called on, by this version or an earlier one.

        Raises ValueError for a record of a later version, and for a field that is missing or of another type.
        """
        values = checked(cls, plain)
        version = values.pop("version", VERSION)
        if version > VERSION:
            raise ValueError(f"a record of version {version} is newer than this package, which reads up to {VERSION}")
        if missing := {"check", "measure"} - set(values):
            raise ValueError(f"a check has no {' and no '.join(sorted(missing))}")
        return cls(**values)


def _plain(value: Any) -> Any:
    """Built-ins only; numbers that are not finite, which JSON cannot hold, are None."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if value is None or type(value) in (str, bool, int):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # of NumPy or PyTorch
        return _plain(value.tolist())
    return str(value)
