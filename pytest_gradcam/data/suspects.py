"""What a model may rely on that nobody thought of: places that decide, found without a mask, and what is known about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam.checks.reliance import reliance
from pytest_gradcam.checks.reliance_rule import Reliance
from pytest_gradcam.data import moving
from pytest_gradcam.data.apart import Apart, apart
from pytest_gradcam.data.attention import Attention, Cluster, attention, object_in_view
from pytest_gradcam.data.exchange import Probe, Scan, passes, scan, spread
from pytest_gradcam.data.moving import Moving, Window
from pytest_gradcam.data.properties import Property, telling
from pytest_gradcam.data.results import CLASS, Results
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import MaskInView, ModelInput
from pytest_gradcam.settings import MANY_PASSES
from pytest_gradcam.validation import count

if TYPE_CHECKING:
    from PIL.Image import Image

Bools = NDArray[np.bool_]
_LOOK = "a person must look at suspect.picture"
_LEVEL = 0.05
_ON = 0.5  # share of a place on the objects from which on it is the object, unless the rest of it decides
_ROOT = 0.25  # chosen on models of known truth, as is the next
_SAME = 0.6  # share of the smaller of two places from which on they are one
_STEADY = 0.9  # share of the images in which a window lies in one place, from which on it is that place
_SHARED = 0.3  # of a suspect and the place of a cluster together, from which on they are one
_FEWEST, _ENOUGH = 10, 20  # images to scan; other images, on which the rule of reliance is then asked
_JUDGED = 40  # images that the rule of reliance is asked on


@dataclass(frozen=True)
class Suspect:
    """A place that decides: `masks` bool (N, H, W) in the views of the images `cases`, by their names.

    `moves` says that the place lies elsewhere in each image. `effect` is the fall of the margin, in units of the model's mean
    margin, that exchanging it with images of other classes costs, as far as it is more than with images of the same class;
    `p_value` is corrected for having looked everywhere. `on_object` is the share of the place that the cases' masks cover on
    average, None where no case has one. `apart` is what the part of the place that lies off the objects costs, where they are
    known. `reliance` is the verdict on the whole place by the rule of `reliance` (docs/reliance.md), None if it could not be
    asked: see `problem`. `attended` are the clusters of attention that lie on a fixed place: the model looks there, too.
    """

    masks: Bools
    cases: tuple[str, ...]
    moves: bool
    effect: float
    p_value: float
    reliance: Reliance | None
    on_object: float | None
    apart: Apart | None
    problem: str
    attended: tuple[Cluster, ...] = ()

    @property
    def mask(self) -> Bools:
        """Bool (H, W), where the place is the same in all images. Raises HeatmapError for one that moves: it has `masks`."""
        if self.moves:
            raise HeatmapError("this place lies elsewhere in each image, so it has no one mask; use suspect.masks")
        return np.asarray(self.masks[0])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) around the mask; of a place that moves, in the first image."""
        mask = self.masks[0]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @property
    def confirmed(self) -> bool | None:
        """Whether the model relies on what is not the object; None where that is open, or a person must look."""
        if self.p_value > _LEVEL:
            return False
        clears = self.reliance is not None and self.reliance.relies is False
        if self.apart is not None and self.apart.relies:
            return None if clears else True
        if self.on_object is None:
            return False if clears else None
        cleared = self.apart is not None and self.apart.relies is False
        return False if cleared or self.on_object >= _ON else None

    @property
    def verdict(self) -> str:
        """What is known about the place, in one sentence."""
        x0, y0, x1, y1 = self.box
        where = (
            f"{x1 - x0} x {y1 - y0} px, elsewhere in each image" if self.moves else f"x {x0} to {x1}, y {y0} to {y1}"
        )
        said = f"{where}: exchanging it costs {self.effect:.2f} of the margin (p {self.p_value:.2g})"
        if self.p_value > _LEVEL:
            return f"{said}, which a place may do by chance"
        return f"{said}; {self._object()}{self._attention()}"

    @cached_property
    def picture(self) -> Image:
        """Images with the place exchanged. Raises HeatmapError where the rule of reliance could not be asked."""
        if self.reliance is None:
            raise HeatmapError(f"there is no picture of this suspect: {self.problem}")
        return self.reliance.picture

    def _attention(self) -> str:
        shares = [f"{100 * each.share:.0f} % of {each.group}" for each in self.attended]
        return f"; heatmaps show the same place: {', '.join(shares)}" if shares else ""

    def _object(self) -> str:
        rule = "the rule of reliance is undecided"
        if self.reliance is not None and self.reliance.relies is not None:
            rule = "the model relies on it" if self.reliance.relies else "the rule of reliance clears it"
        if self.on_object is None:
            return (
                f"{rule}; no case has a mask of the object, so a person must check whether this place is the object: "
                "look at suspect.picture"
            )
        share = f"{100 * self.on_object:.0f} % of it lies on the object"
        if self.apart is not None and self.apart.relies:
            costs = f"{share}, and what is off it costs {self.apart.effect:.2f}"
            if self.confirmed is None:
                return f"{costs}, but {rule}: {_LOOK}"
            return f"{costs}: the model relies on what is not the object"
        if self.on_object >= _ON:
            return f"{rule}; {share}: this is the object"
        if self.apart is None:
            return f"{rule}; {share}, and too few images show what the rest costs: {_LOOK}"
        costs = f"{share}, and what is off it costs {self.apart.lower:.2f} to {self.apart.upper:.2f}"
        return f"{costs}: {'not a finding' if self.apart.relies is False else _LOOK}"


@dataclass(frozen=True)
class Suspects(Sequence[Suspect]):
    """The places that decide, the strongest first, the properties of the images that tell their classes apart, and where the
    model looks in each class (docs/data.md).
    """

    places: tuple[Suspect, ...]
    properties: tuple[Property, ...]
    scan: Scan
    images: int
    attention: Attention

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: Any) -> Any:
        return self.places[place]

    def __str__(self) -> str:
        lines = [f"{number}. {each.verdict}" for number, each in enumerate(self.places, 1)]
        lines += [f"- {each}" for each in self.properties if each.suspicious]
        lines = lines or [f"no place and no property stands out over {self.images} images"]
        return "\n".join(lines + [f"- {line}" for line in self.attention.lines()])


def suspects(audit: Results, *, most: int = 3, cells: int = 8, images: int = 60, seed: int = 0) -> Suspects:
    """Places of the image that decide, without any mask, and properties of images that predict their class.

    The view is cut into `cells` x `cells`; cells of up to `images` different images are exchanged with those of images that are
    predicted as another class, or the same one. What costs the margin is grown into regions, and windows are laid where it
    costs each image most; the `most` conspicuous are put to the rule of reliance: regions on other images if the audit has 20
    of them, windows, which lie elsewhere in each image, on those that were scanned. It needs forward passes only, no gradient,
    but for its second view: `attention` on up to 500 images by class. Forward-only models have none, and methods that run the
    model many times for a heatmap are left out of it.
    Raises HeatmapError for fewer than ten different images of one size, or if all are predicted as one class.
    """
    from tqdm.auto import tqdm

    scanned, cells = count("images", images, _FEWEST), count("cells", cells, 4, 32)
    own = _sample(audit, 2 * scanned, count("seed", seed, 0))
    inputs, engine = [each.image_input for each in own[:scanned]], audit.model.engine
    total = len(inputs) * (1 + passes(cells) + moving.PASSES)
    with tqdm(total=total, unit="pass", desc=f"suspects of {audit.name}", disable=None) as bar:
        probe = Probe.of(engine, inputs, bar.update)
        found = scan(probe, cells=cells, seed=seed)
        followed = moving.moving(probe, found, seed=seed)
    chosen, judged = _chosen(found, followed, probe.shape, count("most", most)), (probe, own[:scanned])
    if len(own) - scanned >= _ENOUGH and any(not place.moves for place in chosen):
        others = own[scanned:]
        judged = Probe.of(engine, [each.image_input for each in others]), others
    scanned_too = probe, own[:scanned]
    places = [_suspect(audit.model, place, *(scanned_too if place.moves else judged)) for place in chosen]
    seen = _second_view(audit, seed)
    places = [replace(each, attended=_attended(each, seen)) for each in places]
    return Suspects(tuple(places), telling(audit), found, len(inputs), seen)


def _second_view(audit: Results, seed: int) -> Attention:
    """The attention by class, where a heatmap costs about one forward pass."""
    asked = audit.model.question()
    method = audit.model.engine.heatmaps_by(asked.layer, asked.method)["method"]
    if method not in MANY_PASSES:
        return attention(audit, seed=seed)
    dear = f"a heatmap by {method} takes many forward passes; audit.attention() looks all the same"
    return Attention((), (dear,), CLASS, 0, audit)


def _attended(place: Suspect, seen: Attention) -> tuple[Cluster, ...]:
    """The clusters whose place is that of a suspect: they share at least this much of both together."""
    if place.moves:
        return ()
    fit = [each for each in seen if each.shape == place.mask.shape]
    return tuple(each for each in fit if (each.mask & place.mask).sum() >= _SHARED * (each.mask | place.mask).sum())


@dataclass(frozen=True)
class _Shown:
    """One of the images: the name of its case, what the model sees of it, and the object's mask in the view, if it is known."""

    name: str
    image_input: ModelInput
    object: Bools | None


@dataclass(frozen=True)
class _Place:
    """A place that may decide: a mask (H, W), or a window elsewhere in each image."""

    place: Bools | Window
    shape: tuple[int, int]
    effect: float
    p_value: float
    cells: int

    @property
    def moves(self) -> bool:
        return isinstance(self.place, Window)

    @property
    def weight(self) -> float:
        """Large places always cost more, single cells are the most uncertain: a root of the area weighs both."""
        return float(self.effect / self.cells**_ROOT)

    def window(self, count: int) -> Window:
        """The place in so many images."""
        return self.place if isinstance(self.place, Window) else Window.around(self.place, count)

    @cached_property
    def masks(self) -> Bools:
        """Bool (N, H, W) for a place in each image, (1, H, W) for one in all."""
        return self.window(1).masks(self.shape)

    def overlaps(self, other: _Place) -> bool:
        """Whether most of the smaller one lies in the other."""
        both = (self.masks & other.masks).sum(axis=(1, 2)).mean()
        return bool(both > _SAME * min(each.masks.sum(axis=(1, 2)).mean() for each in (self, other)))


def _chosen(found: Scan, followed: Sequence[Moving], shape: tuple[int, int], most: int) -> list[_Place]:
    """The most conspicuous places, none of which lies in another one; first those that chance does not explain."""
    every = [
        _Place(spread(region, shape), shape, found.effect(region), p_value, int(region.sum()))
        for region, p_value in found.regions(most)
    ]
    every += [
        _Place(_settled(one.window, shape), shape, one.effect, one.p_value, one.cells)
        for one in followed
        if one.effect > 0
    ]
    chosen: list[_Place] = []
    for place in sorted(every, key=lambda each: (each.p_value <= _LEVEL, each.weight), reverse=True):
        if len(chosen) < most and not any(place.overlaps(other) for other in chosen):
            chosen.append(place)
    return chosen


def _settled(window: Window, shape: tuple[int, int]) -> Bools | Window:
    """The mask (H, W) of a window that lies in one place in nearly all images; another window as it is."""
    starts, times = np.unique(window.starts, axis=0, return_counts=True)
    if times.max() < _STEADY * len(window.starts):
        return window
    return np.asarray(Window(starts[[times.argmax()]], window.pixels).masks(shape)[0])


def _sample(audit: Results, most: int, seed: int) -> list[_Shown]:
    """Different images of the commonest size."""
    rows = [row for row in audit.distinct(audit.checks[0]) if row["digest"]]
    seen: set[bytes] = set()
    own: list[_Shown] = []
    model, cases = audit.model, audit.cases
    assert cases is not None
    for place in np.random.default_rng(seed).permutation(len(rows)):
        if len(own) == most:
            break
        case = cases[rows[place]["place"]]
        try:
            image_input = model.engine.read(case.read_image())
        except HeatmapError:
            continue
        content = image_input.pixels.tobytes()
        if content not in seen:
            seen.add(content)
            own.append(_Shown(case.name, image_input, object_in_view(case, image_input)))
    sizes = Counter(each.image_input.shape for each in own)
    own = [each for each in own if each.image_input.shape == sizes.most_common(1)[0][0]]
    if len(own) < _FEWEST:
        raise HeatmapError(
            f"there are {len(own)} different images of one size; expected at least {_FEWEST} to exchange places between"
        )
    return own


def _suspect(model: ExplainedModel, place: _Place, probe: Probe, shown: Sequence[_Shown]) -> Suspect:
    window, objects = place.window(len(shown)), [each.object for each in shown]
    masks = window.masks(place.shape)
    on = [(known & mask).sum() / mask.sum() for known, mask in zip(objects, masks, strict=True) if known is not None]
    verdict, problem = None, ""
    try:
        # The place is one of the view: whatever a mask of the image would be, here it is carried as it is.
        seen: list[Any] = [replace(each.image_input, carry=MaskInView) for each in shown[:_JUDGED]]  # type: ignore[type-var]
        verdict = reliance(model, seen, list(masks[:_JUDGED]) if place.moves else masks[0])
    except HeatmapError as error:
        problem = str(error)
    return Suspect(
        masks,
        tuple(each.name for each in shown),
        place.moves,
        place.effect,
        place.p_value,
        verdict,
        float(np.mean(on)) if on else None,
        apart(probe, window, objects) if on else None,
        problem,
    )
