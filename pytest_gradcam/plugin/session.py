"""One pytest run: wires settings, model, explainer and evidence together, and never sees pytest."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gradcam.errors import GradcamWarning, HeatmapError
from pytest_gradcam.evidence import baseline_paths, files
from pytest_gradcam.evidence.current_test import Objects, current
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.evidence.settle import undecided
from pytest_gradcam.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.cam.cache import HeatmapCache
    from pytest_gradcam.explainer import Explainer
    from pytest_gradcam.questions.explained_model import ExplainedModel, Policy


#: What is wrong with weights that are a random draw, by their digest.
_untrained: dict[str, str] = {}


def illustrate(
    record: Record, draw: Callable[[Record], Image], *, settings: Settings, root: Path, attempt: int = 1
) -> Record:
    """The record of a numbered check of a test, with a picture on disk if the settings ask for one."""
    wanted = settings.pictures == "all" or (settings.pictures == "failed" and record.outcome != "passed")
    if not wanted:
        return record
    from pytest_gradcam.images import png

    again = f"-try{attempt}" if attempt > 1 else ""
    name = f"{_file_name(record.test)}-{record.number}-{record.check}{again}.png"
    path = root / settings.directory / "pictures" / name
    content = png(draw(record))
    try:
        files.replace(path, content)
    except OSError as error:  # a full disk must not turn one verdict into another, so the summary says it
        return replace(record, unpictured=str(error))
    return replace(record, picture=baseline_paths.shown(path))


def broken(error: BaseException, *, test_id: str, check: int, requirements: tuple[str, ...] = ()) -> Record:
    """The record of a test that ended before one of its checks had a verdict."""
    first = next(iter(str(error).strip().splitlines()), "")
    reason = f"the test ended with {type(error).__name__}" + (f": {first}" if first else "")
    return Record(
        check="test",
        measure="",
        outcome="failed" if isinstance(error, AssertionError) else "invalid",
        reason=reason,
        finding=reason,
        test=test_id,
        number=check,
        requirements=requirements,
    )


def look_up(settings: Settings, wanted: Container[str]) -> None:
    """Raises SettingsError if one of these fixtures cannot be built from the settings. Nothing is built."""
    from pytest_gradcam.models import from_settings, sources

    if "gradcam_model" in wanted and settings.model is not None:
        sources.look_up(settings.model, "gradcam_model")
        sources.usable(sources.own_share(settings.device))
        from_settings.require_weights(settings)
    if "gradcam_preprocess" in wanted and settings.preprocess is not None:
        sources.look_up(settings.preprocess, "gradcam_preprocess")
    if "gradcam_classes" in wanted:
        from_settings.classes(settings)


def build_model(settings: Settings, classes: Callable[[], Any]) -> Any:
    """The model of the settings; `classes` gives the class names where it needs them. Raises SettingsError if there is none."""
    from pytest_gradcam.models import from_settings, sources

    model = from_settings.model(settings, classes)
    assert settings.model is not None
    drawn = sources.drawn_anew(settings.model, model) if settings.weights is None else ""
    if drawn:
        _note_untrained(model, f"{settings.model} has random weights ({drawn})", settings)
    return model


def _note_untrained(model: Any, what: str, settings: Settings) -> None:
    """No check on these weights has a verdict from now on, unless the settings allow it."""
    from pytest_gradcam.cam.identity import weights_digest

    _untrained[weights_digest(model)] = what
    if settings.untrained == "allow":
        return
    published = " (or to 'pretrained' to download the published ones)" if "has random weights (no" in what else ""
    warnings.warn(
        f"{what}, so its heatmaps mean nothing and no check on it has a verdict: set gradcam_weights to a file{published}, or "
        "gradcam_untrained = allow",
        GradcamWarning,
        stacklevel=3,
    )


def on_trained_weights(record: Record, settings: Settings) -> Record:
    """The record, undecided if the weights that it is about are a random draw; where that is allowed, it says so."""
    what = _untrained.get(record.weights)
    if not record.weights or what is None or record.outcome not in ("passed", "failed"):
        return record
    if settings.untrained == "allow":
        return replace(
            record, details=(*record.details, ("weights", f"{what}, which gradcam_untrained = allow lets pass"))
        )
    return undecided(
        record, HeatmapError(f"{what}, so no verdict can rest on it; set gradcam_weights, or gradcam_untrained = allow")
    )


class Models:
    """The models of a run, each explained by one engine; the running test decides which one is asked."""

    def __init__(self, settings: Settings, cache_directory: Callable[[], Path] | None) -> None:
        """`cache_directory` makes the directory for heatmaps; None if pytest runs without its cache."""
        from pytest_gradcam.models import sources

        sources.share_threads()
        self._settings = settings
        self._cache = _heatmap_cache(settings, cache_directory)
        self._explained: dict[tuple[object, ...], tuple[Objects, ExplainedModel]] = {}

    def explained(self, objects: Objects) -> ExplainedModel:
        """The model under the policy of the running test: the same for the same objects."""
        key = (id(objects.model), id(objects.preprocess), _content(objects.classes))
        if key not in self._explained:  # while the objects are held, no others have their ids
            self._explained[key] = objects, self._explain(objects)
        return self._explained[key][1]

    def policy(self) -> Policy:
        """The settings, overridden by the markers of the running test."""
        from pytest_gradcam.questions.explained_model import Policy

        test, settings = current(), self._settings
        marker: Mapping[str, Any] = test.marker if test else {}
        return Policy(
            target=marker.get("target"),
            layer=marker.get("layer"),
            method=marker.get("method"),
            gate=marker.get("gate", settings.gate) == "on",
            mispredicted=marker.get("mispredicted", settings.mispredicted),
        )

    def _explain(self, objects: Objects) -> ExplainedModel:
        from pytest_gradcam.cam.engine import Engine
        from pytest_gradcam.checks.gate import Gatekeeper
        from pytest_gradcam.questions.explained_model import ExplainedModel

        engine = Engine.from_settings(self._settings, objects.model, objects.preprocess, objects.classes, self._cache)
        if self._settings.gate == "on" and (reason := engine.without_heatmaps(None)):
            warnings.warn(
                f"gradcam_gate = on tries nothing here: {reason}. Checks without heatmaps are judged as they are",
                GradcamWarning,
                stacklevel=2,
            )
        return ExplainedModel(engine, self.policy, Gatekeeper(engine))


def build_explainer(models: Models, objects: Objects) -> Explainer:
    """The `gradcam` fixture: an explainer of the objects that the running test sees, or of these outside tests."""
    from pytest_gradcam.explainer import explainer_of

    models.explained(objects)  # what cannot work raises when the fixture is set up

    def source() -> ExplainedModel:
        test = current()
        return models.explained(objects if test is None else test.objects())

    return explainer_of(source)


def _content(classes: Any) -> object:
    """What a change of the class names would change."""
    classes = classes.tolist() if hasattr(classes, "tolist") else classes
    return repr(classes.items() if isinstance(classes, Mapping) else classes)


def _heatmap_cache(settings: Settings, directory: Callable[[], Path] | None) -> HeatmapCache | None:
    """The cache that the settings ask for; only in memory, with a warning, if the disk cannot be used."""
    from pytest_gradcam.cam.cache import open_cache

    if settings.cache == "off":
        return None
    if settings.cache == "run":
        return open_cache(None)
    reason = "pytest runs without its cache plugin"
    if directory is not None:
        try:
            return open_cache(directory())
        except OSError as error:
            reason = str(error)
    warnings.warn(
        f"gradcam_cache = disk cannot keep heatmaps for later runs ({reason}), so they are kept in memory for this run; "
        "make pytest's cache directory writable, or set gradcam_cache = run",
        GradcamWarning,
        stacklevel=2,
    )
    return open_cache(None)


def _file_name(test_id: str) -> str:
    """A file name that says which test it is and that no other test shares."""
    name, bracket, parameters = test_id.partition("[")
    readable = re.sub(r"[^\w.\[\]-]+", "-", name.rpartition("/")[2] + bracket + parameters).strip("-")
    return f"{readable[:80]}-{sha256(test_id.encode()).hexdigest()[:8]}"
