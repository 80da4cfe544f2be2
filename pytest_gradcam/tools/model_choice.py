"""Which model of a repository is explained: candidates from its code, each tried with the weights that are there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.explainer import Explainer
from pytest_gradcam.models import checkpoints, sources
from pytest_gradcam.tools.data_facts import Case, DataFacts
from pytest_gradcam.tools.source_facts import EVALUATION, ModelSource, SourceFile, TransformSource, source_files
from pytest_gradcam.tools.subject import of_the_user


@dataclass(frozen=True)
class Found:
    """A model that was built, with the weights that fit and the preprocess, and how tests build it again.

    `spec` is what gradcam_model names, empty where a fixture has to build it: `source` says then how. `layout` says where
    the state dict lies in the file of weights. `preprocess_spec` is what gradcam_preprocess names; where that is empty,
    `transform` is written into a fixture.
    """

    model: Any
    preprocess: Any
    import_root: Path
    description: str
    preprocess_description: str
    spec: str = ""
    source: ModelSource | None = None
    weights: Path | None = None
    pretrained: bool = False
    layout: checkpoints.Layout | None = None
    preprocess_spec: str = ""
    transform: TransformSource | None = None
    notes: tuple[str, ...] = ()

    @property
    def library_model(self) -> str:
        """torchvision:NAME or timm:NAME; empty for a model of the repository's own."""
        if self.source is not None and self.source.library:
            return f"{self.source.library}:{self.source.name}"
        return self.spec if self.spec.startswith(("torchvision:", "timm:")) else ""

    @property
    def loaded(self) -> str | None:
        """The weights as sources takes them: a file, 'pretrained', or None for none."""
        return sources.PRETRAINED if self.pretrained else None if self.weights is None else str(self.weights)

    def class_count(self) -> int:
        """How many classes the model scores: measured on noise of the size that the preprocess makes."""
        from PIL import Image

        with of_the_user("the model, on a grey image,"):
            return int(self._explainer().predict([Image.new("RGB", (320, 256), (128, 128, 128))]).shape[1])

    def as_labelled(self, cases: Sequence[Case], names: Sequence[str]) -> int:
        """For how many of the images the class is predicted that their folder is named after."""
        with of_the_user("the model, on the images,"):
            scores = self._explainer(names).predict([case.image for case in cases])
        return sum(names[best] == case.label for best, case in zip(scores.argmax(axis=1), cases, strict=True))

    def try_out(self, image: Path, names: Sequence[str]) -> list[str]:
        """Explain one image. Raises SettingsError if that cannot work; what works but deserves a look is returned."""
        try:
            with of_the_user(f"explaining {image.name}"):
                heatmap = self._explainer(names)(image)
        except HeatmapError as error:
            raise SettingsError(f"the model cannot be explained: {error}") from None
        return [] if heatmap.grid.max() > 0 else [f"the heatmap of {image.name} is empty: the tests will say so"]

    def _explainer(self, names: Sequence[str] = ()) -> Explainer:
        return Explainer(self.model, preprocess=self.preprocess, classes=list(names) or None)


def choose(root: Path, facts: DataFacts, model: str | None, weights: str | None, preprocess: str | None) -> Found:
    """The first candidate that works, with the weights that are named or the newest that fit. Raises SettingsError for none."""
    import_root = root / "src" if (root / "src").is_dir() and not (root / "src" / "__init__.py").exists() else root
    with importing_from(import_root):
        sources_found = list(source_files(root, import_root))
        files = facts.weights if weights is None else (Path(weights).resolve(),)
        if weights == sources.PRETRAINED:
            built = _published(model)
        else:
            built = _named(model, files, weights is not None) if model else _searched(root, sources_found, files)
        return _with_preprocess(replace(built, import_root=import_root), sources_found, preprocess)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules are found in this folder first."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def _named(spec: str, files: Sequence[Path], told: bool) -> Found:
    """The model that the user names, with the weights that fit."""
    with of_the_user(f"importing {spec}"):
        sources.look_up(spec, "--model")
    problems = []
    for path in files:
        try:
            with of_the_user(f"building {spec}"):
                model = sources.build(spec, str(path))
        except SettingsError as error:
            problems.append(str(error))
            continue
        return Found(model, None, path, spec, "", spec=spec, weights=path)
    if problems and told:
        raise SettingsError(problems[0])
    with of_the_user(f"building {spec}"):
        model = sources.build(spec)
    return Found(model, None, Path(), spec, "", spec=spec, notes=_without_weights(spec, model, files))


def _published(spec: str | None) -> Found:
    """The model that the user names, with its published weights."""
    if not spec:
        raise SettingsError(
            "--weights pretrained are those of a published model; pass --model torchvision:NAME or timm:NAME too"
        )
    with of_the_user(f"building {spec} with its published weights, which may have to be downloaded,"):
        return Found(sources.build(spec, sources.PRETRAINED), None, Path(), spec, "", spec=spec, pretrained=True)


def _searched(root: Path, sources_found: Sequence[SourceFile], files: Sequence[Path]) -> Found:
    candidates = sorted((model for file in sources_found for model in file.models()), key=_preference)
    tried: list[str] = []
    for path in files:
        for source in candidates:
            try:
                return _with_weights(source, path)
            except Exception as error:  # of the user's own code as well: the next candidate may work
                tried.append(f"{source.where}: {' '.join(str(error).split())[:160]}")
    for source in candidates:
        if source.callable and not source.arguments:
            with suppress(Exception):
                model = sources.build(source.callable)
                notes = _without_weights(source.callable, model, files)
                return Found(
                    model, None, root, f"{source.callable} ({source.where})", "", spec=source.callable, notes=notes
                )
    if tried:
        raise SettingsError(f"no model of this repository fits its weights ({tried[0]}); pass --model, and --weights")
    what = "builds a model" if not candidates else "can be built without arguments or weights"
    raise SettingsError(
        f"nothing below {root} {what}; pass --model package.module:callable, torchvision:NAME or timm:NAME"
    )


def _preference(source: ModelSource) -> tuple[bool, bool, bool]:
    """Lightning modules first, then callables of the repository, then calls of libraries."""
    return not source.lightning, not source.callable, bool(source.arguments)


def _with_weights(source: ModelSource, path: Path) -> Found:
    """The model of this source with these weights. Raises whatever says that they do not go together."""
    if source.callable and not source.arguments:
        model = sources.build(source.callable, str(path))
        return Found(model, None, path, f"{source.callable} ({source.where})", "", spec=source.callable, weights=path)
    if source.lightning:
        kind = sources.attribute(source.callable, "gradcam_model")
        model = kind.load_from_checkpoint(path, map_location="cpu").eval()
        return Found(model, None, path, f"{source.callable} ({source.where})", "", source=source, weights=path)
    where = checkpoints.layout(path)
    keywords = {"num_classes": where.classes, **source.keywords}
    model = checkpoints.load(checkpoints.library_model(source.library, source.name, keywords), path, where)
    named = f"{source.library}:{source.name}"
    if sources.own_class_names(named, weights=str(path)):
        return Found(model, None, path, f"{named} ({source.where})", "", spec=named, weights=path)
    shown = f"{source.library}'s {source.name} with {keywords['num_classes']} classes ({source.where})"
    source = replace(source, keywords=keywords)
    return Found(model, None, path, shown, "", source=source, weights=path, layout=where)


def _without_weights(spec: str, model: Any, files: Sequence[Path]) -> tuple[str, ...]:
    drawn = sources.drawn_anew(spec, model)
    there = f"none of the {len(files)} files of weights fits it" if files else "no file of weights was found"
    return (
        (f"{there}, and its weights are a random draw: the tests will have no verdict; pass --weights",)
        if drawn
        else ()
    )


def _with_preprocess(found: Found, sources_found: Sequence[SourceFile], spec: str | None) -> Found:
    """The model with its preprocess: the user's, the repository's for evaluation, or that of the library's weights."""
    if spec:
        return replace(found, preprocess=sources.preprocess(spec), preprocess_spec=spec, preprocess_description=spec)
    pipelines = [pipeline for file in sources_found for pipeline in file.transforms() if not pipeline.random]
    for pipeline in sorted(pipelines, key=lambda one: not EVALUATION.search(one.label)):
        with suppress(Exception):  # of the user's own code: the next one may work
            made = sources.preprocess(pipeline.spec) if pipeline.spec else _evaluated(pipeline)
            shown = f"{pipeline.label} ({pipeline.where})"
            found = replace(found, preprocess=made, preprocess_spec=pipeline.spec, preprocess_description=shown)
            return found if pipeline.spec else replace(found, transform=pipeline)
    return _with_published(found)


def _with_published(found: Found) -> Found:
    named = found.library_model
    if not named:
        raise SettingsError(
            "no transforms for evaluation were found, and a model's own cannot be guessed; pass --preprocess "
            "package.module:callable, from a PIL image to a float tensor (C, H, W)"
        )
    shown = f"that of the published weights, {named}"
    made = sources.preprocess(named, weights=found.loaded)
    if sources.own_class_names(named, weights=found.loaded):  # these are the published weights: nothing is assumed
        spec = "" if found.spec == named else named
        return replace(found, preprocess=made, preprocess_spec=spec, preprocess_description=shown)
    note = (
        f"no transforms for evaluation were found: those of the published {named} are used; check that they are yours"
    )
    return replace(
        found, preprocess=made, preprocess_spec=named, preprocess_description=shown, notes=(*found.notes, note)
    )


def _evaluated(pipeline: TransformSource) -> Any:
    """The pipeline made from its text, which names only what is imported: it is the user's own code."""
    names: dict[str, Any] = {}
    exec("\n".join(pipeline.imports), names)
    return eval(pipeline.text, names)
