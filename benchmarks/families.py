"""Whether the layer chosen in small models of three libraries, with random weights, is read in the right places.

A model counts as right if a faint change at each of eight known places of the input shows most in the same or an adjacent
cell of the grid, in at least six of them: by finite differences, independently of the gradients that the package takes. Of timm
these are the ones whose order of tokens is not the rows of the image, or was not known; `layers` runs all the others. Needs
vit-pytorch, transformers and timm.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.internals import Site, capture, choose, untouched
from benchmarks.networks import awaken, calibrate
from pytest_gradcam import HeatmapError

_KNOWN = 8  # places
_DRAWS = 3  # of the change at each
_MOST = 0.75  # of the places must show where they are

_VIT: dict[str, Any] = {
    "image_size": 64, "patch_size": 8, "num_classes": 10, "dim": 32, "depth": 3, "heads": 2, "mlp_dim": 64,
}  # fmt: skip
_LEVIT: dict[str, Any] = {
    "image_size": 224, "num_classes": 10, "stages": 3, "dim": (32, 48, 64), "depth": 2, "heads": (2, 3, 4),
    "mlp_mult": 2, "dropout": 0.0,
}  # fmt: skip
_CROSS: dict[str, Any] = {
    "image_size": 64, "num_classes": 10, "depth": 2, "sm_dim": 32, "sm_patch_size": 8, "sm_enc_depth": 1, "sm_enc_heads": 2,
    "sm_enc_mlp_dim": 64, "lg_dim": 32, "lg_patch_size": 16, "lg_enc_depth": 1, "lg_enc_heads": 2, "lg_enc_mlp_dim": 64,
    "cross_attn_depth": 1, "cross_attn_heads": 2,
}  # fmt: skip
#: module, class, settings and the side of the input
VIT_PYTORCH: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("vit", "ViT", _VIT, 64),
    ("vit", "ViT", {**_VIT, "pool": "mean"}, 64),
    ("simple_vit", "SimpleViT", _VIT, 64),
    ("simple_vit_with_register_tokens", "SimpleViT", _VIT, 64),
    ("simple_vit_with_fft", "SimpleViT", {**_VIT, "freq_patch_size": 8}, 64),
    ("simple_vit_with_hyper_connections", "SimpleViT", {**_VIT, "num_residual_streams": 2}, 64),
    ("simple_vit_with_qk_norm", "SimpleViT", _VIT, 64),
    ("simple_vit_with_value_residual", "SimpleViT", _VIT, 64),
    ("simple_uvit", "SimpleUViT", {**_VIT, "depth": 4}, 64),
    ("deepvit", "DeepViT", _VIT, 64),
    ("parallel_vit", "ViT", {**_VIT, "num_parallel_branches": 2}, 64),
    ("cait", "CaiT", {**_VIT, "cls_depth": 2}, 64),
    (
        "nest",
        "NesT",
        {
            "image_size": 64,
            "patch_size": 4,
            "num_classes": 10,
            "dim": 16,
            "heads": 2,
            "num_hierarchies": 2,
            "block_repeats": (1, 1),
        },
        64,
    ),
    ("vit_for_small_dataset", "ViT", _VIT, 64),
    ("cross_vit", "CrossViT", _CROSS, 64),
    ("levit", "LeViT", _LEVIT, 224),
    ("pit", "PiT", {**_VIT, "image_size": 128, "depth": (1, 1, 1)}, 128),
    ("xcit", "XCiT", {**_VIT, "cls_depth": 2}, 64),
    ("vit_with_patch_merger", "ViT", {**_VIT, "patch_merge_layer": 2, "patch_merge_num_tokens": 16}, 64),
)

_SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 64,
    "patch_size": 8,
}  # fmt: skip
_TOWER: dict[str, Any] = {"vision_config": _SMALL}
_PYRAMID = {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
_STAGES: dict[str, Any] = {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 1, 1]}
_SWIN: dict[str, Any] = {
    "image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4,
}  # fmt: skip
#: the model's name in transformers, less "ForImageClassification", its settings and the side of the input
TRANSFORMERS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("ViT", _SMALL, 64),
    ("ViT", {**_SMALL, "output_attentions": True, "output_hidden_states": True}, 64),
    ("DeiT", _SMALL, 64),
    ("ViTMSN", _SMALL, 64),
    ("Beit", _SMALL, 64),
    ("Data2VecVision", _SMALL, 64),
    ("Dinov2", {**_SMALL, "mlp_ratio": 2}, 64),
    ("Dinov2WithRegisters", {**_SMALL, "mlp_ratio": 2}, 64),
    ("IJepa", _SMALL, 64),
    ("CLIP", _TOWER, 64),
    ("Siglip", _TOWER, 64),
    ("MetaClip2", _TOWER, 64),
    ("Swin", _SWIN, 64),
    ("Swinv2", _SWIN, 64),
    ("DonutSwin", _SWIN, 64),
    (
        "Hiera",
        {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "num_query_pool": 2},
        64,
    ),
    (
        "FocalNet",
        {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1], "focal_levels": [1, 1, 1], "focal_windows": [3, 3, 3]},
        64,
    ),
    ("ConvNext", _STAGES, 128),
    ("ConvNextV2", _STAGES, 128),
    ("ResNet", {**_STAGES, "embedding_size": 16}, 128),
    ("RegNet", {**_STAGES, "embedding_size": 16, "groups_width": 8}, 128),
    ("Bit", {**_STAGES, "embedding_size": 16, "num_groups": 4}, 128),
    ("PoolFormer", {**_STAGES}, 128),
    ("Segformer", _PYRAMID, 128),
    ("PvtV2", {"image_size": 128, **_PYRAMID}, 128),
    ("Pvt", {"image_size": 128, **_PYRAMID}, 128),
    (
        "Levit",
        {"image_size": 128, "hidden_sizes": [32, 48, 64], "num_attention_heads": [2, 3, 4], "depths": [1, 1, 1]},
        128,
    ),
    ("MobileNetV1", {"image_size": 128, "depth_multiplier": 0.25}, 128),
    ("MobileNetV2", {"image_size": 128, "depth_multiplier": 0.35}, 128),
    ("MobileViT", {"image_size": 128}, 128),
    ("MobileViTV2", {"image_size": 128, "width_multiplier": 0.5}, 128),
    ("EfficientNet", {"image_size": 128, "width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}, 128),
    ("SwiftFormer", {"image_size": 128, "embed_dims": [24, 32, 48, 64], "depths": [1, 1, 1, 1]}, 128),
    ("HGNetV2", {}, 128),
    ("TextNet", {"image_size": [128, 128]}, 128),
)

_MVIT: dict[str, Any] = {"depths": (1, 1, 2, 1), "embed_dim": 16, "num_heads": 1}
_NAFLEX: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 2, "patch_size": 8}
_HIERA: dict[str, Any] = {"embed_dim": 16, "stages": (1, 1, 2, 1), "num_heads": 1, "img_size": (224, 224)}
#: timm's name, settings and the side of the input; MViTv2 takes its settings as one object
TIMM: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("mvitv2", _MVIT, 128),
    ("mvitv2", {**_MVIT, "use_cls_token": True}, 128),
    ("naflexvit_base_patch16_gap", _NAFLEX, 64),
    ("naflexvit_base_patch16_par_gap", _NAFLEX, 64),
    ("naflexvit_base_patch16_map", _NAFLEX, 64),
    ("hiera_tiny_224", _HIERA, 224),
    ("hiera_small_abswin_256", _HIERA, 224),
)


class Logits(nn.Module):
    """A model that returns its logits, whatever else it returns."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x).logits
        return logits


@dataclass(frozen=True)
class Family:
    """A small model with random weights: its name, the side of its input, and how to build it."""

    name: str
    side: int
    build: Callable[[], nn.Module]


def from_vit_pytorch() -> Iterator[Family]:
    for module, kind, settings, side in VIT_PYTORCH:
        yield Family(
            f"{module} {settings.get('pool', '')}".strip(), side, partial(_vit_pytorch, module, kind, settings)
        )


def from_transformers() -> Iterator[Family]:
    for name, settings, side in TRANSFORMERS:
        yield Family(name, side, partial(_transformers, name, settings))


def from_timm() -> Iterator[Family]:
    for name, settings, side in TIMM:
        yield Family(name, side, partial(_mvitv2 if name == "mvitv2" else partial(_timm, name), settings, side))


def _timm(name: str, settings: dict[str, Any], _side: int) -> nn.Module:
    model: nn.Module = import_module("timm").create_model(name, num_classes=10, **settings)
    return model


def _mvitv2(settings: dict[str, Any], side: int) -> nn.Module:
    timm = import_module("timm.models.mvitv2")
    model: nn.Module = timm.MultiScaleVit(timm.MultiScaleVitCfg(**settings), img_size=(side, side), num_classes=10)
    return model


def _vit_pytorch(module: str, kind: str, settings: dict[str, Any]) -> nn.Module:
    model: nn.Module = getattr(import_module(f"vit_pytorch.{module}"), kind)(**settings)
    return model


def _transformers(name: str, settings: dict[str, Any]) -> nn.Module:
    kind: Any = getattr(import_module("transformers"), f"{name}ForImageClassification")
    return Logits(kind(kind.config_class(**settings, num_labels=10)))


def located(model: nn.Module, inputs: Tensor, site: Site) -> float:
    """At how many of eight known places a faint change of the input shows most in the same or an adjacent cell."""
    height, width = site.grid
    before = capture(model, inputs, site).activations
    draw = torch.Generator().manual_seed(1)
    known = torch.randperm(height * width, generator=draw)[:_KNOWN].tolist()
    changes = []
    for place in known:
        change = torch.zeros(height * width, dtype=torch.double)
        for _ in range(_DRAWS):
            changed = inputs.clone()
            block = changed[:, :, _pixels(inputs.shape[2], place // width, height)]
            block = block[..., _pixels(inputs.shape[3], place % width, width)]
            block += 0.05 * torch.randn(block.shape, generator=draw)
            change += (capture(model, changed, site).activations - before).double().pow(2).sum(1).flatten()
        changes.append(change.sqrt() / change.sum().sqrt())
    shown = torch.stack(changes)
    shared = shown.mean(0)
    peaks = ((shown - shared) / shared.sqrt().clamp_min(1e-12)).argmax(1).tolist()
    hits = [
        max(abs(place // width - peak // width), abs(place % width - peak % width)) <= 1
        for place, peak in zip(known, peaks, strict=True)
    ]
    return sum(hits) / len(hits)


def _pixels(side: int, cell: int, cells: int) -> slice:
    return slice(cell * side // cells, max((cell + 1) * side // cells, cell * side // cells + 1))


def judged(family: Family) -> tuple[str, str]:
    """Right, wrong, refused or not built; and what was found."""
    torch.manual_seed(0)
    try:
        model = family.build().eval()
        awaken(model)
        inputs = torch.randn(1, 3, family.side, family.side)
        with torch.no_grad():
            model(inputs)
        calibrate(model, inputs)
    except Exception as error:  # any way in which a model does not build
        return "not built", f"{type(error).__name__}: {str(error)[:100]}"
    with untouched(model):
        try:
            choice = choose(model, inputs, torch.max)
        except HeatmapError as error:
            return "refused", str(error)[:200]
        hits = located(model, inputs, choice.site)
    seen = next(str(candidate.geometry) for candidate in choice.candidates if candidate.site == choice.site)
    return "right" if hits >= _MOST else "wrong", f"{hits:.2f} at {choice.site}: {seen}"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", default="", metavar="PATTERN", help="models whose name matches a regular expression")


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    libraries = (("vit-pytorch", from_vit_pytorch()), ("transformers", from_transformers()), ("timm", from_timm()))
    for library, families in libraries:
        counts: Counter[str] = Counter()
        for family in families:
            if re.search(options.only, family.name):
                verdict, found = judged(family)
                counts[verdict] += 1
                print(f"{family.name:36} {verdict:10} {found}", flush=True)
        print(f"{library}: {dict(counts)}\n", flush=True)
