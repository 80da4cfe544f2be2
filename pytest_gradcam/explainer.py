"""The explainer that users hold: heatmaps of a model, and the checks on what it does with an image.

It is put together from three parts: a CAM engine, which makes heatmaps; the policy of the running test, which says what a
call leaves out; and the checks, each of which has its signature and its docstring where it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from pytest_gradcam.cam.engine import Engine, Interface
from pytest_gradcam.cam.method import Method
from pytest_gradcam.cam.output_kind import Asked
from pytest_gradcam.checks import (
    class_effects,
    determinism,
    faithfulness,
    intervention,
    no_reliance,
    randomisation,
    reliance,
    robustness,
    stability,
)
from pytest_gradcam.data import auditing
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.heatmap import Heatmap
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.settings import RISE_MASKS
from pytest_gradcam.state.called_with import Call
from pytest_gradcam.state.undo import finished
from pytest_gradcam.state.wrappers import move
from pytest_gradcam.targets import Classes, Detection, Target
from pytest_gradcam.validation import knows_its_keywords, listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_gradcam.cam.cache import HeatmapCache
    from pytest_gradcam.cam.layers import Candidate
    from pytest_gradcam.inputs.preprocess import Preprocess
    from pytest_gradcam.questions.protocols import HeatmapLike

_Key = TypeVar("_Key", bound=Hashable)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _asks(
    check: Callable[Concatenate[ExplainedModel, _Arguments], _Result],
) -> Callable[Concatenate[Explainer, _Arguments], _Result]:
    """A check as a method: its signature and docstring are those of the function."""

    @finished
    @wraps(check)
    def method(self: Explainer, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Result:
        return check(self._source(), *arguments, **options)

    return method


@knows_its_keywords
class Explainer:
    """Explains a model's scores by heatmaps, and checks what it does with an image.

    `model` is a torch.nn.Module, or any callable from a batch, a float tensor (N, C, H, W), to scores (N, classes): for that
    there are all checks that need no gradient, and the methods rise and occlusion (docs/models.md).
    `layer` is a module's dotted name, by default the deepest place where the choice is sound; `method` a name from
    `pytest_gradcam.settings.METHODS`; `preprocess` a callable from a PIL image to a float tensor (C, H, W), not needed
    for tensors; `classes` names in the order of the scores, or a dict name -> index; `device` "auto" (where the model
    is), or one that the model is moved to; `batch_size` the most images in one forward pass. `output` says whether
    the scores are "logits" or "probabilities", `output_key` where they lie in what the model returns (an index or a key),
    `task` whether an image has one class ("single") or any number ("multi"): docs/outputs.md says what is measured.
    `rise_masks` is the number of random masks of method rise. `window` (lo, hi) are the values of 16-bit and float images that
    become black and white, `channels` the one or three of the model's input that people see. A model that is not called with
    a batch alone gets it under the name `image_input`, beside `inputs`: the same for all images, without a batch axis.
    The model is given back as it was after every call. Raises HeatmapError for arguments that cannot work with any image.
    """

    def __init__(
        self,
        model: Any,
        layer: str | None = None,
        method: str = "gradcam",
        preprocess: Preprocess | None = None,
        classes: Classes | None = None,
        device: Any = "auto",
        batch_size: int = 16,
        *,
        output: str = "auto",
        output_key: str | int | None = None,
        task: str = "auto",
        cache: HeatmapCache | None = None,
        rise_masks: int = RISE_MASKS,
        window: tuple[float, float] | None = None,
        channels: tuple[int, ...] | None = None,
        image_input: str | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        call = Call(image_input, {} if inputs is None else inputs)
        interface = Interface(preprocess, classes, Asked(output, output_key, task), window, channels, call)
        explained = ExplainedModel(Engine(model, interface, layer, Method(method, batch_size, rise_masks), cache))
        if device != "auto":
            move(model, device)
        self._source: Callable[[], ExplainedModel] = lambda: explained

    def __call__(
        self, image: Any, target: Target = None, *, layer: str | None = None, method: str | None = None
    ) -> Heatmap:
        """The heatmap of one image for one target.

        `image` is a path, a PIL image, a uint8 array (H, W, 3) or (H, W), or a float tensor (C, H, W) that is ready
        for the model; `target` None (the predicted class), an index, a class name, a `Contrast` of two classes, a
        callable from the model's output for one image to a scalar, a `Box` (of a detector) or a `Region` (of a
        segmenter). A model with one logit has the classes 1 (its score is the logit) and 0 (its negative).
        Raises HeatmapError if no heatmap can be trusted.
        """
        return _made(self._source().heatmaps([image], [target], layer=layer, method=method))[0]

    def batch(
        self,
        images: Sequence[Any],
        targets: Sequence[Target] | None = None,
        *,
        layer: str | None = None,
        method: str | None = None,
    ) -> list[Heatmap]:
        """The heatmaps of several images, one target each, in few forward passes."""
        images = listed("images", images)
        targets = [None] * len(images) if targets is None else _several(targets)
        return _made(self._source().heatmaps(images, targets, layer=layer, method=method))

    def compare(
        self, image: Any, targets: Sequence[_Key], *, layer: str | None = None, method: str | None = None
    ) -> dict[_Key, Heatmap]:
        """The heatmaps of one image for several targets, from one forward pass (and one more for each callable)."""
        several: list[Any] = _several(targets)
        return dict(
            zip(several, _made(self._source().compare(image, several, layer=layer, method=method)), strict=True)
        )

    def predict(self, images: Sequence[Any]) -> NDArray[np.float32]:
        """The model's logits (N, classes) for N images; for a model with one logit its negative and it.

        Of probabilities it gives the logits that they were made from.
        """
        scores: NDArray[np.float32] = self._engine.predict(listed("images", images))
        return scores

    def detections(self, image: Any) -> list[Detection]:
        """What a detector finds in an image, the surest first: each a `Box` in pixels of the image, with its score.

        `compare(image, explainer.detections(image))` explains them all, from one forward pass.
        Raises HeatmapError for a model that is no detector.
        """
        found: list[Detection] = self._engine.detections(image)
        return found

    @property
    def model(self) -> Any:
        """The model as it was passed."""
        return self._engine.model

    @property
    def network(self) -> Any:
        """The model without torch.compile and DataParallel around it."""
        return self._engine.network

    @property
    def method(self) -> str:
        """The method of calls that name none."""
        return self._source().question().method or self._engine.method

    @property
    def layer(self) -> str:
        """The target layer in use, by its dotted name. Raises HeatmapError before the first image if it is not set."""
        return self._source().question().layer or self._engine.layer

    def layers(self) -> tuple[Candidate, ...]:
        """The places where a heatmap could be read in the last image explained, deepest first.

        Each candidate has a `site` (its layer's `name` and its `grid`, (h, w)) and a `note`, which says why it was
        chosen or passed over. Raises HeatmapError before the first image.
        """
        layers: tuple[Candidate, ...] = self._engine.layers()
        return layers

    assert_ignores = _asks(intervention.assert_ignores)
    assert_relies_on = _asks(intervention.assert_relies_on)
    assert_no_reliance = _asks(no_reliance.assert_no_reliance)
    reliance = _asks(reliance.reliance)
    fed_by = _asks(class_effects.fed_by)
    assert_stable = _asks(stability.assert_stable)
    robustness = _asks(robustness.robustness)
    assert_faithful = _asks(faithfulness.assert_faithful)
    assert_depends_on_weights = _asks(randomisation.assert_depends_on_weights)
    assert_deterministic = _asks(determinism.assert_deterministic)
    audit = _asks(auditing.audit)

    @property
    def _engine(self) -> Any:
        return self._source().engine

    def __repr__(self) -> str:
        return f"<Explainer of {self._engine!r}>"


def explainer_of(source: Callable[[], ExplainedModel]) -> Explainer:
    """An explainer of the model that the source gives at each call: in pytest that which the running test sees."""
    explainer = Explainer.__new__(Explainer)
    explainer._source = source
    return explainer


def _made(heatmaps: Sequence[HeatmapLike]) -> list[Heatmap]:
    return cast("list[Heatmap]", heatmaps)  # the CAM engine makes Heatmaps; ExplainedModel knows their protocol only


def _several(targets: Any) -> list[Any]:
    if isinstance(targets, str) or not hasattr(targets, "__len__") or getattr(targets, "ndim", 1) == 0:
        raise HeatmapError(f"targets={targets!r} is one target; expected one per image, [target] * len(images)")
    return list(targets)
