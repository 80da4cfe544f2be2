"""The explainer that users hold: heatmaps of a model, and the checks on what it does with an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.cam.targets import Target
from pytest_gradcam.checks import (
    class_effects,
    determinism,
    faithfulness,
    intervention,
    randomisation,
    reliance,
    robustness,
    stability,
)
from pytest_gradcam.checks.class_effects import Fed
from pytest_gradcam.checks.reliance_rule import Reliance
from pytest_gradcam.evidence.bounds import Lift

if TYPE_CHECKING:
    from pytest_gradcam.checks.robustness_curve import Robustness
    from pytest_gradcam.perturbations import Kind, Perturbation


class Explainer(Engine):
    """Engine of one model, and checks on what the model does with an image.

    The arguments are those of `Engine`. The model is given back as it was after every call.
    """

    def assert_ignores(
        self, image: Any, mask: Any, *, target: Target = None, others: Sequence[Any] = (), at_most: float = 0.25
    ) -> None:
        """Replacing the masked pixels leaves the prediction: the margin of the target falls by at most this.

        The margin is the lead of the target's logit over the best other class (over the other class of a `Contrast`).
        A fall of 1 is the lead that the model's first class has over the second: in this image or, where `others` are
        passed, in the mean over it and up to nine of them, images of the same size for the model. The pixels take one
        colour, are inpainted and, where others are passed, filled with theirs, of another class if there are such: these
        decide, and have to agree. Blur and noise are for information. Control regions of the mask's size and shape
        elsewhere say what any change of this size does. One call scores 32 images at the most.
        One image is not certain: `reliance` on a set of images is (docs/interventions.md).
        Raises FocusError if the margin falls by more with every fill; HeatmapError if the fills disagree, if a control
        region costs more than half as much or fits nowhere, if a target that is not predicted gains more, if the target
        is also the model's answer to the mean colour alone and no other brings in another class's pixels, and for
        malformed images, masks and bounds (0 < at_most <= 1).
        """
        intervention.assert_ignores(self, image, mask, target=target, others=others, at_most=at_most)

    def assert_relies_on(
        self, image: Any, mask: Any, *, target: Target = None, others: Sequence[Any] = (), at_least: float = 0.5
    ) -> None:
        """Replacing the masked pixels costs the prediction: the margin of the target falls by at least this.

        Arguments, units, fills and controls are those of `assert_ignores`; 0 < at_least <= 1, and at 1 the lead is lost.
        Raises FocusError if the margin falls by less with every fill; HeatmapError if that cannot be decided.
        """
        intervention.assert_relies_on(self, image, mask, target=target, others=others, at_least=at_least)

    def reliance(
        self,
        images: Sequence[Any],
        masks: Any,
        targets: Sequence[Target] | None = None,
        *,
        without: Sequence[Any] = (),
    ) -> Reliance:
        """Whether the model relies on the masked pixels of these images: yes, no, or undecided.

        The pixels are replaced, and the fall of the logit margin of each image's target (an index or a name; by default
        the predicted class) is averaged, in units of the model's mean margin over the images. `masks` is one mask for
        all images or one for each, in the coordinates of the images that are passed. Which pixels come in depends on
        what the images allow: those of an image predicted as another class (swap), of any other image (paste), or the
        mean colour, in that order of certainty. The model relies on the pixels if the one-sided 95 % lower bound of
        the mean fall lies above the intervention's bound, and does not if the upper bound lies below; it is undecided
        in between, where the interventions contradict each other, where the pixels right around the mask matter about as
        much, and, for a no, where most images are of the class that the model answers to the mean colour alone and none
        lends another class's pixels (docs/reliance.md). It costs about five forward passes an image.

        Where the artefact lies across the object, pass two or more images `without` it: the place is inpainted in both,
        and what that costs without the artefact is taken off.
        Raises HeatmapError for malformed images, masks and targets, and for a model without a margin.
        """
        return reliance.reliance(self, images, masks, targets, without=without)

    def assert_no_reliance(
        self, images: Sequence[Any], masks: Any, *, without: Sequence[Any] = (), at_most: float | None = None
    ) -> None:
        """The model does not rely on the masked pixels of these images: `reliance(images, masks)` says no.

        `at_most` is the mean fall of the margin above which it does, in units of the model's mean margin, above 0 and
        up to 1; by default the bound that was measured for the intervention (docs/reliance.md).
        Raises FocusError if the model relies on them; HeatmapError if that is undecided.
        """
        reliance.assert_no_reliance(self, images, masks, without=without, at_most=at_most)

    def fed_by(self, images: Sequence[Any], mask: Any) -> list[Fed]:
        """Which classes this place feeds, largest effect first: all of the model's classes, ranked.

        The place is inpainted in every image; `effect` is the mean fall of the class's logit over the images, `interval`
        its two-sided 95 % t interval (unbounded for one image). `mask` is one mask for all images or a list of one
        each. A shortcut to a class that is never predicted shows here, and in no heatmap of a predicted class. What
        comes first is a question for a look at the training images of that class, not a verdict: to rank a thousand
        classes is to make a thousand comparisons.
        Raises HeatmapError for malformed images and masks, and if inpainting moves no score.
        """
        return class_effects.fed_by(self, images, mask)

    def assert_stable(
        self,
        image: Any,
        perturbation: Perturbation | Iterable[Perturbation],
        *,
        target: Target = None,
        mask: Any = None,
        same_class: bool = True,
        score_within: float | None = None,
        mass_at_least: float | Lift | None = None,
        similarity_at_least: float | None = None,
    ) -> None:
        """What is said to survive survives this perturbation of the image, or each of these.

        `image` is a path, PIL image or uint8 array, not a tensor; `perturbation` from `pytest_gradcam.perturbations`.
        Explained is `target`, by default the class that is predicted for the original. At least one must be asked for:
        `same_class`, that the model predicts the same class (on unless turned off);
        `score_within`, how far the target's score may move, up or down, in its own units (logits of a classifier), > 0;
        `mass_at_least`, the share of the heatmap in `mask` (in the coordinates of the image), which moves as the image
        does (relevance mass, Arras et al. 2022), in (0, 1], or a lift, `masks.lift(2)`;
        `similarity_at_least`, the rank correlation (Spearman) of the heatmap with that of the original, moved as the
        image is, over the pixels that the original showed, in (0, 1].
        Raises FocusError if one breaks; HeatmapError if none does and one cannot be decided: a mask that was moved out
        of the view, a heatmap that holds no evidence, a bound that cannot decide anything.
        """
        stability.assert_stable(
            self,
            image,
            perturbation,
            target=target,
            mask=mask,
            same_class=same_class,
            score_within=score_within,
            mass_at_least=mass_at_least,
            similarity_at_least=similarity_at_least,
        )

    def robustness(
        self,
        image: Any,
        kind: str | type[Kind] | Callable[[float], Perturbation],
        *,
        severities: Iterable[float] = robustness.SEVERITIES,
        target: Target = None,
        mask: Any = None,
        same_class: bool = True,
        score_within: float | None = None,
        mass_at_least: float | Lift | None = None,
        similarity_at_least: float | None = None,
    ) -> Robustness:
        """Score, mass, similarity and predicted class at each severity of a kind, and where a bound breaks first.

        `kind` is a name or class of `pytest_gradcam.perturbations`, or a callable from a severity to a perturbation;
        `severities` rise, in [0, 1]. The bounds and the other arguments are those of `assert_stable`; a figure is
        measured whether it is bounded or not, the mass where there is a mask.
        Raises HeatmapError for malformed arguments; a figure that cannot be measured at a severity is None there.
        """
        return robustness.robustness(
            self,
            image,
            kind,
            severities=severities,
            target=target,
            mask=mask,
            same_class=same_class,
            score_within=score_within,
            mass_at_least=mass_at_least,
            similarity_at_least=similarity_at_least,
        )

    def assert_faithful(
        self,
        image: Any,
        *,
        target: Target = None,
        at_least: float = 0.9,
        orders: int = 20,
        seed: int = 0,
        layer: str | None = None,
        method: str | None = None,
    ) -> None:
        """The heatmap's order of pixels moves the score more than this share of random orders (0 < at_least <= 1).

        Each order is scored by deletion and insertion (Petsiuk et al. 2018) and ROAD (Rong et al. 2022); the random
        `orders`, at least 9 and drawn from `seed`, are the heatmap's own cells in other places. `image`, `target`,
        `layer` and `method` are those of a call. It costs 22 forward passes for each order.
        Raises FocusError if fewer are beaten; HeatmapError if the check cannot be decided: no evidence, an image that
        scores no higher than a blank one, a grid of too few cells.
        """
        faithfulness.assert_faithful(
            self, image, target=target, at_least=at_least, orders=orders, seed=seed, layer=layer, method=method
        )

    def assert_depends_on_weights(
        self,
        image: Any,
        *,
        target: Target = None,
        at_most: float = 0.4,
        cascade: bool = False,
        draws: int = 5,
        seed: int = 0,
        layer: str | None = None,
        method: str | None = None,
    ) -> None:
        """Once the weights are redrawn the heatmap is no more than this like itself (rank correlation; 0 <= at_most < 1).

        The model parameter randomisation of Adebayo et al. (2018), on a copy: every parameter tensor takes its own
        values in random order, batch statistics follow. The figure is the mean over `draws` from `seed`. `cascade`
        redraws from the output down in five stages and takes the mean over them as well: it finds methods that look at
        features but not at what the head makes of them. The rest are those of a call.
        Raises FocusError if the heatmap stays alike; HeatmapError if the check cannot be decided: a model that cannot
        be copied, or that leaves no evidence once it is redrawn.
        """
        randomisation.assert_depends_on_weights(
            self,
            image,
            target=target,
            at_most=at_most,
            cascade=cascade,
            draws=draws,
            seed=seed,
            layer=layer,
            method=method,
        )

    def assert_deterministic(
        self,
        image: Any,
        *,
        target: Target = None,
        at_most: float = 1e-3,
        layer: str | None = None,
        method: str | None = None,
    ) -> None:
        """The same image gives the same heatmap: again, under other random states, and beside other images.

        On a CPU a repetition changes no bit; in a batch, and on other devices, the heatmap may change by `at_most` of its
        maximum (0 <= at_most < 1). The cache is passed by. The rest are those of a call.
        Raises FocusError if it changes more: a random preprocess, dropout left on, statistics over the batch.
        HeatmapError if the check cannot be decided.
        """
        determinism.assert_deterministic(self, image, target=target, at_most=at_most, layer=layer, method=method)
