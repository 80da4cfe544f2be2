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
from pytest_gradcam.data.exchange import PASSES, Scan, scan, spread
from pytest_gradcam.data.properties import Property, telling
from pytest_gradcam.data.results import Results
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import MaskInView, ModelInput
from pytest_gradcam.validation import count

if TYPE_CHECKING:
    from PIL.Image import Image

Bools = NDArray[np.bool_]
_LEVEL = 0.05
_ON, _OFF = 0.5, 0.25  # shares of a place that objects cover: from here on it is the object; up to here it is not
_FEWEST, _ENOUGH = 10, 20  # images to scan; other images, on which the rule of reliance is then asked


@dataclass(frozen=True)
class Suspect:
    """A place that decides. `mask` bool (H, W) is in the view, the size of the model's input; `box` (x0, y0, x1, y1) around it.

    `effect` is the fall of the margin, in units of the model's mean margin, that exchanging it with images of other classes
    costs, as far as it is more than with images of the same class; `p_value` is corrected for having looked everywhere.
    `reliance` is the verdict on the place, by the rule of `reliance` (docs/reliance.md). `on_object` is the share of the place
    that the cases' masks cover on average, None where no case has one.
    """

    mask: Bools
    effect: float
    p_value: float
    reliance: Reliance | None
    on_object: float | None
    problem: str = ""

    @property
    def box(self) -> tuple[int, int, int, int]:
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @property
    def confirmed(self) -> bool | None:
        """Whether the model relies on a place that is not the object; None where that is open, or a person must look."""
        relies = None if self.reliance is None else self.reliance.relies
        if relies is False or self.p_value > _LEVEL or (self.on_object is not None and self.on_object >= _ON):
            return False
        return True if relies and self.on_object is not None and self.on_object <= _OFF else None

    @property
    def verdict(self) -> str:
        """What is known about the place, in one sentence."""
        x0, y0, x1, y1 = self.box
        said = f"x {x0} to {x1}, y {y0} to {y1}: exchanging it costs {self.effect:.2f} of the margin (p {self.p_value:.2g})"
        if self.p_value > _LEVEL:
            return f"{said}, which a place may do by chance"
        rule = "the rule of reliance is undecided"
        if self.reliance is not None and self.reliance.relies is not None:
            rule = "the model relies on it" if self.reliance.relies else "the rule of reliance clears it"
        return f"{said}; {rule}; {self._object()}"

    @cached_property
    def picture(self) -> Image:
        """Images with the place exchanged. Raises HeatmapError where the rule of reliance could not be asked."""
        if self.reliance is None:
            raise HeatmapError(f"there is no picture of this suspect: {self.problem}")
        return self.reliance.picture

    def _object(self) -> str:
        if self.on_object is None:
            return (
                "no case has a mask of the object, so a person must check whether this place is the object: "
                "look at suspect.picture"
            )
        share = f"{100 * self.on_object:.0f} % of it lies on the object"
        if self.on_object >= _ON:
            return f"{share}: this is the object"
        return (
            f"{share}: it is not the object"
            if self.on_object <= _OFF
            else f"{share}: a person must look at suspect.picture"
        )


@dataclass(frozen=True)
class Suspects(Sequence[Suspect]):
    """The places that decide, the strongest first, and the properties of the images that tell their classes apart."""

    places: tuple[Suspect, ...]
    properties: tuple[Property, ...]
    scan: Scan
    images: int

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place: Any) -> Any:
        return self.places[place]

    def __str__(self) -> str:
        lines = [f"{number}. {each.verdict}" for number, each in enumerate(self.places, 1)]
        lines += [f"- {each}" for each in self.properties if each.suspicious]
        return "\n".join(lines) or f"no place and no property stands out over {self.images} images"


def suspects(audit: Results, *, most: int = 3, cells: int = 8, images: int = 60, seed: int = 0) -> Suspects:
    """Places of the image that decide, without any mask, and properties of images that predict their class.

    The view is cut into `cells` x `cells`; cells of up to `images` different images are exchanged with those of images that are
    predicted as another class, or the same one. What costs the margin is grown into regions; the `most` conspicuous are put
    to the rule of reliance, on as many other images if the audit has 20 of them. It needs forward passes only, no gradient:
    about 40 an image. A place has to be the same in most images: what moves from image to image (a sticker anywhere) is
    not found.
    Raises HeatmapError for fewer than ten different images of one size, or if all are predicted as one class.
    """
    from tqdm.auto import tqdm

    scanned = count("images", images, _FEWEST)
    model, own = audit.model, _sample(audit, 2 * scanned, count("seed", seed, 0))
    inputs, others = ([image_input for _, image_input in part] for part in (own[:scanned], own[scanned:]))
    judged = others if len(others) >= _ENOUGH else inputs
    with tqdm(total=len(inputs) * PASSES, unit="pass", desc=f"suspects of {audit.name}", disable=None) as bar:
        found = scan(model.engine, inputs, cells=count("cells", cells, 4, 32), seed=seed, tick=bar.update)
    objects = [_object(audit, place, image_input) for place, image_input in own]
    places = [
        _suspect(model, judged, objects, spread(region, inputs[0].shape), (found.effect(region), p_value))
        for region, p_value in found.regions(count("most", most))
    ]
    return Suspects(tuple(places), telling(audit), found, len(inputs))


def _sample(audit: Results, most: int, seed: int) -> list[tuple[int, ModelInput]]:
    """Different images of the commonest size, by the places of their cases."""
    rows = [row for row in audit.distinct(audit.checks[0]) if row["digest"]]
    seen: set[bytes] = set()
    own: list[tuple[int, ModelInput]] = []
    cases = audit.cases
    assert cases is not None
    for place in np.random.default_rng(seed).permutation(len(rows)):
        if len(own) == most:
            break
        try:
            image_input = audit.model.engine.read(cases[rows[place]["place"]].read_image())
        except HeatmapError:
            continue
        content = image_input.pixels.tobytes()
        if content not in seen:
            seen.add(content)
            own.append((int(rows[place]["place"]), image_input))
    sizes = Counter(image_input.shape for _, image_input in own)
    own = [each for each in own if each[1].shape == sizes.most_common(1)[0][0]]
    if len(own) < _FEWEST:
        raise HeatmapError(
            f"there are {len(own)} different images of one size; expected at least {_FEWEST} to exchange places between"
        )
    return own


def _object(audit: Results, place: int, image_input: ModelInput) -> Bools | None:
    cases = audit.cases
    assert cases is not None
    try:
        mask = cases[place].read_mask("mask")
        return None if mask is None else image_input.carry(mask).pixels
    except HeatmapError:
        return None


def _suspect(
    model: ExplainedModel,
    inputs: Sequence[ModelInput],
    objects: Sequence[Bools | None],
    mask: Bools,
    found: tuple[float, float],
) -> Suspect:
    known = [own for own in objects if own is not None]
    on_object = float(np.mean([(own & mask).sum() / mask.sum() for own in known])) if known else None
    verdict, problem = None, ""
    try:
        # The region is one of the view: whatever a mask of the image would be, here it is carried as it is.
        seen: list[Any] = [replace(image_input, carry=MaskInView) for image_input in inputs]  # type: ignore[type-var]
        verdict = reliance(model, seen, mask)
    except HeatmapError as error:
        problem = str(error)
    return Suspect(mask, *found, verdict, on_object, problem)
