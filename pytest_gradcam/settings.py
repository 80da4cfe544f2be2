"""The options: one table, one place that resolves them, one frozen object that holds them."""

# Without annotations as text: to read them back as types takes NamedTuple longer than all else that this file does.
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pytest_gradcam.errors import SettingsError

#: The class activation maps by name; the engine maps each to its formula.
CAM_METHODS = (
    *("gradcam", "gradcam++", "gradcamelementwise", "hirescam", "layercam", "xgradcam", "finercam", "shapleycam"),
    *("eigencam", "eigengradcam", "segeigencam", "kpcacam", "fem", "randomcam", "scorecam", "ablationcam", "fullgrad"),
)
#: The methods that need only scores, of any model.
SCORE_METHODS = ("rise", "occlusion")
METHODS = (*CAM_METHODS, *SCORE_METHODS)
MANY_PASSES = ("scorecam", "ablationcam", *SCORE_METHODS)  # these run the model many times for one image
NO_HEATMAP = "none"  # what explains nothing, and has the scores of an image that a check is about
RISE_MASKS = 1000  # random masks of an image
PICTURES = ("failed", "all", "none")
#: What happens to a test that has the fixture gradcam and makes no check.
UNCHECKED = ("warn", "fail", "allow")
#: What a model's name begins with, if it is not package.module:callable.
KINDS = ("torchvision:", "timm:", "hf:", "open_clip:", "ultralytics:", "onnx:", "export:")
FILES = ("ultralytics:", "onnx:", "export:")  # what follows these is a file
FOLDERS = ("hf:", "open_clip:")  # what follows these may be one, or a folder, or have one behind a slash
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "xla", "hpu", "mtia")
#: What a test explains if it names a class and the model predicts another.
MISPREDICTED = ("label", "prediction", "both", "skip", "fail")
#: What a model's scores are, and whether its classes compete for one image.
OUTPUTS = ("auto", "logits", "probabilities")
TASKS = ("auto", "single", "multi")


class Option(NamedTuple):
    """One setting: its name (without the prefix), parser, and what --help says; `Settings` holds the defaults."""

    name: str
    parse: Callable[[str, Any], Any]
    help: str
    metavar: str
    ini_type: str = "string"
    marker: bool = False
    switch: bool = False  # takes no value, and is for one run: the command line only
    path: bool = False  # may name a file or folder

    @property
    def ini(self) -> str:
        return f"gradcam_{self.name}"

    @property
    def flag(self) -> str:
        return "--gradcam-" + self.name.replace("_", "-")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{name} = {value!r} is empty; give it a value or leave it out")
    return value.strip()


def _one_of(known: tuple[str, ...]) -> Callable[[str, Any], str]:
    def parse(name: str, value: Any) -> str:
        if value not in known:
            hint = _nearest(str(value), known)
            raise SettingsError(f"{name} = {value!r} is not known; expected one of {', '.join(known)}{hint}")
        return str(value)

    return parse


def _nearest(given: str, known: Iterable[str]) -> str:
    from pytest_gradcam.validation import nearest  # only where something is wrong

    return nearest(given, known)


def _limit(name: str, value: Any) -> float:
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = math.nan
    if isinstance(value, bool) or not 0 <= share < math.inf:
        raise SettingsError(f"{name} = {value!r} cannot be used; expected a number of at least 0, 0.05 for 5 percent")
    return share


def _switch(name: str, value: Any) -> bool:
    return bool(value)


def _named(name: str, value: Any) -> str:
    """The text. Raises SettingsError for a kind of models, or a module, without the name that belongs behind its colon."""
    text = _text(name, value)
    if text.endswith(":"):
        raise SettingsError(f"{name} = {text!r} ends at the colon; expected a name behind it: {text}NAME")
    return text


def _model(name: str, value: Any) -> str:
    text = _named(name, value)
    if not re.fullmatch(r"[\w.]+:[\w.\-/]+", text) and not (
        text.startswith((*FILES, *FOLDERS)) and text.partition(":")[2].strip()
    ):
        from pytest_gradcam.validation import nearest_prefix

        raise SettingsError(
            f"{name} = {text!r} names no model; expected 'package.module:callable', or a name after {', '.join(KINDS)}"
            f"{nearest_prefix(text, KINDS)}"
        )
    return text


def _prompt(name: str, value: Any) -> str:
    text = _text(name, value)
    if text.count("{}") != 1:
        raise SettingsError(f"{name} = {text!r} has {text.count('{}')} places for the class name; expected one {{}}")
    return text


def _numbers(name: str, value: Any, kind: type[float] | type[int]) -> tuple[Any, ...]:
    """The numbers in a text, with spaces or commas between them; none where one is no number of this kind."""
    try:
        return tuple(map(kind, _text(name, value).replace(",", " ").split()))
    except ValueError:
        return ()


def _window(name: str, value: Any) -> tuple[float, float]:
    ends = _numbers(name, value, float)
    if len(ends) != 2 or not -math.inf < ends[0] < ends[1] < math.inf:
        raise SettingsError(
            f"{name} = {value!r} is not a window; expected two numbers, the lower first, such as 0 4095"
        )
    return ends[0], ends[1]


def _channels(name: str, value: Any) -> tuple[int, ...]:
    several = _numbers(name, value, int)
    if len(several) not in (1, 3) or min(several) < 0:
        raise SettingsError(
            f"{name} = {value!r} are no channels; expected one or three of them by number, from 0: 3 2 1"
        )
    return several


def _device(name: str, value: Any) -> str:
    text = _text(name, value)
    kind, _, number = text.partition(":")
    if kind not in _DEVICES or (number and not number.isdecimal()) or (":" in text and (not number or kind == "auto")):
        raise SettingsError(f"{name} = {text!r} is not a device; expected auto, cpu, cuda, cuda:0 or mps")
    return text


def _count(name: str, value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:  # of True and False as well
        number = 0
    if number < 1:
        raise SettingsError(f"{name} = {value!r} cannot be used; expected a whole number of at least 1")
    return number


OPTIONS = (
    Option(
        "model",
        _model,
        "the model: package.module:callable, torchvision:NAME, timm:NAME, hf:FOLDER_OR_NAME, open_clip:ARCHITECTURE/FILE_OR_TAG, "
        "ultralytics:FILE, onnx:FILE or export:FILE.pt2",
        "SPEC",
        path=True,
    ),
    Option(
        "weights",
        _text,
        "a .safetensors file or a state dict saved with torch.save; pretrained for the published ones, which may be downloaded",
        "FILE",
        path=True,
    ),
    Option(
        "preprocess",
        _model,
        "package.module:callable, from a PIL image to a float tensor (C, H, W), or torchvision:NAME or timm:NAME "
        "for the transforms of that model's weights [those of gradcam_model, if it names one]",
        "SPEC",
        path=True,
    ),
    Option(
        "classes",
        _named,
        "the class names in the order of the model's output: a text file with one name per line, a .json file, "
        "package.module:name, or torchvision:NAME or timm:NAME for those of the published weights",
        "FILE",
        path=True,
    ),
    Option(
        "prompt",
        _prompt,
        "for models whose classes are texts, such as CLIP: the prompt for a class, with {} in place of its name "
        "[a photo of a {}]",
        "TEXT",
    ),
    Option("output", _one_of(OUTPUTS), "what the scores are: logits, probabilities, or auto (measured) [auto]", "UNIT"),
    Option(
        "output_key",
        _text,
        "where the class scores lie in what the model returns: an index, a key, or several with dots between them "
        "[the one place where they can lie]",
        "KEY",
    ),
    Option(
        "task",
        _one_of(TASKS),
        "whether an image has one class (single) or any number of them (multi); auto: multi where the scores are sigmoid "
        "probabilities [auto]",
        "TASK",
    ),
    Option(
        "untrained",
        _one_of(("refuse", "allow")),
        "checks on a model whose weights are a random draw: refuse (no verdict), allow [refuse]",
        "WHAT",
    ),
    Option("layer", _text, "target layer by its dotted name [found automatically]", "NAME", marker=True),
    Option("method", _one_of(METHODS), f"one of {', '.join(METHODS)} [gradcam]", "NAME", marker=True),
    Option(
        "rise_masks",
        _count,
        f"random masks of an image, each a forward pass, for method rise [{RISE_MASKS}]",
        "N",
        ini_type="int",
    ),
    Option(
        "window", _window, "what becomes black and white of 16-bit and float images: 0 4095 [they are refused]", "LO HI"
    ),
    Option(
        "channels", _channels, "one or three channels of the input, from 0, that pictures show [all of them]", "N N N"
    ),
    Option("device", _device, "auto, cpu, cuda, cuda:0, mps [auto: CUDA, then MPS, then CPU]", "NAME"),
    Option("batch_size", _count, "at most this many images in one forward pass [16]", "N", ini_type="int"),
    Option(
        "cache",
        _one_of(("off", "run", "disk")),
        "keep heatmaps: off, run (in memory), disk (in pytest's cache directory as well, for later runs) [off]",
        "WHERE",
    ),
    Option(
        "examples",
        _count,
        "examples that Hypothesis tries in a test with @given and gradcam, unless it has its own @settings [25]",
        "N",
        ini_type="int",
    ),
    Option(
        "gate",
        _one_of(("on", "off")),
        "check the explanations themselves, once for each layer and method, before any check relies on them: on, off [off]",
        "WHEN",
        marker=True,
    ),
    Option(
        "mispredicted",
        _one_of(MISPREDICTED),
        "if a test names a class and the model predicts another: explain the label, the prediction, both, or skip "
        "or fail the test [label]",
        "WHAT",
        marker=True,
    ),
    Option(
        "unchecked",
        _one_of(UNCHECKED),
        "a test that uses gradcam and passes without a check: warn (count it), fail (it fails), allow [warn]",
        "WHAT",
        marker=True,
    ),
    Option("data", _text, "test each image in this folder, whose gradcam.toml states bounds [none]", "DIR", path=True),
    Option(
        "report",
        _text,
        "write a report to this directory: evidence.json, index.html and more, next to the pictures "
        "[pictures only, in gradcam-report]",
        "DIR",
        path=True,
    ),
    Option("pictures", _one_of(PICTURES), "which checks leave a picture: failed, all, none [failed]", "WHICH"),
    Option(
        "compare",
        _text,
        "a report, or its evidence.json, of an earlier run to compare this one with",
        "FILE",
        path=True,
    ),
    Option(
        "fail_on_regression",
        _limit,
        "exit status 1 if a check that passed in the earlier run does not pass now, was not made or measures something "
        "else, or if the mean of a check's figures got worse by more than this share of its bound: 0.05 for 5 percent",
        "SHARE",
        ini_type="float",
    ),
    Option(
        "report_single",
        _switch,
        "write report.html to the report's directory as well: the page as one file, with its pictures in it",
        "",
        switch=True,
    ),
    Option("update", _switch, "write baselines instead of checking against them", "", switch=True),
)
_BY_NAME = {option.name: option for option in OPTIONS}
#: What @pytest.mark.gradcam(...) takes; `target` concerns one test and has no option.
MARKER_KEYS = (*(option.name for option in OPTIONS if option.marker), "target")


class Settings(NamedTuple):  # no dataclass, which takes longer to make: pytest loads this in every run
    """The resolved options of one pytest run."""

    model: str | None = None
    weights: str | None = None
    preprocess: str | None = None
    classes: str | None = None
    prompt: str | None = None
    output: str = "auto"
    output_key: str | None = None
    task: str = "auto"
    untrained: str = "refuse"
    layer: str | None = None
    method: str = "gradcam"
    rise_masks: int = RISE_MASKS
    window: tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None
    device: str = "auto"
    batch_size: int = 16
    cache: str = "off"
    examples: int = 25
    gate: str = "off"
    mispredicted: str = "label"
    unchecked: str = "warn"
    data: str | None = None
    report: str | None = None
    pictures: str = "failed"
    compare: str | None = None
    fail_on_regression: float | None = None
    report_single: bool = False
    update: bool = False

    @property
    def directory(self) -> str:
        """Where pictures go, and the report if one is requested."""
        return self.report or "gradcam-report"


def resolve(command_line: Mapping[str, Any], ini: Mapping[str, Any]) -> Settings:
    """The settings of a run: the command line overrides the ini file, that overrides the default; None means not given.

    Raises SettingsError for a value that cannot be used, naming where it was given.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        if command_line.get(option.name) is not None:
            values[option.name] = option.parse(option.flag, command_line[option.name])
        elif ini.get(option.name) is not None:
            values[option.name] = option.parse(option.ini, ini[option.name])
    if "fail_on_regression" in values and "compare" not in values:
        raise SettingsError(
            f"{_BY_NAME['fail_on_regression'].flag} needs a run to compare with; give {_BY_NAME['compare'].flag} too"
        )
    return Settings(**values)


def resolve_marker(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The values of one test's gradcam markers, given with the closest to the test last.

    Raises SettingsError for a keyword that is unknown or has a value that cannot be used.
    """
    values: dict[str, Any] = {}
    for keywords in layers:
        for key, value in keywords.items():
            if key not in MARKER_KEYS:
                expected = f"expected {', '.join(MARKER_KEYS)}{_nearest(key, MARKER_KEYS)}"
                raise SettingsError(f"@pytest.mark.gradcam does not know {key!r}; {expected}")
            option = _BY_NAME.get(key)
            values[key] = option.parse(f"@pytest.mark.gradcam {key}", value) if option else value
    return values


def reject_unknown(ini_keys: Iterable[str]) -> None:
    """Raises SettingsError for the first ini key that has our prefix and is not an option."""
    known = [option.ini for option in OPTIONS if not option.switch]
    for key in sorted(ini_keys):
        for option in OPTIONS:
            if option.switch and key == option.ini:
                raise SettingsError(
                    f"{key} applies to one run and cannot be configured; give {option.flag} on the command line"
                )
        if key.replace("-", "_").startswith("gradcam_") and key not in known:
            raise SettingsError(f"{key} is not an option; expected one of {', '.join(known)}{_nearest(key, known)}")
