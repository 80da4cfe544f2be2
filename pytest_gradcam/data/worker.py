"""Cases into rows, a few dozen at a time: images are read ahead in threads, while the model explains those before."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice
from typing import Any

from pytest_gradcam.checks import focus
from pytest_gradcam.data.case import Case, is_path
from pytest_gradcam.data.plan import Plan, Planned, Row, row
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Record, Subject
from pytest_gradcam.evidence.settle import undecided
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.questions.protocols import HeatmapLike, MaskInView, ModelInput

#: Cases in a chunk: what is computed together, written together, and begun again after an interrupt.
CHUNK = 32
_AHEAD = 2  # chunks that are read ahead
_THREADS = 2

Chunk = list[tuple[int, Case]]


@dataclass
class Prepared:
    """A case that was read: the model's input and its masks in the view, or why there are none."""

    place: int
    case: Case
    image_input: ModelInput | None = None
    problem: HeatmapError | None = None
    masks: dict[str, MaskInView | HeatmapError | None] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same for copies: of what the model sees, its masks, and what is asked."""
        if self.image_input is None:
            return ""
        found = sha256(self.image_input.pixels.tobytes())
        for kind, mask in sorted(self.masks.items()):
            found.update(kind.encode() + (mask.pixels.tobytes() if isinstance(mask, MaskInView) else b""))
        found.update(repr(self.case.target).encode())
        return found.hexdigest()[:32]


class Worker:
    """Makes the rows of an audit with one model."""

    def __init__(self, model: ExplainedModel, plan: Plan) -> None:
        self._model = model
        self._plan = plan
        self._masking = threading.Lock()  # masks go through caches that threads cannot share

    def rows(self, chunks: Iterable[Chunk]) -> Iterator[list[Row]]:
        """The rows of each chunk, in order."""
        with ThreadPoolExecutor(_THREADS) as pool:
            source = iter(chunks)
            ahead: list[list[Future[Prepared]]] = []
            try:
                for chunk in islice(source, _AHEAD):
                    ahead.append(self._begun(pool, chunk))
                while ahead:
                    prepared = [future.result() for future in ahead.pop(0)]
                    for chunk in islice(source, 1):
                        ahead.append(self._begun(pool, chunk))
                    yield self._explained(prepared)
            finally:
                for future in (future for futures in ahead for future in futures):
                    future.cancel()

    def _begun(self, pool: ThreadPoolExecutor, chunk: Chunk) -> list[Future[Prepared]]:
        return [pool.submit(self._prepare, place, case) for place, case in chunk]

    def _prepare(self, place: int, case: Case) -> Prepared:
        found = Prepared(place, case)
        try:
            image = case.read_image()
            # A file is decoded here, outside of the turns that threads take at the model.
            found.image_input = self._model.engine.read(self._model.engine.picture(image) if is_path(image) else image)
        except HeatmapError as error:
            found.problem = error
            return found
        for kind in {each.kind for each in self._plan.of(case)}:
            found.masks[kind] = self._mask(found.image_input, case, kind)
        return found

    def _mask(self, image_input: ModelInput, case: Case, kind: str) -> MaskInView | HeatmapError | None:
        try:
            mask = case.read_mask(kind)
            if mask is None:
                return None
            with self._masking:
                return image_input.carry(mask)
        except HeatmapError as error:
            return error

    def _explained(self, prepared: Sequence[Prepared]) -> list[Row]:
        ready = [each for each in prepared if each.image_input is not None]
        found = dict(zip((each.place for each in ready), self._heatmaps(ready), strict=True))
        return [
            made
            for each in prepared
            for made in self._judged(each, found.get(each.place, each.problem or HeatmapError()))
        ]

    def _heatmaps(self, ready: Sequence[Prepared]) -> list[HeatmapLike | HeatmapError]:
        """The heatmap of each; where one of several cannot be made, each is tried alone."""
        try:
            inputs = [each.image_input for each in ready if each.image_input is not None]
            return list(self._model.labelled(inputs, [each.case.target for each in ready]))
        except HeatmapError as error:
            if len(ready) == 1:
                return [error]
            return [self._heatmaps([each])[0] for each in ready]

    def _judged(self, prepared: Prepared, heatmap: HeatmapLike | HeatmapError) -> Iterator[Row]:
        digest = prepared.digest
        for planned in self._plan.of(prepared.case):
            yield row(prepared.case, prepared.place, self._record(prepared, planned, heatmap), digest)

    def _record(self, prepared: Prepared, planned: Planned, heatmap: HeatmapLike | HeatmapError) -> Record:
        check, mask = planned.check, prepared.masks.get(planned.kind)
        if isinstance(heatmap, HeatmapError):
            return undecided(check.record(Subject(target=str(prepared.case.target or ""))), heatmap)
        if isinstance(mask, HeatmapError):
            return undecided(check.on(heatmap), mask)
        if mask is None:
            return undecided(
                check.on(heatmap), HeatmapError(f"the case has no {planned.kind}, which {check.name} is about; add it")
            )
        vars(heatmap)["carry"] = _already(mask)  # its own would go through caches that threads share
        return focus.decided(heatmap, check, mask.pixels)[0]


def chunks(cases: Sequence[Case], first: int = 0) -> Iterator[Chunk]:
    """The cases by places, a chunk at a time, from the chunk of this number: each chunk holds the same in every run."""
    for start in range(first * CHUNK, len(cases), CHUNK):
        yield [(place, cases[place]) for place in range(start, min(start + CHUNK, len(cases)))]


def made_by(model: ExplainedModel) -> dict[str, str | None]:
    """What rows come from: the model, the digest of its weights, the layer if one is named, and the method."""
    question = model.question()
    return {
        "model": model.engine.identified(Subject()).model,
        **model.engine.heatmaps_by(question.layer, question.method),
    }


def _already(mask: MaskInView) -> Any:
    return lambda _: replace(mask)
