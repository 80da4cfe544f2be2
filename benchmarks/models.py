"""What can be asked about which kind of model: each question put to each kind, for the table in docs/models.md.

A cell is the processor time in milliseconds that the answer took, whatever it was, or the refusal in the package's words. The
models are small or have random weights: what is shown is whether a kind has an answer, and what it costs, not what it is.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.internals import build, running
from pytest_gradcam import Explainer, FocusError, HeatmapError, Region, Value, masks
from pytest_gradcam.perturbations import brightness

_SIDE = 96
_PAGE = Path(__file__).parents[1] / "docs" / "models.md"
_HEAD = "| kind | run here |"
_MASK = masks.box((_SIDE, _SIDE), (60, 60, 84, 84))
_IMAGES = 8
_LONGEST = 130  # characters of a refusal


@dataclass(frozen=True)
class Kind:
    """A kind of model: what was run, of which package, and what it is asked about; `dense` is a Box or a Region."""

    name: str
    ran: str
    package: str
    build: Callable[[Path], Any]
    target: Any = None
    dense: Callable[[Explainer, Tensor], Any] = lambda explainer, image: Region(0)


def _yolo(name: str) -> nn.Module:
    from ultralytics import YOLO

    model = YOLO(name, verbose=False).model.eval()
    with torch.no_grad():  # a random head finds nothing
        for level in model.model[-1].cv3:
            level[-1].weight.mul_(30)
            level[-1].bias.fill_(1.0)
    return model


def _unet() -> nn.Module:
    import segmentation_models_pytorch as smp

    return smp.Unet("resnet18", encoder_weights=None, classes=2)


def _segformer() -> nn.Module:
    import transformers

    size = {"hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    config = transformers.SegformerConfig(**size, decoder_hidden_size=32, num_labels=2)
    return transformers.SegformerForSemanticSegmentation(config)


class _Segmenter(nn.Module):
    """Two classes at each pixel, from what lies around it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU()
        )
        self.classifier = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x))


def _torchvision(name: str, **options: Any) -> nn.Module:
    from torchvision import models

    return getattr(models, name)(weights=None, num_classes=4, **options)


def _detector() -> nn.Module:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    backbone = nn.Sequential(nn.Conv2d(3, 16, 7, 4, 3), nn.ReLU(), nn.Conv2d(16, 16, 5, 4, 2))
    backbone.out_channels = 16
    sizes = {"min_size": _SIDE, "max_size": _SIDE, "box_detections_per_img": 20}
    parts = {
        "rpn_anchor_generator": AnchorGenerator(((32,),), ((1.0,),)),
        "box_roi_pool": MultiScaleRoIAlign(["0"], 7, 2),
    }
    return FasterRCNN(backbone, 4, **sizes, **parts)


def _timm(name: str) -> nn.Module:
    import timm

    return timm.create_model(name, num_classes=4, img_size=_SIDE)


def _vit() -> nn.Module:
    import transformers

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(**size, image_size=_SIDE, patch_size=16, num_labels=4)
    )


def _yolos() -> nn.Module:
    import transformers

    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    queries = {"num_detection_tokens": 10, "num_labels": 3, "initializer_range": 0.3}
    config = transformers.YolosConfig(**size, **queries, image_size=[_SIDE, _SIDE], patch_size=16)
    return transformers.YolosForObjectDetection(config)


def _classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    ).eval()


def _alone() -> Callable[[Tensor], Tensor]:
    model = _classifier()
    return lambda batch: model(batch)


def _exported(folder: Path) -> Any:
    torch.export.save(torch.export.export(_classifier(), (torch.rand(1, 3, _SIDE, _SIDE),)), folder / "model.pt2")
    return build(f"export:{folder / 'model.pt2'}")


def _onnx(folder: Path) -> Any:
    torch.onnx.export(_classifier(), (torch.rand(1, 3, _SIDE, _SIDE),), folder / "model.onnx", dynamo=False)
    return build(f"onnx:{folder / 'model.onnx'}")


def _first_box(explainer: Explainer, image: Tensor) -> Any:
    return next(
        each for each in explainer.detections(image) if each.box[2] - each.box[0] > 4 and each.box[3] - each.box[1] > 4
    )


def _region(explainer: Explainer, image: Tensor) -> Any:
    return Region(0, _MASK)


KINDS = (
    Kind(
        "classifier, torchvision", "MobileNetV3 small", "torchvision", lambda folder: _torchvision("mobilenet_v3_small")
    ),
    Kind("classifier, timm", "ViT tiny", "timm", lambda folder: _timm("vit_tiny_patch16_224")),
    Kind("classifier, transformers", "ViT of two blocks", "transformers", lambda folder: _vit()),
    Kind("scores alone: callable", "a small CNN", "torch", lambda folder: _alone()),
    Kind("scores alone: `export:`", "a small CNN", "torch", _exported),
    Kind("scores alone: `onnx:`", "a small CNN", "onnxruntime", _onnx),
    Kind(
        "regression (`Value`)",
        "MobileNetV3 small",
        "torchvision",
        lambda folder: _torchvision("mobilenet_v3_small"),
        Value(lambda output: output[0], name="size"),
    ),
    Kind(
        "detector, torchvision (`Box`)",
        "Faster R-CNN, small backbone",
        "torchvision",
        lambda folder: _detector(),
        _first_box,
        _first_box,
    ),
    Kind(
        "detector, transformers (`Box`)",
        "YOLOS of two blocks",
        "transformers",
        lambda folder: _yolos(),
        _first_box,
        _first_box,
    ),
    Kind(
        "detector, Ultralytics (`Box`)",
        "YOLOv8n",
        "ultralytics",
        lambda folder: _yolo("yolov8n.yaml"),
        _first_box,
        _first_box,
    ),
    *(
        Kind(f"segmenter{whose} (`Region`)", ran, package, build_it, _region, _region)
        for whose, ran, package, build_it in (
            ("", "a small FCN", "torch", lambda folder: _Segmenter()),
            (", smp", "U-Net, ResNet-18", "segmentation-models-pytorch", lambda folder: _unet()),
            (", transformers", "SegFormer, small", "transformers", lambda folder: _segformer()),
        )
    ),
)
QUESTIONS = ("heatmap", "RISE", "occlusion", "focus checks", "interventions", "reliance", "stability", "Box, Region")


class _Passes:
    """Counts the images that a network is given while it is asked something."""

    def __init__(self, network: nn.Module) -> None:
        self.images, self._counts = 0, False
        network.register_forward_pre_hook(self._count)

    def _count(self, _: nn.Module, inputs: Any) -> None:
        self.images += len(inputs[0]) if self._counts else 0

    def counted(self, ask: Callable[..., Any], *arguments: Any) -> None:
        self._counts = True
        try:
            ask(*arguments)
        finally:
            self._counts = False


class _Recording:
    """A running test that keeps records and draws nothing."""

    def __init__(self) -> None:
        self.marker: dict[str, Any] = {}
        self.records: list[Any] = []
        self.draws = False

    def keep(self, record: Any, draw: Any) -> Any:
        self.records.append(record)
        return record


def cell(ask: Callable[[], Any]) -> str:
    """The processor time of an answer, or the refusal."""
    recording, start = _Recording(), time.process_time()
    try:
        with running(recording), warnings.catch_warnings():  # type: ignore[arg-type]
            warnings.simplefilter("ignore")
            ask()
    except FocusError:
        pass
    except HeatmapError as error:
        if not any(record.details for record in recording.records):  # else it was measured, and stays undecided
            return f"refused: {_short(str(error))}"
    return f"{1000 * (time.process_time() - start):.0f}"


def _short(message: str) -> str:
    """The first words of a message, without what every undecided check begins with, for a cell of a table."""
    words = message.splitlines()[0].replace("|", "/")
    if words.startswith("no verdict on"):
        words = words.partition(": ")[2]
    return words if len(words) <= _LONGEST else words[:_LONGEST].rpartition(" ")[0] + " ..."


def row(kind: Kind, folder: Path) -> str:
    torch.manual_seed(0)
    built = kind.build(folder)
    explainer = Explainer(built, output="logits")
    seen = _Passes(explainer._engine.network)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, _SIDE, _SIDE, generator=generator) for _ in range(_IMAGES)]
    picture = np.asarray(255 * images[0].permute(1, 2, 0).numpy(), np.uint8)

    def target(image: Tensor) -> Any:
        found = kind.target
        return found(explainer, image) if callable(found) and not isinstance(found, Value) else found

    def stable() -> None:
        other = Explainer(built, output="logits", preprocess=_ready)
        other.assert_stable(
            picture, brightness(0.1), target=target(images[0]), same_class=kind.target is None, score_within=5.0
        )

    asked: dict[str, Callable[[], Any]] = {
        "heatmap": lambda: explainer(images[0], target(images[0])),
        "RISE": lambda: explainer(images[0], target(images[0]), method="rise"),
        "occlusion": lambda: explainer(images[0], target(images[0]), method="occlusion"),
        "focus checks": lambda: explainer(images[0], target(images[0])).assert_focus_within(_MASK, at_least=0.01),
        "interventions": lambda: explainer.assert_ignores(
            images[0], _MASK, target=target(images[0]), others=images[1:]
        ),
        "reliance": lambda: seen.counted(explainer.reliance, images, _MASK, targets),
        "stability": stable,
        "Box, Region": lambda: explainer(images[0], kind.dense(explainer, images[0])),
    }
    targets = [target(image) for image in images]
    cells = [cell(asked[question]) for question in QUESTIONS]
    if seen.images:
        cells[QUESTIONS.index("reliance")] += f" ({seen.images / _IMAGES:.1f} passes)"
    version = importlib.metadata.version(kind.package)
    return f"| {kind.name} | {kind.ran}, {kind.package} {version} | " + " | ".join(cells) + " |"


def _ready(image: Any) -> Tensor:
    return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)


def table() -> Iterator[str]:
    yield f"{_HEAD} " + " | ".join(QUESTIONS) + " |"
    yield "| --- " * (2 + len(QUESTIONS)) + "|"
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            yield row(kind, Path(folder))


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="into docs/models.md")


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    lines = []
    for line in table():
        print(line, flush=True)
        lines.append(line)
    if options.write:
        page = _PAGE.read_text("utf-8")
        before, _, rest = page.partition(_HEAD)
        _PAGE.write_text(before + "\n".join(lines) + "\n\n" + rest.partition("\n\n")[2], "utf-8")
