"""What `pytest-gradcam inspect` says about a model: measured on one image, as built-ins and as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pytest_gradcam.cam.engine import Engine
from pytest_gradcam.cam.layers import Candidate
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.heatmap import Heatmap
from pytest_gradcam.inputs.reader import Input
from pytest_gradcam.tools.subject import ModelParts, of_the_user

_RUNS = 5  # of forward pass and heatmap in turn, after one of each
_ENOUGH = 2000.0  # milliseconds of heatmaps, after which none is timed again
_SHOWN = 12  # layers, in the text; --json has all


def example() -> Path:
    """A photograph that comes with scikit-image."""
    return Path(str(resources.files("skimage.data").joinpath("astronaut.png")))


def inspect(parts: ModelParts, image: Any = None) -> dict[str, Any]:
    """The facts about a model, as built-ins; by default on a photograph that comes with scikit-image.

    Raises HeatmapError if the model cannot be explained, SettingsError if its own code raises.
    """
    image = example() if image is None else image
    warnings = list(_warnings(parts))
    with of_the_user("the model or its preprocess"):
        engine, misfit = _fitting(parts, image)
        warnings += [misfit] if misfit else []
        ready = engine.read(image)
        blind, alone = engine.without_heatmaps(None), bool(engine.without_heatmaps("gradcam"))
        method = "occlusion" if blind else engine.method
        [heatmap] = engine.heatmaps([ready], [None], method=method)
        scores = engine.predict([ready])[0]
    warnings += [f"{blind}. Here its heatmap is by occlusion"] if blind else []
    warnings += _doubts(heatmap)
    return {
        "model": {"spec": parts.settings.model, **_identity(engine, ready)},
        "layer": "" if alone else engine.layer,
        "method": method,
        "layers": [] if alone else [_candidate(one, engine.layer) for one in engine.layers()],
        "output": {
            "classes": len(scores),
            "kind": heatmap.subject.output or "logits",
            "task": heatmap.subject.task or "single",
        },
        "preprocess": _preprocess(engine, ready, image),
        "prediction": {
            "image": ready.name,
            "target": heatmap.target,
            "index": heatmap.subject.target_index,
            "score": heatmap.score,
            "probability": heatmap.subject.probability,
        },
        "cost": _cost(engine, ready, method, 1 if alone else _RUNS),
        "warnings": warnings,
    }


def lines(facts: dict[str, Any]) -> Iterator[str]:
    """The facts as text."""
    model, output, seen, cost = facts["model"], facts["output"], facts["preprocess"], facts["cost"]
    yield f"model       {model['description']} on {model['device'] or 'cpu'}: {model['spec']}"
    yield f"weights     sha256 {model['weights'] or 'unknown'}"
    yield f"output      {output['classes']} classes, {output['kind']}; {_TASKS[output['task']]}"
    yield f"layer       {facts['layer'] or 'none'}, method {facts['method']}"
    places = facts["layers"]
    for place in _shown(places):
        mark = "->" if place["chosen"] else "  "
        yield f"  {mark} {place['layer']:<34} {place['grid'][0]} x {place['grid'][1]}  {place['note']}{_geometry(place)}"
    if len(places) > len(_shown(places)):
        yield f"     ... and {len(places) - len(_shown(places))} more; --json lists all"
    yield from _said_of_preprocess(seen)
    found = facts["prediction"]
    share = "" if found["probability"] is None else f", probability {found['probability']:.3g}"
    yield f"prediction  {found['target']!r} ({found['index']}) for {found['image']}: score {found['score']:.4g}{share}"
    yield (
        f"cost        {cost['forward_ms']:.0f} ms a forward pass, {cost['heatmap_ms']:.0f} ms a heatmap "
        f"({cost['ratio']:.2f} times), median of {cost['runs']}"
    )
    yield from (f"WARNING     {warning}" for warning in facts["warnings"])


_TASKS = {"single": "one class for each image", "multi": "any number of classes for each image"}


def _shown(places: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    chosen = [place for place in places[_SHOWN:] if place["chosen"]]
    return [*places[:_SHOWN], *chosen]


def _geometry(place: dict[str, Any]) -> str:
    return f"; {place['geometry']}" if place.get("geometry") else ""


def _warnings(parts: ModelParts) -> Iterator[str]:
    if parts.untrained:
        yield f"the weights are a random draw ({parts.untrained}), so no check on them has a verdict: pass --weights"
    if parts.classes is None:
        yield "no class names are known, so targets are indices: pass --classes"


def _fitting(parts: ModelParts, image: Any) -> tuple[Engine, str]:
    """An engine that works on the image, and what is wrong with the class names if it only works without them."""
    engine = parts.engine()
    try:
        engine.predict([image])
    except HeatmapError as error:
        if parts.classes is None:
            raise
        engine = parts.engine(with_classes=False)
        engine.predict([image])  # raises again where the names are not what is wrong
        return engine, f"the class names do not fit: {error}"
    return engine, ""


def _doubts(heatmap: Heatmap) -> Iterator[str]:
    kind = heatmap.subject.output
    if "softmax" in kind or "sigmoid" in kind:
        yield f"the model returns probabilities ({kind}); heatmaps and margins are of the logits"
    if not np.isfinite(heatmap.grid).all() or heatmap.grid.max() <= 0:
        yield f"the heatmap of {heatmap.target!r} on this image holds no positive evidence; try another image, or layer"


def _identity(engine: Engine, ready: Input) -> dict[str, Any]:
    from pytest_gradcam.cam.identity import weights_digest
    from pytest_gradcam.evidence.record import Subject

    subject = engine.identified(Subject(), ready)
    return {
        "description": subject.model,
        "class": subject.model_class,
        "parameters": subject.parameter_count,
        "device": subject.device,
        "weights": weights_digest(engine.network),
    }


def _candidate(candidate: Candidate, layer: str) -> dict[str, Any]:
    geometry = getattr(candidate, "geometry", None)
    chosen = candidate.site.name == layer and candidate.note.startswith(("chosen", "named"))
    return {
        "layer": candidate.site.name,
        "grid": list(candidate.site.grid),
        "note": candidate.note,
        "chosen": chosen,
        "geometry": None if geometry is None else str(geometry),
    }


def _preprocess(engine: Engine, ready: Input, image: Any) -> dict[str, Any]:
    """What the preprocess did to the image: sizes, the range of each channel, the part that is seen, the padding."""
    tensor = ready.pixels
    facts: dict[str, Any] = {"image": None if ready.size is None else list(ready.size), "input": list(tensor.shape)}
    if ready.size is None:
        return {**facts, "masks": "in the coordinates of the tensor"}
    black, white = (engine.read(Image.new("RGB", ready.size[::-1], (level,) * 3)).pixels for level in (0, 255))
    facts["range"] = [[float(low), float(high)] for low, high in zip(_level(black), _level(white), strict=True)]
    facts["padding"] = float(0 if (padding := ready.look()[1]) is None else padding.mean())
    try:
        place = ready.place() if ready.place is not None else None
        ready.carry(_half(ready.size))
    except HeatmapError as error:
        return {**facts, "view": None, "masks": str(error)}
    if place is not None:
        (height, width) = tensor.shape[-2:]
        # From the outer edges of the view's pixels: a place is counted from the centre of the first pixel.
        corners = np.array([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]]) @ place.to_image.T + 0.5
        limits = np.array(ready.size[::-1])
        (x0, x1), (y0, y1) = (sorted(float(v) for v in np.clip(corners[:, axis], 0, limits[axis])) for axis in (0, 1))
        facts["view"] = [round(x0), round(y0), round(x1), round(y1)]
    return {**facts, "masks": "transformed together with the image"}


def _level(painted: NDArray[np.float32]) -> NDArray[np.float32]:
    """The value of each channel (C,) in the middle, where there is no padding."""
    level: NDArray[np.float32] = painted[:, painted.shape[1] // 2, painted.shape[2] // 2]
    return level


def _half(size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4] = True
    return mask


def _said_of_preprocess(seen: dict[str, Any]) -> Iterator[str]:
    channels, height, width = seen["input"]
    if seen["image"] is None:
        yield f"input       a tensor {channels} x {height} x {width}; masks are {seen['masks']}"
        return
    (tall, wide) = seen["image"]
    part = ""
    if seen.get("view"):
        x0, y0, x1, y1 = seen["view"]
        part = f", which shows x {x0} to {x1} and y {y0} to {y1}"
    padding = f"; {seen['padding']:.1%} of it is padding" if seen["padding"] else ""
    yield f"preprocess  {wide} x {tall} px become {channels} x {height} x {width}{part}{padding}"
    spans = ", ".join(f"{low:.3g} to {high:.3g}" for low, high in seen["range"])
    yield f"            black to white: {spans} (by channel); masks: {seen['masks']}"


def _cost(engine: Engine, ready: Input, method: str, runs: int) -> dict[str, Any]:
    """Medians of interleaved runs, in milliseconds; fewer of a method that takes seconds, as one of a thousand masks does."""
    steps: tuple[Callable[[], Any], ...] = (
        lambda: engine.predict([ready]),
        lambda: engine.heatmaps([ready], [None], method=method),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for step, found in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            found.append(1000 * (time.perf_counter() - start))
        if sum(times[1]) > _ENOUGH:
            break
    forward, heatmap = map(median, times)
    return {"forward_ms": forward, "heatmap_ms": heatmap, "ratio": heatmap / forward, "runs": len(times[1])}
