"""Models, weights, preprocesses and class names from the settings' texts."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models.kinds import Kind, Wanted, kind_of
from pytest_gradcam.state.forward_only import ForwardOnly
from pytest_gradcam.state.surroundings import random_states_kept
from pytest_gradcam.validation import nearest

PRETRAINED = "pretrained"  # the one value of gradcam_weights that may download
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile and Lightning
_SHOWN = 4  # keys in a message


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
    source, _, name = spec.partition(":")
    pretrained = weights == PRETRAINED
    if (kind := kind_of(spec)) is not None:
        _refuse_weights(kind, spec, weights)
        model = kind.build(name, Wanted(pretrained, classes, prompt))
    elif source == "torchvision":
        model = _torchvision(name, pretrained)
    elif source == "timm":
        model = _timm(name, pretrained)
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


def _refuse_weights(kind: Kind, spec: str, weights: str | None) -> None:
    if weights is not None and (kind.FILE or weights != PRETRAINED):
        expected = "none" if kind.FILE else "'pretrained', which may download them, or none"
        raise SettingsError(
            f"gradcam_weights = {weights!r} does not apply to {spec!r}, which has weights of its own; expected {expected}"
        )


def preprocess(spec: str, *, pretrained: bool = False) -> Any:
    """The callable of 'package.module:name', or the transforms that belong to the model of 'KIND:NAME', None for none.

    `pretrained` says that it may be downloaded.
    """
    source, _, name = spec.partition(":")
    if (kind := kind_of(spec)) is not None:
        return kind.preprocess(name, Wanted(pretrained))
    if source == "torchvision":
        import torchvision

        _torchvision_known(name)
        return torchvision.models.get_model_weights(name)["DEFAULT"].transforms()
    if source == "timm":
        timm = _import_timm()
        config = timm.data.resolve_data_config(model=_timm(name, False))
        return timm.data.create_transform(**config)
    found = attribute(spec, "gradcam_preprocess")
    if not callable(found):
        raise SettingsError(f"gradcam_preprocess = {spec!r} is a {type(found).__name__}; expected a callable")
    return found


def class_names(text: str) -> Any:
    """The names in a text file (one per line), a .json file (a list, or a dict name -> index) or 'package.module:name'."""
    path = Path(text)
    try:
        if path.suffix == ".json":
            names = json.loads(path.read_text("utf-8-sig"))  # as other systems' editors write it
        elif path.suffix == ".txt" or path.is_file():
            names = _lines(path)
        elif ":" in text:
            names = attribute(text, "gradcam_classes")
        else:
            raise FileNotFoundError
    except FileNotFoundError:
        raise SettingsError(
            f"gradcam_classes = {text!r} is not a file; expected a .txt or .json file, or package.module:name"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"gradcam_classes = {text!r} cannot be read ({error}); expected JSON or UTF-8 text"
        ) from None
    names = names.tolist() if hasattr(names, "tolist") else names
    if not isinstance(names, (list, tuple, Mapping)) or not names:
        raise SettingsError(
            f"gradcam_classes = {text!r} holds a {type(names).__name__}; expected names, name -> index, or index -> name"
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
    source, _, name = spec.partition(":")
    if (kind := kind_of(spec)) is not None:
        kind.look_up(name)
    elif source == "torchvision":
        _torchvision_known(name)
    elif source == "timm":
        _timm_known(name)
    else:
        attribute(spec, setting)


def require_file(path: Path) -> None:
    """Raises SettingsError if there is no such file of weights."""
    if not path.is_file():
        raise SettingsError(f"gradcam_weights = {str(path)!r} is not a file; check the path")


def own_class_names(spec: str, *, pretrained: bool) -> Any:
    """The class names that a model brings: of a torchvision model with its published weights, of other kinds; or None."""
    source, _, name = spec.partition(":")
    if (kind := kind_of(spec)) is not None:
        return kind.classes(name, Wanted(pretrained))
    if source != "torchvision" or not pretrained:
        return None
    import torchvision

    return list(torchvision.models.get_model_weights(name)["DEFAULT"].meta["categories"])


def attribute(spec: str, setting: str) -> Any:
    """The object that 'package.module:name' names. Raises SettingsError if there is none."""
    module_name, _, name = spec.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # a broken import inside the user's module is theirs to see
        raise SettingsError(
            f"{setting} = {spec!r}: there is no module {error.name!r} to import; check the name, "
            "or add its folder to pytest's option `pythonpath`"
        ) from None
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n in dir(found) if not n.startswith("_")]
            raise SettingsError(f"{setting} = {spec!r}: {module_name} has no {part!r}{nearest(part, known)}")
        found = getattr(found, part)
    return found


def load(model: nn.Module, path: Path) -> None:
    """Load a state dict file into the model, whole. Raises SettingsError that names what does not fit."""
    state = _strip(_state_dict(path), set(model.state_dict()))
    own = model.state_dict()
    problems = [
        _keys("missing", [key for key in own if key not in state]),
        _keys("unexpected", [key for key in state if key not in own]),
        _keys("of another shape", [key for key in own if key in state and own[key].shape != state[key].shape]),
    ]
    if any(problems):
        raise SettingsError(
            f"the weights in {path} do not fit {type(model).__name__}: {'; '.join(p for p in problems if p)}. "
            "Check that gradcam_model builds the architecture, and the number of classes, that were trained"
        )
    model.load_state_dict(state)


def _state_dict(path: Path) -> dict[str, Any]:
    require_file(path)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise SettingsError(f"{path} is not a safetensors file ({error}); check that it is complete") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise SettingsError(
            f"{path} holds more than tensors, and reading it would run code from the file, which is refused; if you "
            "trust it, save only the weights: torch.save(model.state_dict(), path), or safetensors.torch.save_model"
        ) from None
    except Exception as error:  # on a file that is not a pickle, the unpickler may raise anything
        raise SettingsError(
            f"{path} was not written by torch.save ({type(error).__name__}: {error}); check that it is complete"
        ) from None
    return _unwrap(state, path)


def _unwrap(state: Any, path: Path) -> dict[str, Any]:
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise SettingsError(
            f"{path} holds no state dict; expected names and tensors, as torch.save(model.state_dict(), path) writes them, "
            "or those under 'state_dict', 'model_state_dict' or 'model'"
        )
    return dict(state)


def _strip(state: dict[str, Any], own: set[str]) -> dict[str, Any]:
    """The state without a prefix that a wrapper put before every key."""
    for prefix in _PREFIXES:
        if state.keys() <= own:
            break
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _keys(what: str, keys: list[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{more})"


def _torchvision_known(name: str) -> None:
    import torchvision

    known = torchvision.models.list_models()
    if name not in known:
        raise SettingsError(
            f"torchvision has no model {name!r}{nearest(name, known) or '; torchvision.models.list_models() lists them'}"
        )


def _torchvision(name: str, pretrained: bool) -> nn.Module:
    import torchvision

    _torchvision_known(name)
    # weights_backbone has a default that downloads, in the detection and segmentation models that know it.
    extra = {} if pretrained or "weights_backbone" not in _parameters_of(name) else {"weights_backbone": None}
    model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **extra)
    return model


def _parameters_of(name: str) -> set[str]:
    import torchvision

    return set(inspect.signature(torchvision.models.get_model_builder(name)).parameters)


def _import_timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError:
        raise SettingsError(
            "timm is not installed, and a timm: model needs it; pip install pytest-gradcam[timm]"
        ) from None


def _timm_known(name: str) -> Any:
    timm = _import_timm()
    if not timm.is_model(name.split(".")[0]):
        known = timm.list_models()
        raise SettingsError(f"timm has no model {name!r}{nearest(name, known) or '; timm.list_models() lists them'}")
    return timm


def _timm(name: str, pretrained: bool) -> nn.Module:
    model: nn.Module = _timm_known(name).create_model(name, pretrained=pretrained)
    return model


def drawn_anew(spec: str, model: nn.Module) -> str:
    """Which weights are a random draw, in a phrase: those that a second call of the builder gives other values.

    Empty for a model that is built the same each time. The random states are afterwards what they were. A builder that
    sets its own seed, or cannot be called twice, is taken at its word.
    """
    if spec.startswith(("torchvision:", "timm:")):
        return "no weights are loaded"
    if kind_of(spec) is not None:
        return ""
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
    return f"each call draws {_keys('anew', drawn)} of its {len(own)} tensors" if drawn else ""


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
