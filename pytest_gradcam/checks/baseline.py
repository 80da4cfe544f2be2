"""Golden heatmaps: one small file beside the test for each heatmap that is to stay as it is.

A file holds the raw grid, not a picture, so that it can be compared with a tolerance; what it was made of and with; and
a thumbnail of what the model saw, which tells another image from the same one decoded on another machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks import similarity
from pytest_gradcam.checks.similarity import Alike
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import baseline_paths, settle, store
from pytest_gradcam.evidence.current_test import CurrentTest, current, under_given
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.grids import require_evidence, resize
from pytest_gradcam.questions.protocols import MapOnView, Values

if TYPE_CHECKING:
    from PIL.Image import Image

_THUMBNAIL = 16  # pixels a side
_SHADE = 3  # of 255, by which a pixel of the thumbnail may differ: decoders and resizers round differently
_SAME = 1e-3  # of the maximum, by which a heatmap may differ and its file be left alone: machines round differently
_VERSIONS = ("pytest-gradcam", "grad-cam", "torch", "numpy")
_UPDATE = "--gradcam-update"
_ADVICE = (
    "look at the picture: it shows what is missing and what is new; if this is the heatmap that you want, run this test "
    f"with {_UPDATE} and commit the file"
)
#: What a file says of its heatmap's subject: what decides whether it is stale, and what helps to see why it differs.
_KEPT = ("target", "target_index", "score", "model", "weights", "layer", "method", "image", "image_digest")


@dataclass(frozen=True)
class MatchesBaseline(Alike):
    """The heatmap is like the one kept beside its test."""

    name, measure, other_one = "matches_baseline", "similarity to the baseline", "its baseline"

    def advice(self, record: Record) -> str:
        return _ADVICE


@dataclass(frozen=True)
class Baseline:
    """A heatmap as it was kept: its grid (h, w), the size (H, W) of its view, and what it was made of and with."""

    grid: NDArray[np.float32]
    thumbnail: NDArray[np.uint8]
    subject: Subject
    view: tuple[int, int]
    versions: dict[str, str]


@dataclass(frozen=True)
class _OnViewOf:
    """A baseline as a map on the view of the heatmap that it is compared with."""

    baseline: Baseline
    like: MapOnView

    @property
    def grid(self) -> Values:
        return self.baseline.grid

    @cached_property
    def values(self) -> Values:
        return resize(self.grid, self.like.values.shape, self.like.subject.centres)

    @property
    def view(self) -> NDArray[np.uint8]:
        return self.like.view

    @property
    def subject(self) -> Subject:
        return self.baseline.subject


def assert_matches(heatmap: MapOnView, *, at_least: float, name: str | None) -> None:
    """As `Heatmap.assert_matches_baseline` says."""
    test = current()
    if test is not None and test.updates:
        _update(heatmap, test, _path(test, name))
        return
    found: list[Baseline] = []
    check = MatchesBaseline(at_least)

    def measure(record: Record) -> Record:
        record = check.checked(record)
        path = _path(test, name)
        record = replace(record, details=(("baseline", baseline_paths.shown(path)),))
        found.append(_read(path))
        return _compared(heatmap, found[0], check, record)

    def draw(record: Record) -> Image:
        baseline = _OnViewOf(found[0], heatmap) if found else None
        return similarity.draw(heatmap, baseline, ("this heatmap", "its baseline"), record)

    settle.judge(check.on(heatmap), measure, draw)


def _compared(heatmap: MapOnView, baseline: Baseline, check: MatchesBaseline, record: Record) -> Record:
    """The check decided. Raises HeatmapError if the baseline is of something else than the heatmap."""
    stale = list(_differences(heatmap, baseline))
    if stale:
        raise HeatmapError(
            f"its baseline, {record.details[0][1]}, is stale: {'; '.join(stale)}. Explain what it was made of, or, if this "
            f"is the heatmap that you want, run this test with {_UPDATE} and commit the file"
        )
    figure = similarity.between(heatmap, _OnViewOf(baseline, heatmap), kind=check.kind)
    return check.decided(replace(record, details=(*record.details, *_circumstances(heatmap, baseline))), figure)


def _differences(heatmap: MapOnView, baseline: Baseline) -> Iterator[str]:
    """What the baseline was made of that the heatmap was not, a phrase each."""
    now, then = heatmap.subject, baseline.subject
    if (now.target, now.target_index) != (then.target, then.target_index):
        yield f"it explains {then.target!r}, this heatmap {now.target!r}"
    for what, before, after in (("layer", then.layer, now.layer), ("method", then.method, now.method)):
        if before != after:
            yield f"its {what} is {before!r}, here {after!r}"
    for what, was, is_ in (
        ("view", baseline.view, heatmap.values.shape),
        ("grid", baseline.grid.shape, heatmap.grid.shape),
    ):
        if was != is_:
            yield f"its {what} is {was[0]} x {was[1]}, here {is_[0]} x {is_[1]}"
    shades = np.abs(baseline.thumbnail.astype(int) - _thumbnail(heatmap)).max()
    if shades > _SHADE:
        yield f"the model saw another picture: the two differ by up to {shades} of 255 shades when made small"


def _circumstances(heatmap: MapOnView, baseline: Baseline) -> Iterator[tuple[str, str]]:
    """What else was different when the baseline was made, a label and a phrase each."""
    now, then = heatmap.subject, baseline.subject
    if now.model != then.model:
        yield "then", f"the model was {then.model}"
    if now.score is not None and then.score is not None:
        yield "then", f"the score was {then.score:.4g}"
    versions = _versions()
    others = [
        f"{name} {was}, now {versions.get(name, '')}"
        for name, was in baseline.versions.items()
        if was != versions.get(name)
    ]
    if others:
        yield "versions", "; ".join(others)


def _update(heatmap: MapOnView, test: CurrentTest, path: Path) -> None:
    """The file holds this heatmap. Raises HeatmapError if it cannot be a baseline, or cannot be written."""
    require_evidence(heatmap.grid, heatmap.subject)  # without any it would match nothing
    if path.exists() and _holds(path, heatmap):
        return
    try:
        store.write(path, _entry(heatmap, path))
    except OSError as error:
        raise HeatmapError(
            f"the baseline {baseline_paths.shown(path)} cannot be written ({error}); make its folder writable"
        ) from None
    test.wrote(path)


def _holds(path: Path, heatmap: MapOnView) -> bool:
    """Whether the file holds the heatmap already, but for what machines round differently."""
    try:
        baseline = _read(path)
    except HeatmapError:
        return False
    if any(_differences(heatmap, baseline)):
        return False
    return bool(np.abs(baseline.grid - heatmap.grid).max() <= _SAME * heatmap.grid.max())


def _entry(heatmap: MapOnView, path: Path) -> store.Entry:
    subject = asdict(heatmap.subject)
    about = {
        "subject": {key: subject[key] for key in _KEPT} | {"image": Path(heatmap.subject.image).name},
        "view": list(heatmap.values.shape),
        "similarity": Alike.kind,
        "versions": _versions(),
    }
    return store.Entry(path.stem, {"grid": heatmap.grid, "thumbnail": _thumbnail(heatmap)}, about)


def _read(path: Path) -> Baseline:
    """The baseline in the file. Raises HeatmapError if it is missing, damaged or of another test."""
    if not path.exists():
        raise HeatmapError(
            f"there is no baseline {baseline_paths.shown(path)}; look at heatmap.overlay(), then run this test with "
            f"{_UPDATE} and commit the file"
        )
    entry = store.read(path)
    try:
        assert entry is not None
        assert entry.key == path.stem
        about = entry.metadata
        height, width = about["view"]
        subject = Subject(**{key: value for key, value in about["subject"].items() if key in _KEPT})
        return Baseline(entry.arrays["grid"], entry.arrays["thumbnail"], subject, (height, width), about["versions"])
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        raise HeatmapError(
            f"the baseline {baseline_paths.shown(path)} is damaged, renamed, or of another version of this package; "
            f"restore it, or run this test with {_UPDATE}"
        ) from None


def _thumbnail(heatmap: MapOnView) -> NDArray[np.uint8]:
    """The view as the mean colours of a few cells, uint8 (n, n, 3)."""
    from PIL.Image import Resampling, fromarray

    return np.array(fromarray(heatmap.view).resize((_THUMBNAIL, _THUMBNAIL), Resampling.BOX))


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _VERSIONS}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _path(test: CurrentTest | None, name: str | None) -> Path:
    """The file of the test's next baseline. Raises HeatmapError where there can be none."""
    if test is None:
        raise HeatmapError("a baseline belongs to a test, and none is running; call this in a test, or assert_similar")
    if under_given():
        raise HeatmapError(
            "under Hypothesis' @given every example would be held to one baseline; take fixed inputs, with "
            "pytest.mark.parametrize, or compare the heatmap with that of the unchanged image (assert_similar)"
        )
    label = str(len(test.baselines) + 1) if name is None else _named(name)
    if label in test.baselines:
        raise HeatmapError(f"name={name!r} was used by this test before; give each of its baselines a name of its own")
    test.baselines.append(label)
    return baseline_paths.baseline(test.path, test.name, label)


def _named(name: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,39}", name):
        raise HeatmapError(
            f"name={name!r} cannot be part of a file's name; expected up to 40 ASCII letters, digits, '_' and '.', "
            "a letter first"
        )
    return name
