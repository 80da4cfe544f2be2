"""Image classifiers of Hugging Face's transformers, with their own image processor and their own class names."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.models.kinds import Wanted, package
from pytest_gradcam.models.zero_shot import ZeroShot, prompts, require_alike

WEIGHTS = "own"
_SHOWN = 4  # tensors in a message
_GREY = 127


def look_up(name: str) -> None:
    """Raises SettingsError where transformers is missing."""
    _transformers()


def build(name: str, wanted: Wanted) -> nn.Module:
    """The classifier of a folder, or of a name in the local cache; one whose classes are texts where it is of that kind.

    Raises SettingsError for a model of another kind, and for one of which some weights are missing.
    """
    transformers = _transformers()
    config = _loaded(transformers.AutoConfig, name, wanted)
    if _is_classifier(transformers, config, name):
        model: nn.Module = _with_all_weights(transformers.AutoModelForImageClassification, name, wanted)
        return model
    model = _with_all_weights(transformers.AutoModelForZeroShotImageClassification, name, wanted)
    return _zero_shot(transformers, model.eval(), name, wanted)


def preprocess(name: str, wanted: Wanted) -> Any:
    """The model's own image processor, as a callable from a PIL image to its pixel values (C, H, W)."""
    transformers = _transformers()
    return Processor(_loaded(transformers.AutoImageProcessor, name, wanted))


def classes(name: str, wanted: Wanted) -> Any:
    """The model's id2label; None where its classes are texts."""
    transformers = _transformers()
    config = _loaded(transformers.AutoConfig, name, wanted)
    return dict(config.id2label) if _is_classifier(transformers, config, name) else None


class Processor:
    """An image processor as a callable from one PIL image to its pixel values, float (C, H, W)."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, image: Image.Image) -> Tensor:
        found = self.processor(images=image, return_tensors="pt")
        pixels: Tensor = found["pixel_values"]
        if pixels.ndim != 4 or len(pixels) != 1:
            raise HeatmapError(
                f"{type(self.processor).__name__} makes pixel values of shape {tuple(pixels.shape)} of one image, not (1, "
                "C, H, W), which keeps no positions in the image; expected one picture of a fixed size"
            )
        return pixels[0]


def _transformers() -> Any:
    return package("transformers", "an hf: model", "hf")


def _loaded(kind: Any, name: str, wanted: Wanted, **options: Any) -> Any:
    try:
        return kind.from_pretrained(name, local_files_only=not wanted.pretrained, **options)
    except Exception as error:  # transformers, huggingface_hub and tokenizers each raise their own
        reason = next(iter(str(error).splitlines()), "")
        way = "check the name" if wanted.pretrained else "gradcam_weights = pretrained downloads it"
        raise SettingsError(
            f"hf:{name}: {kind.__name__} finds nothing that it can read in that folder, or under that name in the local cache "
            f"({type(error).__name__}: {reason:.300}); save model and processor with save_pretrained in one folder; {way}"
        ) from None


def _with_all_weights(kind: Any, name: str, wanted: Wanted) -> Any:
    """Raises SettingsError where tensors of the model are not in the file: transformers draws them at random, and warns."""
    model, about = _loaded(kind, name, wanted, output_loading_info=True)
    missing = sorted([*about["missing_keys"], *(str(each) for each in about.get("mismatched_keys", ()))])
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise SettingsError(
            f"hf:{name} has no weights for {', '.join(missing[:_SHOWN])}{more} of {type(model).__name__}, which would be a "
            "random draw; expected a trained image classifier. Save it, with its head, by save_pretrained"
        )
    return model


def _is_classifier(transformers: Any, config: Any, name: str) -> bool:
    """Whether it has a head for its own classes; else its classes are texts. Raises SettingsError for other kinds."""
    auto = transformers.models.auto.modeling_auto
    own = [str(each) for each in config.architectures or ()]
    if any("ImageClassification" in each for each in own) and "ZeroShot" not in "".join(own):
        return True
    if type(config) in auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING:
        return False
    if type(config) in auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return True
    raise SettingsError(
        f"hf:{name} is a {', '.join(own) or type(config).__name__}; expected an image classifier, or a zero-shot one "
        "such as CLIP. For other models, write a fixture gradcam_model"
    )


def _zero_shot(transformers: Any, model: Any, name: str, wanted: Wanted) -> nn.Module:
    what = f"hf:{name} ({type(model).__name__})"
    texts = prompts(wanted, what)
    tokenizer = _loaded(transformers.AutoTokenizer, name, wanted)
    # As it was trained, and as transformers' own pipeline does.
    fixed = {"padding": "max_length", "max_length": 64, "truncation": True}
    padding = fixed if "siglip" in model.config.model_type else {"padding": True}
    tokens = tokenizer(texts, return_tensors="pt", **padding)
    if not all(hasattr(model, part) for part in ("get_image_features", "get_text_features", "logit_scale")):
        raise SettingsError(f"{what} has no features of images and texts; expected a model such as CLIP or SigLIP")
    with torch.no_grad():
        features = _pooled(model.get_text_features(**tokens))
    bias = getattr(model, "logit_bias", None)
    network = ZeroShot(model, partial(_image_features, model), features, model.logit_scale, bias)
    grey = preprocess(name, wanted)(Image.new("RGB", (96, 64), (_GREY, 0, 255)))[None].to(features.dtype)
    require_alike(network, lambda image: model(**tokens, pixel_values=image).logits_per_image, grey, what)
    return network


def _image_features(model: Any, images: Tensor) -> Tensor:
    return _pooled(model.get_image_features(pixel_values=images))


def _pooled(features: Any) -> Tensor:
    """The features (N, d): earlier versions of transformers return them bare."""
    found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return found
