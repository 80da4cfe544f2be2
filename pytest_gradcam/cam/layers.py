"""Chooses the target layer without configuration: the deepest one with a grid that all evidence passes through.

One forward pass is traced. A tensor is a *cut* if every path from the score back to the input goes through it: a map
read there cannot miss evidence that took another path. The deepest cut is taken whose grid has a gradient at half of
its positions or more; with class-token pooling this skips the last block, whose patches have none, and ends at the norm
through which that block reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.cam import trace
from pytest_gradcam.cam.capture import capture
from pytest_gradcam.cam.geometry import Geometry, examine, refuse_second_look
from pytest_gradcam.cam.sites import Site, is_pooled, like_input, read_layout, tie_of
from pytest_gradcam.cam.trace import CutTest, Output, Trace
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.state.forward_only import require_insides
from pytest_gradcam.validation import nearest

__all__ = ["Candidate", "Choice", "Site", "choose"]

_FAINT = 1e-6  # of the largest gradient; less counts as zero
_PASSED_BY = 1e-3  # of the largest gradient; a smaller difference counts as zero
_FINE = 16  # positions; smaller grids are a last resort
_LATER = 0.15  # of the forward pass: how much later a main output must lie to be preferred to a cut
_MOST = 0.9  # of the gradient at a place: a class token's later reading that carries it stands for all
_LOOKED_AT = 24  # places, before none is taken to keep its cells apart
_LISTED = 8  # candidates in an error
_NAMED = "named by the user"
#: The note of a layer before the chosen one that all evidence passes through as well.
SHALLOWER = "a shallower cut"
_UNAVAILABLE = "its gradient cannot be taken"


@dataclass(frozen=True)
class Candidate:
    """A site with the reason, in one phrase, why it was chosen or passed over, and where its cells look, if measured."""

    site: Site
    note: str
    geometry: Geometry | None = None


@dataclass(frozen=True)
class Choice:
    """The target layer for one input size, the reason for it, and all candidates, deepest first."""

    site: Site
    reason: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class _Place:
    """A module's output, and the site where its grid can be read."""

    output: Output
    site: Site

    @property
    def positions(self) -> int:
        return self.site.grid[0] * self.site.grid[1]

    @property
    def is_bare_linear(self) -> bool:
        return type(self.output.module) is nn.Linear


def choose(
    model: nn.Module,
    inputs: Tensor,
    score: Callable[[Any], Tensor],
    *,
    name: str | None = None,
    faults: dict[Site, str] | None = None,
) -> Choice:
    """The place where a class activation map of this score is meaningful, for inputs of this size.

    `inputs` is a float tensor (1, C, H, W); `score` maps the model's output to a scalar; `name` is a module that the
    user chose: its last call with a grid is taken, with or without gradient. The caller holds the guard. Raises
    HeatmapError, which lists the candidates, if none is sound or `name` cannot be used, and if the chosen module looks
    at the input more than once, side by side. What was seen to be wrong with a site is added to `faults`, and counts in a
    later call with another input, which may hide it.
    """
    faults = {} if faults is None else faults
    if inputs.ndim != 4 or inputs.shape[0] != 1:
        raise HeatmapError(f"the input has the shape {tuple(inputs.shape)}; expected one image, (1, C, H, W)")
    require_insides(model, "a class activation map")
    with torch.enable_grad():
        # Not a leaf, since the first layer may work in place.
        start = inputs.detach().clone().requires_grad_().clone()
        if name is not None:
            return _named(model, start, name, faults)
        traced = trace.run(model, start)
        value = score(traced.result)
        if not value.isfinite().all():
            raise HeatmapError(
                "the score is NaN or infinite; expected a number. Check the weights, and the input's range"
            )
        return _Search(model, traced, _places(traced, inputs), value, start, faults).choice()


def _named(model: nn.Module, inputs: Tensor, name: str, faults: dict[Site, str]) -> Choice:
    names = [known for known, _ in model.named_modules() if known]
    if name not in names:
        raise HeatmapError(f"the model has no layer {name!r}{nearest(name, names) or '; see model.named_modules()'}")
    traced = trace.run(model, inputs, by_module=True)
    places = _places(traced, inputs)
    own = [place for place in places if place.site.name == name]
    if not own:
        shapes = [str(output.shape) for output in traced.outputs.values() if output.name == name]
        found = f"returns {' and '.join(shapes[-3:])}" if shapes else "returns no tensor in this forward pass"
        raise HeatmapError(
            f"layer {name} {found}; expected a spatial grid of the input's aspect, {inputs.shape[2]} x "
            f"{inputs.shape[3]}. Layers that have one, deepest first: {_listed(model, traced, places)}"
        )
    place = own[-1]
    refuse_second_look(model, traced, place.output, inputs)
    site, geometry = _examined(model, place, inputs, faults)
    if geometry.fault:
        raise HeatmapError(
            f"layer {name} cannot be read as a map: {geometry.note} in an input of {inputs.shape[2]} x {inputs.shape[3]}; "
            f"expected a grid of {site.grid[0]} x {site.grid[1]} whose cells each look at their own place. Name another "
            f"layer, or none. Layers that have a grid, deepest first: {_listed(model, traced, places)}"
        )
    measured = {place.site: (site, geometry)}
    return Choice(site, _NAMED, _candidates(places, {place.site: _NAMED}, "has a grid", measured))


def _examined(model: nn.Module, place: _Place, inputs: Tensor, faults: dict[Site, str]) -> tuple[Site, Geometry]:
    """The site as its cells show it, with what was seen to be wrong with it: few cells say anything of a nearly empty image."""
    site, geometry = examine(place.output, place.site, inputs, partial(_activations, model))
    if geometry.fault and geometry.is_seen:
        faults[place.site] = geometry.note
    elif place.site in faults:
        geometry = replace(geometry, note=faults[place.site], fault=True)
    return site, geometry


@dataclass
class _Search:
    """The rule, applied to one trace.

    `notes` says what was found at each site examined; sites in `unfit` are never chosen.
    """

    model: nn.Module
    traced: Trace
    places: list[_Place]
    score: Tensor
    start: Tensor
    faults: dict[Site, str]
    notes: dict[Site, str] = field(default_factory=dict)
    unfit: set[Site] = field(default_factory=set)
    measured: dict[Site, tuple[Site, Geometry]] = field(default_factory=dict)

    def choice(self) -> Choice:
        """The layer chosen. Raises HeatmapError with the reason if no place is sound."""
        is_cut = trace.cut_test(self.score, self.start)
        if is_cut is None:
            raise self._refusal("no gradient leads from the score to the input (look for no_grad, detach or argmax)")
        if not self.places:
            raise self._refusal("nothing in the model returns a spatial grid of the input's aspect")
        cuts = self._open_cuts(is_cut)
        passed_over = ""
        for _ in range(_LOOKED_AT):
            found = self._sound(cuts)
            if found is None:
                raise self._refusal(passed_over or self._silence())
            refuse_second_look(self.model, self.traced, found.output, self.start)
            site, geometry = self.measured[found.site] = _examined(self.model, found, self.start, self.faults)
            if not geometry.fault:
                candidates = _candidates(self.places, self.notes, "not on every path", self.measured)
                return Choice(site, self.notes[found.site], candidates)
            self._pass_over(found, geometry.note)
            passed_over = passed_over or f"{found.site} holds no map: {geometry.note}"
        raise self._refusal(passed_over)

    def _sound(self, cuts: list[_Place]) -> _Place | None:
        """The place at which the score can be explained, as far as gradients tell."""
        found = self._deepest_cut([cut for cut in cuts if cut.site not in self.unfit])
        found = self._later_main(found) or found
        return self._reader(found) or found

    def _open_cuts(self, is_cut: CutTest) -> list[_Place]:
        """The cuts that can be chosen, deepest first."""
        place_of = {id(place.output): place for place in self.places}
        found: list[_Place] = []
        coarsest = self.start[0, 0].numel()
        for output in self.traced.outputs.values():
            if output.edge is None or not is_cut(output.edge):
                continue
            place = place_of.get(id(output))
            if place is None:
                coarsest = 1 if is_pooled(output.shape) else coarsest
            elif place.positions > coarsest:
                self._pass_over(place, f"only enlarged from {coarsest} positions")
            elif place.is_bare_linear:
                self._pass_over(place, "bare linear")
            else:
                found.append(place)
                coarsest = place.positions
                self.notes[place.site] = SHALLOWER
        return found[::-1]

    def _pass_over(self, place: _Place, note: str) -> None:
        self.notes[place.site] = note
        self.unfit.add(place.site)

    def _deepest_cut(self, cuts: list[_Place]) -> _Place | None:
        """The deepest cut with a gradient at half of its positions; fine grids come before coarse ones."""
        fine = [cut for cut in cuts if cut.positions >= _FINE]
        coarse = [cut for cut in cuts if cut.positions < _FINE]
        for group in (fine, coarse):
            for place in group:
                if self._reached(place) >= 0.5:
                    place = self._before_tokens(place, group)
                    self.notes[place.site] = f"chosen: deepest cut with {self.notes[place.site]}"
                    return place
        return None

    def _before_tokens(self, found: _Place, cuts: list[_Place]) -> _Place:
        """The cut right before tokens that are not positions joined the found one's, if they joined late; else the found one.

        A class token that joins before the last layers, as in XCiT, has read the patches when the last of them begins: what
        it knows by then lies at none of the found place's positions.
        """
        earliest = found.output.order - _LATER * self.traced.length
        for place in cuts:
            alone = not place.site.prefix and place.site.grid == found.site.grid
            if found.site.prefix and alone and earliest < place.output.order < found.output.order:
                return place if self._reached(place) >= 0.5 else found
        return found

    def _later_main(self, found: _Place | None) -> _Place | None:
        """The last main output with a gradient everywhere, if it comes much later than the cut, as in two-stream models."""
        after = found.output.order + _LATER * self.traced.length if found else -1
        for place in _main(self.model, self.traced, self.places):
            if place.output.order <= after:
                break
            if place.site in self.unfit or place.is_bare_linear or place.positions < _FINE:
                continue
            if self._reached(place) == 1:
                self.notes[place.site] = f"chosen: last main output with {self.notes[place.site]}, far after every cut"
                return place
        return None

    def _reader(self, found: _Place | None) -> _Place | None:
        """The deepest place that carries all of the gradient at the found one's positions, though it is not a cut itself.

        With class-token pooling this is the norm through which the last block reads the patches. Before a LayerNorm
        through which everything else reads, a position's gradient is orthogonal to its activation, and Grad-CAM is
        blind to it. If class tokens read through several norms, it is the deepest that carries nearly all of it, and if none
        does, as in CaiT, the deepest of these.
        """
        whole = None if found is None else trace.gradient(self.score, found.output)
        if found is None or whole is None:
            return None
        by_tokens: list[_Place] = []
        together = torch.zeros_like(whole)
        for place in reversed(self.places):
            if place.output.order <= found.output.order:
                break
            if place.site in self.unfit or place.is_bare_linear or place.site.grid != found.site.grid:
                continue
            part = self._read(place, found) if self._reached(place) >= 0.5 else None
            if part is None:
                continue
            if _equal(found.site.spatial(part), found.site.spatial(whole)):
                return self._chosen_reader(place, found, "all")
            if place.site.prefix:
                if _left(found.site.spatial(part), found.site.spatial(whole)) <= 1 - _MOST:
                    return self._chosen_reader(place, found, "nearly all")
                by_tokens.append(place)
                together += part
                if _equal(found.site.spatial(together), found.site.spatial(whole)):
                    return self._chosen_reader(by_tokens[0], found, "the last part")
        return None

    def _chosen_reader(self, reader: _Place, found: _Place, part: str) -> _Place:
        self.notes[reader.site] = f"chosen: reads {part} of {found.site.name}, with {self.notes[reader.site]}"
        self.notes[found.site] = f"read through {reader.site.name}" + (" only" if part == "all" else " and others")
        return reader

    def _read(self, place: _Place, found: _Place) -> Tensor | None:
        """The part of the gradient at the found place that comes through the later place's positions."""
        slope = trace.gradient(self.score, place.output)
        if slope is None:
            return None
        own = torch.zeros_like(slope)  # without the class token's: it has already read the patches
        place.site.spatial(own).copy_(place.site.spatial(slope))
        return trace.carried(own, place.output, found.output)

    def _reached(self, place: _Place) -> float:
        """The share of the positions with a gradient; it goes into the notes."""
        try:
            grad = trace.gradient(self.score, place.output)
        except RuntimeError as error:  # e.g. a re-entrant checkpoint, whose backward pass cannot be run like this
            self.notes[place.site] = f"{_UNAVAILABLE}: {str(error).splitlines()[0]:.80}"
            return 0.0
        share = 0.0 if grad is None else _share(place, grad)
        self.notes[place.site] = f"gradient at {round(share * place.positions)} of {place.positions} positions"
        return share

    def _silence(self) -> str:
        """The reason why no place is sound."""
        blocked = [note for note in self.notes.values() if note.startswith(_UNAVAILABLE)]
        if blocked:
            return blocked[0]
        if any(note.startswith("gradient at 0 of") for note in self.notes.values()):
            return "the gradient of the score is zero, as under a zero-initialised head (are the weights loaded?)"
        return "no place with a grid has a gradient at half of its positions"

    def _refusal(self, reason: str) -> HeatmapError:
        return HeatmapError(
            f"no target layer can be chosen: {reason}. Name a layer yourself; those with a grid, deepest first: "
            f"{_listed(self.model, self.traced, self.places)}"
        )


def _activations(model: nn.Module, site: Site, image: Tensor) -> Tensor:
    with torch.enable_grad():  # as in the traced pass: a re-entrant checkpoint warns of inputs without a gradient
        return capture(model, image.clone().requires_grad_().clone(), site).activations


def _left(part: Tensor, whole: Tensor) -> float:
    """How much of the whole is not in the part, as a share of its squared length."""
    return float((whole - part).square().sum() / whole.square().sum())


def _equal(part: Tensor, whole: Tensor) -> bool:
    return bool((whole - part).abs().max() <= _PASSED_BY * whole.abs().max())


def _share(place: _Place, grad: Tensor) -> float:
    if not grad.isfinite().all():
        raise HeatmapError(
            f"the gradient of the score at layer {place.site.name} is NaN or infinite; expected finite numbers. "
            "Check the weights, and use a wider dtype than float16 if the model runs in it"
        )
    size = place.site.spatial(grad).abs().amax(1)
    return float((size > _FAINT * size.max()).float().mean())


def _places(traced: Trace, inputs: Tensor) -> list[_Place]:
    """The outputs that can be read as a grid, in the order in which they were returned."""
    size = (inputs.shape[2], inputs.shape[3])
    convolved = {
        grid
        for output in traced.outputs.values()
        if isinstance(output.module, nn.Conv2d) and output.shape[0] == 1
        if like_input(grid := (output.shape[-2], output.shape[-1]), size)
    }
    places = []
    for output in traced.outputs.values():
        layout = read_layout(output.shape, size, convolved, tie=tie_of(output.module))
        if layout:
            site = Site(output.name, output.call, output.path, layout.axes, layout.grid, layout.prefix)
            places.append(_Place(output, site))
    return places


def _main(model: nn.Module, traced: Trace, places: list[_Place]) -> Iterator[_Place]:
    """The places at the model's top level, also inside a wrapper or a list of modules, deepest first."""
    dominant = traced.dominant()

    def is_main(name: str) -> bool:
        parent = name.rpartition(".")[0]
        lists = isinstance(model.get_submodule(parent), (nn.Sequential, nn.ModuleList))
        return parent in dominant or (lists and is_main(parent))

    return (place for place in reversed(places) if any(map(is_main, place.output.names)))


def _candidates(
    places: list[_Place], notes: dict[Site, str], otherwise: str, measured: dict[Site, tuple[Site, Geometry]]
) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(site, notes.get(place.site, otherwise), geometry)
        for place in reversed(places)
        for site, geometry in [measured.get(place.site, (place.site, None))]
    )


def _listed(model: nn.Module, traced: Trace, places: list[_Place]) -> str:
    main = [str(place.site) for place in _main(model, traced, places)]
    more = f" and {len(main) - _LISTED} more" if len(main) > _LISTED else ""
    return ", ".join(main[:_LISTED]) + more if main else "none"
