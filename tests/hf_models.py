"""Small models of transformers, built from a configuration and saved as users save them."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.model_files import CORNER, DISC, pixels

SIDE = 32


def vit(folder, region=None):
    """A ViT of three classes with its processor in a folder; trained to read one region, if there is one."""
    import transformers

    torch.manual_seed(0)
    names = {0: "red", 1: "green", 2: "neither"}
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIDE,
        patch_size=4,
        id2label=names,
        label2id={name: index for index, name in names.items()},
    )
    model = transformers.ViTForImageClassification(config)
    processor = transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    if region is not None:
        train(model, processor, region)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def train(model, processor, region, steps=120):
    """Disc and corner have independent colours or none; the label is the colour of the region."""
    random = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    model.train()
    for _ in range(steps):
        colours = random.integers(0, 3, (48, 2))
        images = [Image.fromarray(scene(int(random.integers(1e6)), *pair)) for pair in colours.tolist()]
        inputs = processor(images=images, return_tensors="pt")["pixel_values"]
        labels = torch.from_numpy(colours[:, 0 if region is DISC else 1])
        loss = nn.functional.cross_entropy(model(inputs).logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def scene(seed, disc, corner):
    """`pixels`, where colour 2 leaves the noise as it is."""
    image = pixels(seed, disc % 2, corner % 2)
    noise = np.random.default_rng(seed).integers(80, 150, image.shape).astype(np.uint8)
    for region, colour in ((DISC, disc), (CORNER, corner)):
        if colour == 2:
            image[region] = noise[region]
    return image


def clip(folder, kind="clip"):
    """A CLIP or SigLIP of random weights, with tokenizer and processor, in a folder."""
    import transformers

    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = transformers.CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[])
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 64, "eos_token_id": tokenizer.eos_token_id}
    vision = {**tower, "image_size": SIDE, "patch_size": 8}
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))
        nn.init.constant_(model.logit_scale, 2.0)
        nn.init.constant_(model.logit_bias, -3.0)
        processor = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    return str(folder)
