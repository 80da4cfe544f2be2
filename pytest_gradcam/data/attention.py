"""Where and at what a model looks in the images of each class: their heatmaps in clusters. A view, which confirms nothing.

After SpRAy (Lapuschkin et al. 2019, Nature Communications 10, 1096; Anders et al. 2022, Information Fusion 77): a part of a class
whose attention lies apart from the rest of it may be what a model decides by for the wrong reason, or a rare kind of the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.data import picture
from pytest_gradcam.data.case import Case
from pytest_gradcam.data.clusters import Clustering, clustered
from pytest_gradcam.data.exchange import Bools, Cells, Floats, spread
from pytest_gradcam.data.plan import Row
from pytest_gradcam.data.results import CLASS, Results
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.protocols import HeatmapLike, ModelInput
from pytest_gradcam.validation import count

if TYPE_CHECKING:
    from PIL.Image import Image

_CELLS = 8  # rows and columns that heatmaps are compared in
_ENOUGH = 20  # different images of a class
_CHUNK = 32  # images that are explained at a time
_HALF = 0.5  # of the largest mean heat, from which on a cell belongs to the place of a cluster
# What is conspicuous, chosen on models of known truth:
_SMALL = 0.4  # a share of the class that is at most this
_FEWEST = 4  # images
_APART = 0.45  # a silhouette of at least this
_WIDE = 0.4  # a place that fills at most this share of the view
_STAYS = 0.9  # of the images look most at the place
_OFF = 0.5  # of the heat at the place lies on the object, at most
_TOUCHED = 0.02  # of a cell is object, from which on heat in it lies on the object
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Cluster:
    """Images of one group whose heatmaps lie alike: `cases` by their names, the most typical first.

    `share` is their share of the `images` of the group that have a heatmap. `heat` (8, 8) is the mean heatmap, which sums to 1;
    `place` are its cells with at least half of its maximum, and `steady` the share of the images that look most at one of them.
    `silhouette`, in [-1, 1], says how far the cluster lies apart from the others (Rousseeuw 1987; 0 if it is the only one).
    `on_object` is the share of the heat at the place that lies on the object, to the cell, on average over the cases with a
    mask; None where no case has one.
    """

    group: str
    cases: tuple[str, ...]
    images: int
    heat: Floats
    steady: float
    silhouette: float
    on_object: float | None
    shape: tuple[int, int]
    rows: tuple[Row, ...] = field(repr=False, compare=False)

    @property
    def share(self) -> float:
        return len(self.cases) / self.images

    @property
    def place(self) -> Cells:
        return np.asarray(self.heat >= _HALF * self.heat.max())

    @property
    def mask(self) -> Bools:
        """The place as pixels (H, W) of the view."""
        return spread(self.place, self.shape)

    @property
    def separated(self) -> bool:
        """Whether it is a small part of the group that looks at a place of its own."""
        small = _FEWEST <= len(self.cases) <= _SMALL * self.images
        return small and self.silhouette >= _APART and self._is_place

    @property
    def off_object(self) -> bool:
        """Whether its attention stays in one place and mostly off the object there; False where no case has a mask."""
        return self.on_object is not None and self.on_object <= _OFF and self._is_place

    @property
    def conspicuous(self) -> bool:
        return self.separated or self.off_object

    @property
    def _is_place(self) -> bool:
        return bool(self.place.mean() <= _WIDE and self.steady >= _STAYS)

    @property
    def where(self) -> str:
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return f"x {columns[0]} to {columns[-1] + 1}, y {rows[0]} to {rows[-1] + 1}"

    def __str__(self) -> str:
        said = f"{self.group}: {100 * self.share:.0f} % of {self.images} images look at {self.where}"
        if self.separated:
            said += f", apart from the others (silhouette {self.silhouette:.2f})"
        if self.off_object:
            said += f", where {100 * (self.on_object or 0):.0f} % of their heat lies on the object"
        return f"{said}: a person must look at attention.picture" if self.conspicuous else said


@dataclass(frozen=True, eq=False)
class Attention(Sequence[Cluster]):
    """The clusters of all groups, the conspicuous first, and in `unseen` why a group has none. It confirms nothing."""

    clusters: tuple[Cluster, ...]
    unseen: tuple[str, ...]
    by: str
    images: int
    audit: Results = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.clusters)

    @overload
    def __getitem__(self, place: int) -> Cluster: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Cluster, ...]: ...
    def __getitem__(self, place: Any) -> Any:
        return self.clusters[place]

    @property
    def conspicuous(self) -> tuple[Cluster, ...]:
        """Those that a person must look at."""
        return tuple(each for each in self.clusters if each.conspicuous)

    def __str__(self) -> str:
        return "\n".join(f"- {self.by} {each}" for each in self.clusters) + "".join(f"\n- {one}" for one in self.unseen)

    def lines(self) -> Iterator[str]:
        """What stands out, and where nobody looked."""
        yield from (f"attention of {self.by} {each}" for each in self.conspicuous)
        yield from (f"attention: {one}" for one in self.unseen)

    @cached_property
    def picture(self) -> Image:
        """A contact sheet: of each of the first clusters its mean heatmap and its most typical images."""
        shown = [(f"{self.by} {each.group}, {100 * each.share:.0f} %", each.heat, each.rows) for each in self.clusters]
        return picture.contact_sheet(self.audit, shown)


def attention(audit: Results, *, by: str = CLASS, images: int = 500, seed: int = 0) -> Attention:
    """Where the model looks in the images of each class, or of each group of a slice: clusters of their heatmaps.

    Up to `images` different images, drawn with the `seed`, are explained by the audit's layer and method, one heatmap each,
    for their case's target or the predicted class; the groups share them evenly, the largest come first. A group needs 20
    images. Spectral clustering with the number of clusters by the eigengap, at most 6 a group.
    It says where the model looks, not what it relies on, and confirms nothing: `Cluster.conspicuous` is for a person to look at.
    Raises HeatmapError for an audit that was loaded without a model, and for a slice that no case has.
    """
    from tqdm.auto import tqdm

    _ = audit.model  # an audit without one is refused before anything else
    most, rng = count("images", images, _ENOUGH), np.random.default_rng(count("seed", seed, 0))
    groups = {name: [row for row in rows if row["digest"]] for name, rows in _groups(audit, by).items()}
    rich = [name for name, rows in groups.items() if len(rows) >= _ENOUGH][: most // _ENOUGH]
    clusters: list[Cluster] = []
    unseen: dict[str, list[str]] = {}
    looked = 0
    with tqdm(total=most, unit="image", desc=f"attention of {audit.name}", disable=None) as bar:
        bar.total = sum(len(groups[name][: most // len(rich)]) for name in rich)
        for name, rows in groups.items():
            if name not in rich:
                reason = _few(len(rows)) if len(rows) < _ENOUGH else f"left out by images={most}; pass more"
                unseen.setdefault(reason, []).append(name)
                continue
            chosen = [rows[place] for place in rng.permutation(len(rows))[: most // len(rich)]]
            seen, reasons = _seen(audit, chosen, bar.update)
            looked += len(seen)
            if len(seen) < _ENOUGH:
                reason = _few(len(seen), " with a heatmap")
                unseen.setdefault(f"{reason}: {reasons[0]}" if reasons else reason, []).append(name)
            else:
                clusters += _clusters(name, seen)
    clusters.sort(key=lambda each: (each.conspicuous, each.silhouette), reverse=True)
    found = Attention(tuple(clusters), tuple(_unseen(by, unseen)), by, looked, audit)
    audit.view = found
    return found


def object_in_view(case: Case, image_input: ModelInput) -> Bools | None:
    """The case's mask where the model sees it, (H, W); None where it has none that fits."""
    try:
        mask = case.read_mask("mask")
        return None if mask is None else image_input.carry(mask).pixels
    except HeatmapError:
        return None


@dataclass(frozen=True)
class _Seen:
    """What the heatmap of an image comes to: its shares of heat (8, 8), and which of these cells have the object in them."""

    row: Row
    heat: Floats
    object: Cells | None
    shape: tuple[int, int]


def _groups(audit: Results, by: str) -> dict[str, list[Row]]:
    """The different images of each group in an order of their contents, whatever that of the cases; the largest group first."""
    groups = audit.groups(audit.checks[0], by).items()
    ordered = {name: sorted(rows, key=lambda row: str(row["digest"])) for name, rows in groups}
    return dict(sorted(ordered.items(), key=lambda item: -len(item[1])))


def _seen(audit: Results, rows: Sequence[Row], tick: Any) -> tuple[list[_Seen], list[str]]:
    """The images of the rows, each content once, and why others have no heatmap."""
    cases, found, reasons, contents = audit.cases, list[_Seen](), list[str](), set[bytes]()
    model = audit.model
    assert cases is not None
    for start in range(0, len(rows), _CHUNK):
        read: list[tuple[Row, Case, ModelInput]] = []
        for row in rows[start : start + _CHUNK]:
            case = cases[row["place"]]
            try:
                image_input = model.engine.read(case.read_image())
            except HeatmapError as error:
                reasons.append(_first_line(error))
                continue
            # The same picture with another mask is another row, and the same heatmap.
            if (content := sha256(image_input.pixels.tobytes()).digest()) not in contents:
                contents.add(content)
                read.append((row, case, image_input))
        for (row, case, image_input), heatmap in zip(read, _heatmaps(model, read), strict=True):
            reason = _first_line(heatmap) if isinstance(heatmap, HeatmapError) else _useless(heatmap)
            if reason:
                reasons.append(reason)
            else:
                found.append(_of(row, heatmap, object_in_view(case, image_input)))
        tick(len(rows[start : start + _CHUNK]))
    return found, reasons


def _heatmaps(model: Any, read: Sequence[tuple[Row, Case, ModelInput]]) -> list[Any]:
    """The heatmap of each; where one of several cannot be made, each is tried alone, and has its error instead."""
    if not read:
        return []
    try:
        return list(model.labelled([each[2] for each in read], [each[1].target for each in read]))
    except HeatmapError as error:
        return [error] if len(read) == 1 else [_heatmaps(model, [each])[0] for each in read]


def _useless(heatmap: HeatmapLike) -> str:
    """Why it says nothing; empty if it does."""
    return heatmap.gate() or ("" if np.nan_to_num(heatmap.values).any() else "the heatmap is zero everywhere")


def _of(row: Row, heatmap: HeatmapLike, known: Bools | None) -> _Seen:
    heat, shape = np.nan_to_num(heatmap.values).astype(np.float64), heatmap.values.shape
    inside = None if known is None else _binned(known) > _TOUCHED * _binned(np.ones(shape))
    return _Seen(row, _binned(heat) / heat.sum(), inside, (shape[0], shape[1]))


def _binned(values: NDArray[Any]) -> Floats:
    """The sums (8, 8) over the cells of a view."""
    rows, columns = (np.arange(side) * _CELLS // side for side in values.shape)
    found = np.zeros((_CELLS, _CELLS))
    np.add.at(found, np.ix_(rows, columns), values)
    return found


def _clusters(group: str, seen: Sequence[_Seen]) -> Iterator[Cluster]:
    heat = np.stack([each.heat for each in seen])
    found = clustered(heat)
    for number in range(found.count):
        yield _cluster(group, seen, found, number)


def _cluster(group: str, seen: Sequence[_Seen], found: Clustering, number: int) -> Cluster:
    own = [seen[place] for place in found.typical(number)]
    heat = np.mean([each.heat for each in own], axis=0)
    place = heat >= _HALF * heat.max()
    known = [_on_object(each.heat * place, each.object) for each in own if each.object is not None]
    return Cluster(
        group,
        tuple(each.row["case"] for each in own),
        len(seen),
        heat,
        float(np.mean([place.flat[each.heat.argmax()] for each in own])),
        found.separation(number),
        float(np.mean(known)) if known else None,
        own[0].shape,
        tuple(each.row for each in own),
    )


def _on_object(heat: Floats, known: Cells) -> float:
    """The share of the heat that lies on the object; 1 where there is none, and so none off it."""
    total = float(heat.sum())
    return float(heat[known].sum()) / total if total else 1.0


def _few(images: int, kind: str = "") -> str:
    return f"{images} different images{kind}, where it takes {_ENOUGH}"


def _unseen(by: str, reasons: dict[str, list[str]]) -> Iterator[str]:
    for reason, names in reasons.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield f"{by} {', '.join(names[:_NAMED])}{more} not looked at: {reason}"


def _first_line(error: HeatmapError) -> str:
    return str(error).splitlines()[0]
