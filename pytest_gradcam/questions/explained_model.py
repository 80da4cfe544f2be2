"""A model as checks see it: what it scores and where its heatmaps lie, under what the running test says of both.

Every question to the model goes through `ExplainedModel`. Here, and nowhere else, a test's marker fills in what a call
leaves out, the gate is put before a heatmap, and a class that the model does not predict is dealt with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gradcam import overlay
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence.record import Subject
from pytest_gradcam.questions import mispredicted
from pytest_gradcam.questions.lead import Lead, lead_of
from pytest_gradcam.questions.protocols import Engine, HeatmapLike, ModelInput
from pytest_gradcam.targets import Target
from pytest_gradcam.validation import each_of, name_or_none


@dataclass(frozen=True)
class Policy:
    """What the running test says: defaults for what a call leaves out, the gate, and what a mispredicted class leads to.

    `mispredicted` is one of `settings.MISPREDICTED`.
    """

    target: Target = None
    layer: str | None = None
    method: str | None = None
    gate: bool = False
    mispredicted: str = "label"


@dataclass(frozen=True)
class Question:
    """What is asked about an image, with the running test's defaults filled in."""

    target: Target
    layer: str | None
    method: str | None

    @property
    def names_a_class(self) -> bool:
        return isinstance(self.target, str) or hasattr(self.target, "__index__")


#: Says why no check on where this heatmap lies can have a verdict; an empty text if it can.
Gate = Callable[[HeatmapLike, ModelInput, Question], str]


class ExplainedModel:
    """One engine under the policy of the running test."""

    def __init__(self, engine: Engine, policy: Callable[[], Policy] = Policy, gate: Gate | None = None) -> None:
        self.engine = engine
        self._policy = policy
        self._gate = gate

    @property
    def policy(self) -> Policy:
        """What the running test says now."""
        return self._policy()

    def question(self, target: Target = None, layer: str | None = None, method: str | None = None) -> Question:
        policy = self._policy()
        layer, method = name_or_none("layer", layer), name_or_none("method", method)
        return Question(policy.target if target is None else target, layer or policy.layer, method or policy.method)

    def questions(
        self, image: Any, target: Target = None, layer: str | None = None, method: str | None = None
    ) -> list[Question]:
        """What a check on one image asks, one question after the other: two where label and prediction both have to pass.

        Raises FocusError, or ends the test as skipped, where the policy on mispredicted classes says so.
        """
        question, policy = self.question(target, layer, method), self._policy().mispredicted
        if policy == "label" or not question.names_a_class:
            return [question]
        image_input = self.engine.read(image)
        subject = self.subject(image_input, self.engine.predict([image_input])[0], question.target)
        chosen = mispredicted.chosen(
            subject, policy, lambda: overlay.draw_panels([overlay.Panel(image_input.look()[0])])
        )
        return [replace(question, target=index) for index in chosen]

    def heatmaps(
        self,
        images: Sequence[Any],
        targets: Sequence[Target],
        *,
        layer: str | None = None,
        method: str | None = None,
    ) -> list[HeatmapLike]:
        """One heatmap for each image and its target."""
        read = self.engine.read
        inputs = each_of("images", images, read) if len(images) > 1 else list(map(read, images))
        questions = [self.question(target, layer, method) for target in targets]
        how = self.question(None, layer, method)
        found = self.engine.heatmaps(inputs, [q.target for q in questions], layer=how.layer, method=how.method)
        return [self._finished(*each) for each in zip(found, inputs, questions, strict=True)]

    def labelled(self, inputs: Sequence[ModelInput], targets: Sequence[Target]) -> list[HeatmapLike]:
        """One heatmap for each input and its target, whatever the model predicts, behind its gate."""
        questions, how = [self.question(target) for target in targets], self.question()
        found = self.engine.heatmaps(inputs, [q.target for q in questions], layer=how.layer, method=how.method)
        return [self._gated(*each) for each in zip(found, inputs, questions, strict=True)]

    def explain(self, image_input: ModelInput, question: Question) -> HeatmapLike:
        """The heatmap that answers one question, behind its gate."""
        found = self.engine.heatmaps([image_input], [question.target], layer=question.layer, method=question.method)
        return self._gated(found[0], image_input, question)

    def compare(
        self, image: Any, targets: Sequence[Target], *, layer: str | None = None, method: str | None = None
    ) -> list[HeatmapLike]:
        """The heatmaps of one image for several targets, from one forward pass.

        If none of them is the class that the model predicts, a policy of skip or fail applies. Under the other policies
        they explain what was asked for, since the caller chose the classes to compare.
        """
        image_input = self.engine.read(image)
        questions = [self.question(target, layer, method) for target in targets]
        how = self.question(None, layer, method)
        found = self.engine.compare(image_input, [q.target for q in questions], layer=how.layer, method=how.method)
        policy = self._policy().mispredicted
        if policy in ("skip", "fail") and all(map(mispredicted.is_mispredicted, (h.subject for h in found))):
            for heatmap, question in zip(found, questions, strict=True):
                if question.names_a_class:
                    mispredicted.chosen(heatmap.subject, policy, heatmap.overlay)
        return [self._gated(heatmap, image_input, question) for heatmap, question in zip(found, questions, strict=True)]

    def targets(self, targets: Sequence[Target] | None, count: int) -> Sequence[Target]:
        """The target of each of `count` images, None for the predicted class. Raises HeatmapError for another number."""
        if targets is None:
            return [None] * count
        alone = isinstance(targets, str) or not hasattr(targets, "__len__") or getattr(targets, "ndim", 1) == 0
        given = 1 if alone else len(targets)
        if isinstance(targets, str) or given != count:
            raise HeatmapError(f"there are {given} targets for {count} images; expected one per image, in a list")
        return list(targets)

    def classes(self, scores: NDArray[np.float32], targets: Sequence[Target]) -> list[Lead]:
        """Whose lead is read in each of N images with scores (N, classes): its target's, by default the predicted class's."""
        return [self._class(row, self.question(target)) for row, target in zip(scores, targets, strict=True)]

    def subject(self, image_input: ModelInput, row: NDArray[np.floating], target: Target) -> Subject:
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
            image_input,
        )

    def lead(self, target: Target, row: NDArray[np.floating]) -> Lead:
        """The lead that a target asks for, of one image's scores (classes,). Raises HeatmapError if it is not a class."""
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

    def _finished(self, heatmap: HeatmapLike, image_input: ModelInput, question: Question) -> HeatmapLike:
        """The heatmap behind its gate; that of the predicted class instead, or as well, where the policy says so."""
        self._gated(heatmap, image_input, question)
        policy = self._policy().mispredicted
        if policy == "label" or not question.names_a_class:
            return heatmap
        explained = [heatmap]
        for index in mispredicted.chosen(heatmap.subject, policy, heatmap.overlay):
            if index != heatmap.subject.target_index:
                explained.append(self.explain(image_input, replace(question, target=index)))
        if policy == "prediction":
            return explained[-1]
        heatmap.also = tuple(explained[1:])
        return heatmap

    def _gated(self, heatmap: HeatmapLike, image_input: ModelInput, question: Question) -> HeatmapLike:
        if self._gate is not None:
            heatmap.gate = partial(self._reason, self._gate, heatmap, image_input, question)
        return heatmap

    def _reason(self, gate: Gate, heatmap: HeatmapLike, image_input: ModelInput, question: Question) -> str:
        return gate(heatmap, image_input, question) if self._policy().gate else ""
