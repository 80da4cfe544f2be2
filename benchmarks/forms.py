"""The forms that `benchmarks.twins` tries: outputs, class names and preprocesses, each with its plain twin."""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data import create_transform
from torch import Tensor, nn
from torchvision import transforms as v1
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification

from benchmarks.internals import class_names
from pytest_gradcam import Explainer

NAMES_OF_THREE = ["red", "green", "blue"]


class Net(nn.Module):
    """Three classes by the colours of patches: random weights, trained on nothing."""

    def __init__(self, seed: int, classes: int = 3) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU())
        self.head = nn.Linear(6, classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * (1.5 if parameter.ndim == 2 else 0.4))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class Around(nn.Module):
    """A net, and what is done with its logits (and, where it is asked for, its input) before they are returned."""

    def __init__(self, net: Net, after: Callable[..., Any], before: Callable[[Tensor], Tensor] = lambda x: x) -> None:
        super().__init__()
        self.net, self.after, self.before = net, after, before

    def forward(self, x: Tensor) -> Any:
        return self.after(self.net(self.before(x)))


class Places(nn.Module):
    """Two classes by red less blue in a square, and by as much of it in a corner as `strength` says."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.conv, self.act, self.strength = nn.Conv2d(3, 2, 1), nn.ReLU(), strength
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.fill_(1.0)  # type: ignore[union-attr]
            self.conv.weight[0, 0], self.conv.weight[0, 2] = 1, -1
            self.conv.weight[1] = -self.conv.weight[0]

    def forward(self, x: Tensor) -> Any:
        weights = torch.zeros(32, 32)
        weights[8:24, 4:20], weights[0:6, 26:32] = 1 / 256, self.strength / 36
        return 10 * (self.act(self.conv(x)) * weights).sum((2, 3))


def signed(sign: int, mark: int, draw: random.Random) -> Any:
    """A picture whose square says one class and whose corner says one, both as reds or blues."""
    pixels = np.random.default_rng(draw.getrandbits(32)).integers(100, 156, (32, 32, 3)).astype(float)
    for rows, columns, level in (
        (slice(8, 24), slice(4, 20), sign * draw.uniform(40, 60)),
        (slice(0, 6), slice(26, 32), mark * draw.uniform(40, 60)),
    ):
        pixels[rows, columns, 0] += level
        pixels[rows, columns, 2] -= level
    return np.clip(pixels, 0, 255).astype(np.uint8)


class Inside(nn.Module):
    """A net that does the steps of a preprocess itself, on pictures that were only scaled; it has no gradient there."""

    def __init__(self, net: nn.Module, steps: Callable[[Image.Image], Tensor]) -> None:
        super().__init__()
        self.net, self.steps = net, steps

    def forward(self, x: Tensor) -> Any:
        pictures = (255 * x).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return self.net(torch.stack([self.steps(Image.fromarray(picture)).float() for picture in pictures]))


@dataclass
class Twin:
    """The plain way to the same verdicts: a model of logits, fed in the order in which the form does its steps.

    Pixels are replaced in what the preprocess returns, so `image` is that, and `mask` moves the mask there. A perturbation
    comes before the preprocess, so the `whole` model does the preprocess's steps itself (None: `model` has none to do).
    """

    model: nn.Module
    task: str = "single"
    target: Any = 1
    image: Callable[[Any], Any] = lambda image: image
    mask: Callable[[Any], Any] = lambda mask: mask
    whole: nn.Module | None = None

    def explainer(self) -> Explainer:
        return self._of(self.model)

    def of_whole(self) -> Explainer:
        return self.explainer() if self.whole is None else self._of(self.whole)

    def _of(self, model: nn.Module) -> Explainer:
        return Explainer(model, preprocess=plain, classes=NAMES_OF_THREE, output="logits", task=self.task)


@dataclass
class Form:
    """A model and an explainer's options, beside the twin."""

    model: nn.Module
    twin: Twin
    options: dict[str, Any] = field(default_factory=dict)
    target: Any = 1
    judged: tuple[str, ...] = ("focus", "ignores", "relies", "stable")

    def __post_init__(self) -> None:
        self.options = {"preprocess": plain, "classes": NAMES_OF_THREE} | self.options


def plain(image: Image.Image) -> Tensor:
    """Only scaled."""
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def _output(after: Callable[[Tensor], Any], twin: Callable[[Tensor], Tensor] | None = None, **options: Any) -> Any:
    def make(net: Net) -> Form:
        own = net if twin is None else Around(net, twin)
        return Form(Around(net, after), Twin(own, options.get("twin_task", "single")), options.get("options", {}))

    return make


def _binary(after: Callable[[Tensor], Any]) -> Any:
    """Of one score: the first less the second of the net's."""

    def score(z: Tensor) -> Tensor:
        return z[:, :1] - z[:, 1:2]

    def make(net: Net) -> Form:
        model = Around(net, lambda z: after(score(z)))
        twin = Twin(Around(net, lambda z: torch.cat([-score(z), score(z)], 1)))
        twin.explainer = lambda: Explainer(twin.model, preprocess=plain, output="logits")  # type: ignore[method-assign]
        return Form(model, twin, {"classes": None})

    return make


def _centred(z: Tensor) -> Tensor:
    return z - z.mean(1, keepdim=True)


def _by_hand(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


@dataclass
class Scores:
    logits: Tensor
    loss: Any = None


@dataclass
class Two:
    left: Tensor
    right: Tensor


class Object:
    def __init__(self, **parts: Any) -> None:
        vars(self).update(parts)


Pair = namedtuple("Pair", "scores loss")
_MULTI = {"twin_task": "multi"}

OUTPUTS: dict[str, Callable[[Net], Form]] = {
    "tuple of one": _output(lambda z: (z,)),
    "list of one": _output(lambda z: [z]),
    "dict logits": _output(lambda z: {"logits": z}),
    "dict out": _output(lambda z: {"out": z}),
    "dict scores": _output(lambda z: {"scores": z}),
    "dict of a dict": _output(lambda z: {"heads": {"cls": z}}),
    "namedtuple, no loss": _output(lambda z: Pair(z, None)),
    "dataclass": _output(lambda z: Scores(z)),
    "object": _output(lambda z: Object(logits=z, loss=None)),
    "with features (N, C, h, w)": _output(lambda z: (z, z[..., None, None].expand(-1, -1, 4, 4))),
    "with the predicted index": _output(lambda z: (z, z.argmax(1))),
    "with embeddings, under logits": _output(lambda z: {"embedding": z.repeat(1, 5), "logits": z}),
    "with embeddings, second": _output(lambda z: (z.repeat(1, 5), z)),
    "with embeddings, key": _output(lambda z: (z.repeat(1, 5), z), options={"output_key": 1}),
    "two heads, dataclass": _output(lambda z: Two(z.flip(1), z)),
    "two heads, key": _output(lambda z: Two(z.flip(1), z), options={"output_key": "right"}),
    "probabilities beside logits": _output(lambda z: (z.softmax(1), z)),
    "probabilities beside logits, key": _output(lambda z: (z.softmax(1), z), options={"output_key": 1}),
    "an embedding by its name": _output(lambda z: {"pooler_output": z}),
    "squeezed": _output(lambda z: z.squeeze()),
    "(N, C, 1, 1)": _output(lambda z: z[..., None, None]),
    "(N, 1, C)": _output(lambda z: z[:, None]),
    "None": _output(lambda z: None),
    "double": _output(lambda z: z.double()),
    "bfloat16": _output(lambda z: z.bfloat16(), twin=lambda z: z.bfloat16().float()),
    "half": _output(lambda z: z.half(), twin=lambda z: z.half().float()),
    "softmax": _output(lambda z: z.softmax(1)),
    "softmax module": _output(nn.Softmax(1)),
    "softmax in a dict": _output(lambda z: {"probabilities": z.softmax(1)}),
    "softmax, then shape": _output(lambda z: z[:, None].softmax(2)[:, 0]),
    "softmax, wrong axis": _output(lambda z: z.softmax(0)),
    "softmax by hand": _output(_by_hand, twin=_centred),
    "softmax of a temperature": _output(lambda z: (z / 3).softmax(1), twin=lambda z: z / 3),
    "softmax, told": _output(_by_hand, twin=_centred, options={"output": "probabilities"}),
    "softmax, clipped": _output(lambda z: z.softmax(1).clamp(1e-7, 1 - 1e-7), twin=_centred),
    "log_softmax": _output(lambda z: z.log_softmax(1)),
    "log of softmax": _output(lambda z: z.softmax(1).log(), twin=lambda z: z.log_softmax(1)),
    "percent": _output(lambda z: 100 * z.softmax(1)),
    "sigmoid": _output(torch.sigmoid, **_MULTI),
    "sigmoid module": _output(nn.Sigmoid(), **_MULTI),
    "sigmoid by hand": _output(lambda z: 1 / (1 + (-z).exp()), **_MULTI),
    "sigmoid by hand, told": _output(
        lambda z: 1 / (1 + (-z).exp()), twin_task="multi", options={"output": "probabilities"}
    ),
    "sigmoid by tanh": _output(lambda z: 0.5 + 0.5 * (z / 2).tanh(), **_MULTI),
    "logsigmoid": _output(nn.functional.logsigmoid, **_MULTI),
    "log of sigmoid by hand": _output(lambda z: (1 / (1 + (-z).exp())).log(), **_MULTI),
    "logits of findings, told": _output(lambda z: z, twin_task="multi", options={"task": "multi"}),
    "hard sigmoid": _output(nn.functional.hardsigmoid, **_MULTI),
    "clamped to [0, 1]": _output(lambda z: z.clamp(0, 1)),
    "small logits": _output(lambda z: 0.01 * z, twin=lambda z: 0.01 * z),
    "of length 1": _output(lambda z: z / z.norm(dim=1, keepdim=True)),
    "one logit": _binary(lambda s: s),
    "one logit, squeezed": _binary(lambda s: s[:, 0]),
    "one sigmoid": _binary(torch.sigmoid),
    "one sigmoid, squeezed": _binary(lambda s: torch.sigmoid(s)[:, 0]),
    "one sigmoid by hand": _binary(lambda s: 1 / (1 + (-s).exp())),
    "p and 1 - p": _binary(lambda s: torch.cat([1 - torch.sigmoid(2 * s), torch.sigmoid(2 * s)], 1)),
}


def _named(classes: Any, target: Any = "green", file: str = "") -> Any:
    """The names as they are, or as the file of this name that holds them."""

    def make(net: Net) -> Form:
        own = classes
        if file:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / file
                path.write_bytes(classes)
                own = class_names(str(path))
        return Form(net, Twin(net), {"classes": own}, target)

    def refused(net: Net) -> Form:
        try:
            return make(net)
        except ValueError:  # SettingsError: said before any model is asked
            return Form(Around(net, lambda z: None), Twin(net), {}, target)

    return refused


_MAPPING = {"red": 0, "green": 1, "blue": 2}
NAMES: dict[str, Callable[[Net], Form]] = {
    "list": _named(["red", "green", "blue"]),
    "tuple": _named(("red", "green", "blue")),
    "array": _named(np.array(["red", "green", "blue"])),
    "name to index": _named(_MAPPING),
    "index to name": _named({0: "red", 1: "green", 2: "blue"}),
    "index as text": _named({"0": "red", "1": "green", "2": "blue"}),
    "in another order": _named({"2": "blue", "0": "red", "1": "green"}),
    "with ids": _named({"0": ["n01", "red"], "1": ["n02", "green"], "2": ["n03", "blue"]}),
    "lines": _named(b"red\ngreen\nblue\n", file="c.txt"),
    "lines with a BOM": _named(b"\xef\xbb\xbfred\ngreen\nblue\n", file="c.txt"),
    "lines of Windows": _named(b"red\r\ngreen\r\nblue\r\n", file="c.txt"),
    "a blank line first": _named(b"\nred\ngreen\nblue\n", file="c.txt"),
    "a blank line amid": _named(b"red\n\ngreen\nblue\n", file="c.txt"),
    "JSON list": _named(json.dumps(["red", "green", "blue"]).encode(), file="c.json"),
    "id2label": _named(json.dumps({"0": "red", "1": "green", "2": "blue"}).encode(), file="c.json"),
    "config.json": _named(
        json.dumps({"id2label": {"0": "red", "1": "green", "2": "blue"}, "hidden": 4}).encode(), file="config.json"
    ),
    "a background first": _named(["background", "red", "green", "blue"]),
    "one too few": _named(["red", "green"]),
    "an index beyond": _named({"red": 0, "green": 3}),
    "two of one name": _named(["red", "green", "green"]),
    "target -1": _named(NAMES_OF_THREE, -1),
    "target beyond": _named(NAMES_OF_THREE, 3),
    "target True": _named(NAMES_OF_THREE, True),
    "target as a number": _named(NAMES_OF_THREE, np.int64(1)),
    "target of another case": _named(NAMES_OF_THREE, "Green"),
}


def _moved(
    preprocess: Callable[..., Any],
    moves: Callable[[Image.Image], Image.Image] = lambda image: image,
    steps: Callable[[Image.Image], Tensor] | None = None,
    judged: tuple[str, ...] = ("focus", "ignores", "relies", "stable"),
) -> Any:
    """`moves` is where the preprocess puts pixels; `steps` what it makes of an image, if it returns that in another way."""
    made = steps or preprocess

    def moved_mask(given: Any) -> Any:
        grey = Image.fromarray((255 * given).astype(np.uint8))
        return np.asarray(moves(grey)) > 128  # half of 255 rounded up: a pixel that is covered by half is out

    def make(net: Net) -> Form:
        twin = Twin(net, image=lambda given: made(Image.fromarray(given)).float(), mask=moved_mask)
        twin.whole = Inside(net, made)
        return Form(net, twin, {"preprocess": preprocess}, judged=judged)

    return make


def _refused(preprocess: Callable[..., Any], steps: Callable[[Image.Image], Tensor] | None = None) -> Any:
    """What no mask can follow: nothing may be decided on one, so the twin decides nothing either.

    Without `steps` nothing may be decided at all.
    """

    def make(net: Net) -> Form:
        twin = Twin(Around(net, lambda z: None))
        twin.whole = None if steps is None else Inside(net, steps)
        return Form(net, twin, {"preprocess": preprocess})

    return make


#: What adds padding: passed on as a tensor, the twin's picture has none, and the checks that replace pixels use it.
PADDED = ("focus", "stable")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _normal(x: Tensor) -> Tensor:
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _resized(image: Image.Image) -> Image.Image:
    return image.resize((24, 24), Image.Resampling.BILINEAR)


def _doubled(image: Image.Image) -> Image.Image:
    return image.resize((64, 64), Image.Resampling.NEAREST)


def _cropped(image: Image.Image) -> Image.Image:
    return image.crop((4, 4, 28, 28))


def _turned(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90)


def _letterbox(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image.resize((32, 24), Image.Resampling.BILINEAR), (0, 4, 0, 4))


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.BoxBlur(1))


def _jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "jpeg", quality=90)
    return Image.open(out).convert(image.mode)


def _gamma(image: Image.Image) -> Image.Image:
    return image.point([round(255 * (level / 255) ** 1.5) for level in range(256)] * len(image.getbands()))


def _crop_to_content(image: Image.Image) -> Image.Image:
    bright = np.argwhere(np.asarray(image.convert("L")) > 120)
    if not len(bright):
        return image
    (top, left), (bottom, right) = bright.min(0), bright.max(0) + 1
    return image.crop((left, top, right, bottom)).resize((32, 32))


def _standardised(x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.std() + 1e-6)


def _sometimes(
    change: Callable[[Image.Image], Image.Image], share: float, draw: Any = random
) -> Callable[[Image.Image], Tensor]:
    def preprocess(image: Image.Image) -> Tensor:
        return plain(change(image) if draw.random() < share else image)

    return preprocess


def _erased(image: Image.Image) -> Tensor:
    out, x = plain(image), np.random.randint(0, 24)
    out[:, x : x + 8, x : x + 8] = 0
    return out


_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


PREPROCESSES: dict[str, Callable[[Net], Form]] = {
    "scaled": _moved(plain),
    "double": _moved(lambda i: plain(i).double()),
    "batch of one": _moved(lambda i: plain(i)[None], steps=plain),
    "numpy": _moved(lambda i: plain(i).numpy(), steps=plain),
    "dict of pixel_values": _moved(lambda i: {"pixel_values": [plain(i)]}, steps=plain),
    "keyword and array": _moved(lambda *, image: {"image": plain(Image.fromarray(image))}, steps=plain),
    "normalised": _moved(lambda i: _normal(plain(i))),
    "to [-1, 1]": _moved(lambda i: 2 * plain(i) - 1),
    "0 to 255": _moved(lambda i: 255 * plain(i)),
    "BGR": _moved(lambda i: plain(i).flip(0)),
    "inverted": _moved(lambda i: 1 - plain(i)),
    "grey in three channels": _moved(lambda i: plain(i.convert("L"))),
    "resized": _moved(lambda i: plain(_resized(i)), _resized),
    "resized, nearest": _moved(lambda i: plain(_doubled(i)), _doubled),
    "cropped": _moved(lambda i: plain(_cropped(i)), _cropped),
    "torchvision v1": _moved(v1.Compose([v1.CenterCrop(24), v1.ToTensor(), v1.Normalize(MEAN, STD)]), _cropped),
    "torchvision v2": _moved(v2.Compose([v2.CenterCrop(24), *_tensor.transforms]), _cropped),
    "torchvision's preset": _moved(ImageClassification(crop_size=24, resize_size=24, antialias=True), _resized),
    "timm": _moved(create_transform((3, 24, 24), interpolation="bilinear", crop_pct=1.0, mean=MEAN, std=STD), _resized),
    "mirrored": _moved(lambda i: plain(ImageOps.mirror(i)), ImageOps.mirror),
    "flipped": _moved(lambda i: plain(ImageOps.flip(i)), ImageOps.flip),
    "turned": _moved(lambda i: plain(_turned(i)), _turned),
    "padded": _moved(lambda i: plain(ImageOps.expand(i, 4)), lambda i: ImageOps.expand(i, 4), judged=PADDED),
    "letterbox": _moved(lambda i: plain(_letterbox(i)), _letterbox, judged=PADDED),
    "blurred": _moved(lambda i: plain(_blurred(i)), _blurred),
    "JPEG": _moved(lambda i: plain(_jpeg(i))),
    "gamma": _moved(lambda i: plain(_gamma(i))),
    "standardised": _moved(lambda i: _standardised(plain(i))),
    "equalised": _moved(lambda i: plain(ImageOps.equalize(i))),
    "autocontrast": _moved(lambda i: plain(ImageOps.autocontrast(i))),
    "cropped to content": _refused(lambda i: plain(_crop_to_content(i)), steps=lambda i: plain(_crop_to_content(i))),
    "randomly mirrored": _refused(_sometimes(ImageOps.mirror, 0.5)),
    "rarely mirrored": _refused(_sometimes(ImageOps.mirror, 0.05)),
    "randomly mirrored, own generator": _refused(_sometimes(ImageOps.mirror, 0.5, random.Random(0))),
    "random crop": _refused(v2.Compose([*_tensor.transforms, v2.RandomResizedCrop(24, antialias=True)])),
    "colour jitter": _refused(v2.Compose([*_tensor.transforms, v2.ColorJitter(0.4, 0.4)])),
    "randomly erased": _refused(_erased),
    "noise": _refused(lambda i: plain(i) + 0.05 * torch.randn(3, 32, 32)),
    "whole numbers": _refused(lambda i: (255 * plain(i)).to(torch.uint8)),
    "channels last": _refused(lambda i: plain(i).permute(1, 2, 0)),
}
