"""Models, weights, preprocesses and class names from the settings' texts."""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Kind, Wanted, kind_of
from pytest_gradcam.models.weights import listed, load
from pytest_gradcam.settings import KINDS
from pytest_gradcam.state.forward_only import ForwardOnly
from pytest_gradcam.state.surroundings import random_states_kept
from pytest_gradcam.validation import brief, nearest, nearest_prefix

PRETRAINED = "pretrained"  # the one value of gradcam_weights that may download


def build(
    spec: str,
    weights: str | None = None,
    device: str = "auto",
    *,
    classes: Callable[[], Any] = lambda: None,
    prompt: str | None = None,
) -> nn.Module:
    """The model of 'KIND:NAME' or 'package.module:callable', with weights, on a device, in eval mode.

    `weights` is a file, or 'pretrained' for those that are published, which may download them; without it
    a torchvision or timm model has random ones. `classes` and `prompt` are those of models that read their classes from texts.
    Raises SettingsError, naming the setting, for what does not exist.
    """
    pretrained = weights == PRETRAINED
    if (kind := kind_of(spec)) is not None:
        _refuse_weights(kind, spec, weights)
        wanted = Wanted(pretrained, classes, prompt)
        model = _published(kind, spec, wanted) if pretrained else kind.build(_name(spec), wanted)
    elif pretrained:
        raise SettingsError(
            f"gradcam_weights = 'pretrained' does not apply to {spec!r}; expected a file, or a torchvision: or timm: model"
        )
    else:
        model = _called(spec)
    if weights is not None and not pretrained:
        load(model, Path(weights))
    if isinstance(model, ForwardOnly):
        if device not in ("auto", "cpu"):
            raise SettingsError(f"gradcam_device = {device!r}, and {spec} computes on the CPU; expected auto or cpu")
        return model
    return model.to(usable(device)).eval()


def _published(kind: Kind, spec: str, wanted: Wanted) -> nn.Module:
    """The model with its published weights. Raises SettingsError where that fails, as without a network."""
    try:
        return kind.build(_name(spec), wanted)
    except SettingsError:
        raise
    except Exception as error:  # each library, and each of its ways to download, has errors of its own
        raise SettingsError(
            f"the published weights of {spec} could not be loaded ({type(error).__name__}: {brief(str(error))}); "
            "check the network, or name a file of weights that you have in place of 'pretrained'"
        ) from error


def _refuse_weights(kind: Kind, spec: str, weights: str | None) -> None:
    if kind.WEIGHTS != "random" and weights is not None and (kind.WEIGHTS == "file" or weights != PRETRAINED):
        expected = "none" if kind.WEIGHTS == "file" else "'pretrained', which may download them, or none"
        raise SettingsError(
            f"gradcam_weights = {weights!r} does not apply to {spec!r}, which has weights of its own; expected {expected}"
        )


def preprocess(spec: str, *, weights: str | None = None) -> Any:
    """The callable of 'package.module:name', or the transforms that belong to the model of 'KIND:NAME', None for none.

    `weights` are those of the model: a file, or 'pretrained', where the preprocess may be downloaded.
    """
    if (kind := kind_of(spec)) is not None:
        return kind.preprocess(_name(spec), _with_weights(weights))
    found = attribute(spec, "gradcam_preprocess")
    if not callable(found):
        raise SettingsError(f"gradcam_preprocess = {spec!r} is a {type(found).__name__}; expected a callable")
    return found


_OTHER_FORMATS = frozenset((".yaml", ".yml", ".csv", ".tsv", ".xml", ".toml", ".pbtxt"))  # their first line is no name


def class_names(text: str) -> Any:
    """The names in a text file (one per line), a .json file (a list, or a dict name -> index) or 'package.module:name', or
    those of the published weights of 'KIND:NAME'.
    """
    path = Path(text)
    try:
        if kind_of(text) is not None:
            names = _published_names(text)
        elif path.suffix == ".json":
            content = path.read_text("utf-8-sig")  # as other systems' editors write it
            names = json.loads(content, object_pairs_hook=_each_once)
        elif path.suffix.lower() in _OTHER_FORMATS:
            raise SettingsError(
                f"gradcam_classes = {text!r}: {path.suffix} files are not read; expected a .txt file with one name per line, "
                "in the order of the model's scores, or a .json file"
            )
        elif path.suffix == ".txt" or path.is_file():
            names = _lines(path)
        elif ":" in text:
            names = attribute(text, "gradcam_classes")
        else:
            raise FileNotFoundError
    except FileNotFoundError:
        raise SettingsError(
            f"gradcam_classes = {text!r} is not a file; expected a .txt or .json file, package.module:name, or torchvision:NAME"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(
            f"gradcam_classes = {text!r} cannot be read ({error}); expected JSON or UTF-8 text"
        ) from None
    names = names.tolist() if hasattr(names, "tolist") else names
    if not isinstance(names, (list, tuple, Mapping)) or not names:
        kind = "an empty" if isinstance(names, (list, tuple, Mapping)) else "a"
        found = f"{kind} {type(names).__name__}"
        raise SettingsError(
            f"gradcam_classes = {text!r} holds {found}; expected names, name -> index, or index -> name"
        )
    return names


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON file. Raises SettingsError for a key that it has twice: JSON's readers drop the first one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise SettingsError(
            f"gradcam_classes: the key {twice!r} is there twice; expected each once, with one class of its own"
        )
    return found


def _published_names(spec: str) -> Any:
    names = own_class_names(spec, weights=PRETRAINED)
    if names is None:
        raise SettingsError(
            f"gradcam_classes = {spec!r}: this model brings no class names; expected a .txt or .json file, or "
            "package.module:name"
        )
    return names


def _lines(path: Path) -> list[str]:
    """One name per line. Raises SettingsError for a blank line before the last name: which class would it be?"""
    lines = [line.strip() for line in path.read_text("utf-8-sig").rstrip().splitlines()]
    if "" in lines:
        raise SettingsError(
            f"{path} has a blank line {lines.index('') + 1}; expected one name per line, "
            "in the order of the model's scores. Delete the line, or write the name of that class"
        )
    return lines


def look_up(spec: str, setting: str) -> None:
    """Raises SettingsError if the spec names nothing; nothing is built."""
    if (kind := kind_of(spec)) is not None:
        kind.look_up(_name(spec))
    else:
        attribute(spec, setting)


def own_class_names(spec: str, *, weights: str | None) -> Any:
    """The class names that a model with these weights brings, such as those of published weights; or None."""
    kind = kind_of(spec)
    return None if kind is None else kind.classes(_name(spec), _with_weights(weights))


def _with_weights(weights: str | None) -> Wanted:
    return Wanted(weights == PRETRAINED, weights=None if weights in (None, PRETRAINED) else Path(str(weights)))


def _name(spec: str) -> str:
    return spec.partition(":")[2]


def attribute(spec: str, setting: str) -> Any:
    """The object that 'package.module:name' names. Raises SettingsError if there is none."""
    module_name, _, name = spec.partition(":")
    if module_name.startswith("."):
        raise SettingsError(f"{setting} = {spec!r} names a module relative to nothing; expected package.module:name")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # a broken import inside the user's module is theirs to see
        raise SettingsError(
            f"{setting} = {spec!r}: there is no module {error.name!r} to import; check the name, "
            f"or add its folder to pytest's option `pythonpath`{nearest_prefix(spec, KINDS)}"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n in dir(found) if not n.startswith("_")]
            raise SettingsError(f"{setting} = {spec!r}: {module_name} has no {part!r}{nearest(part, known)}")
        found = getattr(found, part)
    return found


def drawn_anew(spec: str, model: nn.Module) -> str:
    """Which weights are a random draw, in a phrase: those that a second call of the builder gives other values.

    Empty for a model that is built the same each time. The random states are afterwards what they were. A builder that
    sets its own seed, or cannot be called twice, is taken at its word.
    """
    if (kind := kind_of(spec)) is not None:
        return "no weights are loaded" if kind.WEIGHTS == "random" else ""
    found = attribute(spec, "gradcam_model")
    if isinstance(found, nn.Module):
        return ""
    try:
        with random_states_kept():
            other = found().state_dict()
    except Exception:  # whatever keeps it from being built twice
        return ""
    own = model.state_dict()
    drawn = [key for key, value in own.items() if key in other and not _same(value, other[key])]
    return f"each call draws {listed('anew', drawn)} of its {len(own)} tensors" if drawn else ""


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return True
    return torch.equal(one.cpu(), other.cpu())


def _called(spec: str) -> nn.Module:
    """What the callable builds: a module, or a callable from a batch to scores, as a network."""
    found = attribute(spec, "gradcam_model")
    model = found if isinstance(found, nn.Module) else _built(spec, found) if callable(found) else found
    if isinstance(model, nn.Module):
        return model
    if not callable(model) or isinstance(model, type):
        raise SettingsError(
            f"gradcam_model = {spec!r} gives a {type(model).__name__}; expected a torch.nn.Module, or a callable from a batch "
            "(N, C, H, W) to scores (N, classes)"
        )
    return ForwardOnly(model)


def _built(spec: str, builder: Callable[..., Any]) -> Any:
    try:
        inspect.signature(builder).bind()
    except TypeError:
        raise SettingsError(
            f"gradcam_model = {spec!r} takes arguments; expected a callable without any that returns the model. If it is the "
            f"model itself, from a batch to scores, write one that returns it: def build(): return {spec.partition(':')[2]}"
        ) from None
    except ValueError:  # a builtin without a signature
        pass
    return builder()


def share_threads() -> None:
    """Under pytest-xdist each worker takes its share of the processors, unless OMP_NUM_THREADS says otherwise."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def own_share(device: str) -> str:
    """The device, and for 'auto' under pytest-xdist with several GPUs the one that is this worker's turn."""
    worker, gpus = os.environ.get("PYTEST_XDIST_WORKER", ""), torch.cuda.device_count()
    if device == "auto" and gpus > 1 and worker.startswith("gw"):
        return f"cuda:{int(worker[2:]) % gpus}"
    return device


def usable(name: str) -> torch.device:
    """The device. Raises SettingsError for one that this machine does not have."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingsError(
            f"gradcam_device = {name!r} cannot be used here ({str(error).splitlines()[0]}); expected auto, cpu, cuda or mps"
        ) from None
