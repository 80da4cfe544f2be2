"""A model as checks see it: what it scores and where its heatmaps lie, under what the running test says of both.

Every question to the model goes through `ExplainedModel`: here, and nowhere else, a test's marker fills in what a call
leaves out, the gate is put before a heatmap, and it is decided what becomes of a class that the model does not predict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.questions import mispredicted
from pytest_gradcam.questions.lead import Lead, lead_of
from pytest_gradcam.targets import ClassNames, Target

_Subject = TypeVar("_Subject", bound=Subject)
Heatmap = Any  # a Heatmap; heatmap.py lies above the checks, since its own checks are made here


class ModelInput(Protocol):
    """One image ready for the model; `pixels` float32 (C, H, W) are in the units of the model's input."""

    name: str
    size: tuple[int, int] | None
    place: Callable[[], Any] | None
    carry: Callable[[Any], Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the view."""

    @property
    def pixels(self) -> NDArray[np.float32]: ...

    def with_pixels(self, pixels: NDArray[np.floating]) -> Self:
        """The same image with these pixels (C, H, W)."""

    def named(self, name: str) -> Self:
        """The same image under another name."""

    def variant_of(self, original: Self) -> Self:
        """This image as a changed version of another: a record names, and identifies, the original."""

    def look(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The image as the model sees it, uint8 (H, W, 3), and the pixels that the preprocess added."""


class Engine(Protocol):
    """What answers the questions, by numbers alone: `cam.engine.Engine` for a torch model."""

    @property
    def names(self) -> ClassNames: ...

    @property
    def multi_label(self) -> bool:
        """Whether the classes do not compete, as far as the images so far have shown."""

    @property
    def exact(self) -> bool:
        """Whether the same computation gives the same bits each time, as on a CPU."""

    def read(self, image: Any) -> Any:
        """The `ModelInput` of an image; what is one already comes back as it is."""

    def predict(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """The scores (N, classes)."""

    def scores(self, images: Sequence[Any], target: Target = None) -> NDArray[np.float64]:
        """The score (N,) of one target in images of one size."""

    def heatmaps(
        self, images: Sequence[Any], targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[Heatmap]: ...

    def compare(
        self, image: Any, targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[Heatmap]: ...

    def identified(self, subject: _Subject, image: Any = None) -> _Subject:
        """The subject, or record, with what is known of the model and of the image."""

    def fresh(self) -> Engine:
        """The same engine, which computes every heatmap anew."""

    def seeded(self, seed: int) -> AbstractContextManager[None]:
        """Inside, all random states begin at this seed; afterwards they are what they were."""

    def redraw(self) -> Redraw:
        """A copy of the model to redraw the weights of. Raises HeatmapError if the model cannot be copied."""


class Redraw(Protocol):
    """A copy of a model whose weights are redrawn."""

    def stages(self, seed: int, count: int, image: Any) -> Iterator[Engine]:
        """The engine of the copy after each of at most `count` stages from the output down, drawn from the seed."""


@dataclass(frozen=True)
class Policy:
    """What the running test says: what a call leaves out, whether heatmaps are gated, and what a mispredicted class does.

    `mispredicted` is one of `settings.MISPREDICTED`.
    """

    target: Target = None
    layer: str | None = None
    method: str | None = None
    gate: bool = False
    mispredicted: str = "label"


@dataclass(frozen=True)
class Question:
    """What is asked of an image, with what the running test fills in."""

    target: Target
    layer: str | None
    method: str | None

    @property
    def names_a_class(self) -> bool:
        return isinstance(self.target, str) or hasattr(self.target, "__index__")


#: Why no check on where this heatmap lies can have a verdict; an empty text where it can.
Gate = Callable[[Heatmap, ModelInput, Question], str]


class ExplainedModel:
    """One engine under the policy of the running test."""

    def __init__(self, engine: Engine, policy: Callable[[], Policy] = Policy, gate: Gate | None = None) -> None:
        self.engine = engine
        self._policy = policy
        self._gate = gate

    def question(self, target: Target = None, layer: str | None = None, method: str | None = None) -> Question:
        policy = self._policy()
        return Question(policy.target if target is None else target, layer or policy.layer, method or policy.method)

    def questions(
        self, image: Any, target: Target = None, layer: str | None = None, method: str | None = None
    ) -> list[Question]:
        """What a check on one image asks, one after the other: two questions where label and prediction have to pass.

        Raises FocusError, or ends the test as skipped, where the policy on mispredicted classes says so.
        """
        question, policy = self.question(target, layer, method), self._policy().mispredicted
        if policy == "label" or not question.names_a_class:
            return [question]
        one = self.engine.read(image)
        subject = self.subject(one, self.engine.predict([one])[0], question.target)
        chosen = mispredicted.chosen(subject, policy, lambda: overlay.draw_panels([overlay.Panel(one.look()[0])]))
        return [replace(question, target=index) for index in chosen]

    def heatmaps(
        self,
        images: Sequence[Any],
        targets: Sequence[Target],
        *,
        layer: str | None = None,
        method: str | None = None,
    ) -> list[Heatmap]:
        """One heatmap for each image and its target."""
        inputs = [self.engine.read(image) for image in images]
        questions = [self.question(target, layer, method) for target in targets]
        how = self.question(None, layer, method)
        found = self.engine.heatmaps(inputs, [q.target for q in questions], layer=how.layer, method=how.method)
        return [self._finished(*each) for each in zip(found, inputs, questions, strict=True)]

    def explain(self, one: ModelInput, question: Question) -> Heatmap:
        """The heatmap that answers one question, behind its gate."""
        found = self.engine.heatmaps([one], [question.target], layer=question.layer, method=question.method)
        return self._gated(found[0], one, question)

    def compare(
        self, image: Any, targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[Heatmap]:
        """The heatmaps of one image for several targets, from one forward pass.

        Where none of them is the class that the model predicts, a policy of skip or fail holds; the others explain what
        was asked for, since the caller chose the classes to compare.
        """
        one, questions = self.engine.read(image), [self.question(target, layer, method) for target in targets]
        how = self.question(None, layer, method)
        found = self.engine.compare(one, [q.target for q in questions], layer=how.layer, method=how.method)
        policy = self._policy().mispredicted
        if policy in ("skip", "fail") and all(map(mispredicted.is_mispredicted, (h.subject for h in found))):
            for heatmap, question in zip(found, questions, strict=True):
                if question.names_a_class:
                    mispredicted.chosen(heatmap.subject, policy, heatmap.overlay)
        return [self._gated(heatmap, one, question) for heatmap, question in zip(found, questions, strict=True)]

    def classes(self, scores: NDArray[np.float32], targets: Sequence[Target] | None) -> list[Lead]:
        """The lead that is read in each of N images with scores (N, classes): its target's, by default the predicted class's.

        Raises HeatmapError where there is not one target for each image.
        """
        if targets is None:
            wanted: Sequence[Target] = [None] * len(scores)
        else:
            given = 1 if isinstance(targets, str) or not hasattr(targets, "__len__") else len(targets)
            if isinstance(targets, str) or given != len(scores):
                raise HeatmapError(
                    f"there are {given} targets for {len(scores)} images; expected one per image, in a list"
                )
            wanted = targets
        return [self._class(row, self.question(target)) for row, target in zip(scores, wanted, strict=True)]

    def subject(self, one: ModelInput, row: NDArray[np.floating], target: Target) -> Subject:
        """What a check on one class is about, from the image's scores (classes,)."""
        names, lead = self.engine.names, self.lead(target, row)
        against = "" if lead.against is None else f" rather than {names.name(lead.against)}"
        predicted = int(row.argmax())
        return self.engine.identified(
            Subject(
                target=names.name(lead.index) + against,
                target_index=lead.index,
                score=float(row[lead.index]),
                rank=1 + int((row > row[lead.index]).sum()),
                classes=len(row),
                predicted=names.name(predicted),
                predicted_index=predicted,
            ),
            one,
        )

    def lead(self, target: Target, row: NDArray[np.floating]) -> Lead:
        """The lead that a target asks for, of one image's scores (classes,). Raises HeatmapError for what is no class."""
        return lead_of(target, row, self.engine.names, multi=self.engine.multi_label)

    def _class(self, row: NDArray[np.float32], question: Question) -> Lead:
        lead, policy = self.lead(question.target, row), self._policy().mispredicted
        predicted = int(row.argmax())
        if policy == "label" or not question.names_a_class or lead.is_predicted(row):
            return lead
        names = self.engine.names
        if policy == "both":
            raise HeatmapError(
                f"mispredicted = both asks for {names.name(lead.index)!r} and for the predicted {names.name(predicted)!r}, and a "
                "set of images is judged on one class each; set label or prediction"
            )
        subject = Subject(
            target=names.name(lead.index),
            target_index=lead.index,
            score=float(row[lead.index]),
            predicted=names.name(predicted),
            predicted_index=predicted,
            task="multi" if lead.alone else "single",
        )
        return replace(lead, index=mispredicted.chosen(subject, policy, mispredicted.no_picture)[0])

    def _finished(self, heatmap: Heatmap, one: ModelInput, question: Question) -> Heatmap:
        """The heatmap behind its gate; of the predicted class, or beside it, where the policy says so."""
        self._gated(heatmap, one, question)
        policy = self._policy().mispredicted
        if policy == "label" or not question.names_a_class:
            return heatmap
        explained = [heatmap]
        for index in mispredicted.chosen(heatmap.subject, policy, heatmap.overlay):
            if index != heatmap.subject.target_index:
                explained.append(self.explain(one, replace(question, target=index)))
        if policy == "prediction":
            return explained[-1]
        heatmap.also = tuple(explained[1:])
        return heatmap

    def _gated(self, heatmap: Heatmap, one: ModelInput, question: Question) -> Heatmap:
        if self._gate is not None:
            heatmap.gate = partial(self._reason, self._gate, heatmap, one, question)
        return heatmap

    def _reason(self, gate: Gate, heatmap: Heatmap, one: ModelInput, question: Question) -> str:
        return gate(heatmap, one, question) if self._policy().gate else ""
