"""One image of a data set with what is known about it, and whether that can be used."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from pytest_gradcam import images, masks
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import Target

_SHOWN = 50  # bad rows that a message lists
_THREADS = 4


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """One image, and what is known about it. Nothing is read before it is needed.

    `image` is whatever an explainer takes, by preference a path, or a callable without arguments that gives it. `mask` is
    where the model should look, `invalid` where it should not: each is what `masks.as_mask` reads, in the coordinates of the
    image, or a callable without arguments that makes it. `target` is what to explain (None: the predicted class). `slices`
    are names and values of the groups that the image belongs to: {"camera": "A2"}. `id` names the case, by default after
    its file. `problem` says why the case cannot be judged; an audit records it as invalid, it never passes.
    A case may be a value of `@pytest.mark.parametrize`: the test's id is then the case's.
    """

    image: Any
    mask: Any = None
    invalid: Any = None
    target: Target = None
    slices: Mapping[str, str] = field(default_factory=dict)
    id: str | None = None
    problem: str = ""
    source: str = ""  # the file and the entry in it that the case was read from

    @property
    def name(self) -> str:
        """The id, or else the image's file name without its folder and suffix."""
        if self.id is not None:
            return self.id
        return Path(self.image).stem if is_path(self.image) else str(getattr(self.image, "name", "") or "case")

    @property
    def __name__(self) -> str:  # pytest calls parameters that have one by it
        return self.name

    def read_image(self) -> Any:
        """The image as it is passed to an explainer. Raises HeatmapError for a case with a problem."""
        if self.problem:
            raise HeatmapError(self.problem)
        return _made(self.image, "image")

    def read_mask(self, kind: str) -> Any:
        """The `mask` or the `invalid` pixels, None where there are none. Raises HeatmapError for what is not a mask."""
        return _made(getattr(self, kind), kind)

    def fingerprint(self) -> str:
        """What changes when the case does: names, targets, and size and time of change of its files."""
        parts = [self.name, repr(self.target), repr(sorted(self.slices.items())), self.problem]
        parts += [_state_of(each) for each in (self.image, self.mask, self.invalid)]
        return "\0".join(parts)

    def __repr__(self) -> str:
        return f"<Case {self.name}>"


class Cases(Sequence[Case]):
    """The cases of a data set, in order. `problems` are those of the rows that cannot be judged, in words."""

    def __init__(self, found: Iterable[Case], name: str = "") -> None:
        self._cases = _told_apart(list(found))
        self.name = name

    @property
    def problems(self) -> list[str]:
        return [case.problem for case in self._cases if case.problem]

    def where(self, keep: Callable[[Case], bool]) -> Cases:
        """The cases for which `keep` is true."""
        return Cases((case for case in self._cases if keep(case)), self.name)

    def checked(self) -> Cases:
        """The cases, each image's header and each mask read once; what is wrong with one is its `problem`."""
        with ThreadPoolExecutor(_THREADS) as pool:
            found = list(pool.map(_problem, self._cases))
        return Cases(
            (replace(case, problem=problem) for case, problem in zip(self._cases, found, strict=True)), self.name
        )

    def required(self) -> Cases:
        """The cases. Raises HeatmapError that lists every one that has a problem, and for none at all."""
        problems = self.problems
        if problems:
            more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
            listed = "\n  ".join([*problems[:_SHOWN], *more])
            raise HeatmapError(
                f"{len(problems)} of the {len(self)} cases of {self.name or 'the data set'} cannot be judged; correct them, or "
                f"pass strict=False to keep them as cases that never pass:\n  {listed}"
            )
        if not self._cases:
            raise HeatmapError(
                f"{self.name or 'the data set'} has no images, so there is nothing to judge; check the path"
            )
        return self

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, place: int) -> Case: ...
    @overload
    def __getitem__(self, place: slice) -> Cases: ...
    def __getitem__(self, place: int | slice) -> Case | Cases:
        return Cases(self._cases[place], self.name) if isinstance(place, slice) else self._cases[place]

    def __iter__(self) -> Iterator[Case]:
        return iter(self._cases)

    def __repr__(self) -> str:
        bad = len(self.problems)
        return f"<{len(self)} cases{f' of {self.name}' if self.name else ''}{f', {bad} of them bad' if bad else ''}>"


def as_cases(given: Any) -> Cases:
    """Cases of what a caller passes: cases, images, (image, mask) pairs, or dicts of a case's fields.

    Raises HeatmapError for anything else, naming the row.
    """
    if isinstance(given, Cases):
        return given
    if isinstance(given, (str, bytes, os.PathLike, Mapping)) or not isinstance(given, Iterable):
        raise HeatmapError(
            f"cases={type(given).__name__} is not a data set; expected a list of cases, or one of cases.from_folder, from_coco, "
            "from_csv, from_frame, from_dataset"
        )
    return Cases(_as_case(row, number) for number, row in enumerate(given))


def is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike))


def _as_case(row: Any, number: int) -> Case:
    if isinstance(row, Case):
        return row
    if isinstance(row, Mapping):
        known = ("image", "mask", "invalid", "target", "slices", "id")
        if unknown := [str(key) for key in row if key not in known]:
            raise HeatmapError(f"row {number} has {', '.join(unknown)}; expected only {', '.join(known)}")
        return Case(**row)
    if isinstance(row, tuple):
        if len(row) != 2:
            raise HeatmapError(f"row {number} has {len(row)} parts; expected an image and its mask, or a Case")
        return Case(*row, id=None if is_path(row[0]) else f"row {number}")
    return Case(row, id=None if is_path(row) else f"row {number}")


def _told_apart(found: list[Case]) -> list[Case]:
    """The cases with ids of their own: those that share one get their folder added, and then a number."""
    times = Counter(case.name for case in found)
    if len(times) == len(found):
        return found
    taken: Counter[str] = Counter()
    told = []
    for case in found:
        name = case.name
        if times[name] > 1 and case.id is None and is_path(case.image):
            name = f"{Path(case.image).parent.name}/{Path(case.image).name}"
        taken[name] += 1
        while taken[name] > 1 and taken[f"{name}-{taken[name]}"]:
            taken[name] += 1
        name = name if taken[name] == 1 else f"{name}-{taken[name]}"
        told.append(replace(case, id=name) if name != case.name else case)
    return told


def _problem(case: Case) -> str:
    """What is wrong with a case, or an empty text: the header of its image is read, and its masks are."""
    where = case.source or case.name
    if case.problem:
        return case.problem
    try:
        shape = images.shape_of(case.image) if is_path(case.image) else None
    except HeatmapError as error:
        return f"{where}: {error}"
    for kind in ("mask", "invalid"):
        try:
            found = case.read_mask(kind)
            if found is not None and not masks.as_mask(found, shape=shape, name=kind).any():
                return f"{where}: {kind} has no pixel; check how it was made"
        except HeatmapError as error:
            return f"{where}: {error}"
    return ""


def _made(value: Any, kind: str) -> Any:
    if not callable(value) or hasattr(value, "__array__"):
        return value
    try:
        return value()
    except HeatmapError:
        raise
    except Exception as error:  # the user's own code, or what reads a data set
        reason = next(iter(str(error).splitlines()), "")
        raise HeatmapError(
            f"the {kind} cannot be made: {type(error).__name__} ({reason}); check the data set"
        ) from error


def _state_of(value: Any) -> str:
    if not is_path(value):
        return type(value).__name__ if value is not None else ""
    try:
        found = os.stat(value)
    except OSError:
        return f"{value} missing"
    return f"{value} {found.st_size} {found.st_mtime_ns}"
