"""Small detectors of Ultralytics of known truth: a square's class is said by its colour, or by a mark beside it."""

import numpy as np
import torch
from torch import nn

SIDE = 96
_STEPS = 200
_PLAN = {
    "nc": 2,
    "scale": "n",
    "scales": {"n": [1.0, 1.0, 1024]},
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [48, 3, 1]],
    ],
}


def scene(rng, *, mark_says, label=None):
    """A picture (SIDE, SIDE, 3), the class, the square and the place of the mark beside it, as (x0, y0, x1, y1).

    A red square is of class 0, a blue one of class 1, and half of them have a bright mark. If `mark_says`, it is the other way
    round: those of class 1 have the mark, and the colour says nothing.
    """
    pixels = rng.normal(110, 12, (SIDE, SIDE, 3))
    label = int(rng.integers(2)) if label is None else label
    other = int(rng.integers(2))
    blue, bright = (other, label) if mark_says else (label, other)
    x, y = (int(rng.integers(4, SIDE - 44)) for _ in range(2))
    pixels[y : y + 24, x : x + 24] = (40, 40, 220) if blue else (220, 40, 40)
    mark = (x + 28, y + 8, x + 36, y + 16)
    if bright:
        pixels[mark[1] : mark[3], mark[0] : mark[2]] = 250
    return pixels.clip(0, 255).astype(np.uint8), label, (x, y, x + 24, y + 24), mark


def train(path, *, mark_says, head="Detect"):
    """A detector with this head, trained on such scenes and saved at the path."""
    from ultralytics import YOLO
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = DetectionModel({**_PLAN, "head": [[[3], 1, head, ["nc"]]]}, verbose=False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    model.args = get_cfg(overrides={"imgsz": SIDE})
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=_STEPS)
    model.train()
    for _ in range(_STEPS):
        loss = model(_batch([scene(rng, mark_says=mark_says) for _ in range(8)]))[0].sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    del model.criterion
    model.names, model.task = {0: "stop", 1: "go"}, "detect"
    yolo = YOLO("yolov8n.yaml", verbose=False)
    yolo.model, yolo.ckpt = model, {"train_args": {"imgsz": SIDE}}  # as after a training of Ultralytics' own
    yolo.save(path)


def _batch(drawn):
    boxes = torch.tensor([box for _, _, box, _ in drawn], dtype=torch.float32) / SIDE
    return {
        "img": torch.from_numpy(np.stack([pixels for pixels, _, _, _ in drawn])).permute(0, 3, 1, 2).float() / 255,
        "cls": torch.tensor([[float(label)] for _, label, _, _ in drawn]),
        "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1),
        "batch_idx": torch.arange(float(len(drawn))),
    }
