#!/usr/bin/env bash
# ultralytics: a YOLO classification model returns logits in train mode and the pair (probabilities, logits) in eval
# mode. Code that takes the first of a tuple for the scores, as is usual, explains a probability: its gradient falls
# with confidence and mixes in all other classes.
# Source: ultralytics.nn.modules.head.Classify.forward, 8.4.190.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(ultralytics==8.4.190 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import os
os.environ["YOLO_CONFIG_DIR"], os.environ["YOLO_OFFLINE"] = os.getcwd(), "True"
import torch
from importlib.metadata import version
from ultralytics.nn.tasks import ClassificationModel

print("ultralytics", version("ultralytics"))
torch.manual_seed(0)
model, image = ClassificationModel("yolov8n-cls.yaml", nc=5, verbose=False), torch.rand(2, 3, 64, 64)
print("expected: one tensor of logits in both modes")
trained, evaluated = model.train()(image), model.eval()(image)
print("seen: train:", type(trained).__name__, tuple(trained.shape))
print("      eval: ", type(evaluated).__name__, [tuple(part.shape) for part in evaluated],
      "; sums of the first:", evaluated[0].sum(dim=1).tolist())
assert isinstance(trained, torch.Tensor) and isinstance(evaluated, tuple)
assert torch.allclose(evaluated[0], evaluated[1].softmax(dim=1)) and not torch.allclose(evaluated[1].sum(dim=1), torch.ones(2))
PYTHON
