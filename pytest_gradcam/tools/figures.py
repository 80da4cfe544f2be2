"""What `pytest-gradcam explain` does: pictures of heatmaps, and every figure of them, without a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_gradcam import metrics
from pytest_gradcam.checks import focus
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.evidence import files
from pytest_gradcam.evidence.messages import percent
from pytest_gradcam.explainer import explainer_of
from pytest_gradcam.grids import require_evidence
from pytest_gradcam.heatmap import Heatmap
from pytest_gradcam.images import png
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.targets import Target
from pytest_gradcam.tools.subject import ModelParts, of_the_user

_OF_A_MASK: dict[str, Callable[[Heatmap, Any], float | bool]] = {
    "mass": Heatmap.mass,
    "lift": Heatmap.lift,
    "mean_heat": Heatmap.mean_heat,
    "rank_accuracy": Heatmap.rank_accuracy,
    "hits": Heatmap.hits,
    "iou": Heatmap.iou,
    "auc": lambda heatmap, mask: focus.measured(heatmap, mask, metrics.auc),
    "peak_distance": lambda heatmap, mask: focus.measured(heatmap, mask, metrics.peak_distance),
    "area": lambda heatmap, mask: float(focus.in_view(heatmap, mask).mean()),
}


def explain(
    parts: ModelParts, images: Sequence[Path], target: Target, mask: Path | None, into: Path
) -> Iterator[dict[str, Any]]:
    """The figures of each image's heatmap as built-ins, and the name of the picture that was written of it.

    Figures that need a mask are there if one is given; `problem` says why there are none. Raises HeatmapError for an
    image or a mask that cannot be read, and for a target that the model does not have.
    """
    explained = ExplainedModel(parts.engine())
    explainer = explainer_of(lambda: explained)
    names = _names(images)
    for image, name in zip(images, names, strict=True):
        with of_the_user(f"explaining {image}"):
            heatmap = explainer(image, target)
        picture = into / f"{name}-heatmap.png"
        files.replace(picture, png(heatmap.overlay(mask)))
        yield {"image": str(image), "picture": str(picture), **figures(heatmap, mask)}


def figures(heatmap: Heatmap, mask: Any = None) -> dict[str, Any]:
    """Every figure of a heatmap as built-ins; `problem` says why there is none, if so."""
    subject = heatmap.subject
    about = {
        "target": subject.target,
        "target_index": subject.target_index,
        "score": subject.score,
        "probability": subject.probability,
        "rank": subject.rank,
        "predicted": subject.predicted,
        "layer": subject.layer,
        "method": subject.method,
        "grid": list(heatmap.grid.shape),
        "view": list(heatmap.values.shape),
    }
    try:
        require_evidence(heatmap.grid, subject)
        peak = heatmap.peak
        whole = {
            "peak": [peak.x, peak.y],
            "maxima": peak.maxima,
            "entropy": metrics.entropy(heatmap.values),
            "gini": metrics.gini(heatmap.values),
        }
        on_mask = {} if mask is None else {name: _plain(measure(heatmap, mask)) for name, measure in _OF_A_MASK.items()}
    except HeatmapError as error:
        return {**about, "problem": str(error)}
    return {**about, **whole, **({"mask": on_mask} if on_mask else {})}


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures of one heatmap as text."""
    yield found["image"]
    share = "" if found["probability"] is None else f", probability {found['probability']:.3g}"
    rank = "" if found["rank"] is None else f", rank {found['rank']}"
    predicted = (
        f"; the model predicts {found['predicted']!r}" if found["predicted"] not in (None, found["target"]) else ""
    )
    score = "" if found["score"] is None else f": score {found['score']:.4g}"
    yield f"  target    {found['target']!r}{score}{share}{rank}{predicted}"
    yield f"  layer     {found['layer']}, grid {found['grid'][0]} x {found['grid'][1]}, method {found['method']}"
    if "problem" in found:
        yield f"  NO FIGURES {found['problem']}"
    else:
        yield f"  peak      x {found['peak'][0]}, y {found['peak'][1]} in the view of {found['view'][1]} x {found['view'][0]} px"
        yield f"  spread    entropy {found['entropy']:.3g}, Gini index {found['gini']:.3g} (1: all in one place)"
        yield from _of_mask(found.get("mask"))
    yield f"  picture   {found['picture']}"


def _of_mask(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    yield (
        f"  mask      {percent(found['mass'])} of the relevance mass on {percent(found['area'])} of the view, "
        f"lift {found['lift']:.2f} (1 is chance)"
    )
    inside = "inside" if found["hits"] else f"{found['peak_distance']:.3g} px away"
    yield (
        f"            peak {inside}; mean heat {found['mean_heat']:.3g}, rank accuracy {found['rank_accuracy']:.3g}, "
        f"IoU {found['iou']:.3g}, AUC {found['auc']:.3g}"
    )


def _plain(figure: float | bool) -> float | bool:
    return figure if isinstance(figure, bool) else float(figure)


def _names(images: Sequence[Path]) -> list[str]:
    """A name for each picture: the image's own, with a number where two images share it."""
    names: list[str] = []
    for image in images:
        taken = sum(one.stem == image.stem for one in images[: len(names)])
        names.append(f"{image.stem}-{taken + 1}" if taken else image.stem)
    return names
