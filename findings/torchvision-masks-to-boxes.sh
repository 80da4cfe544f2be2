#!/usr/bin/env bash
# torchvision.ops.masks_to_boxes gives the last pixel as x2, y2; box_area, box_iou and the detectors read x2, y2 as
# the edge after it. An object of one pixel has area 0, and the IoU of its box with itself is NaN; every box is a
# pixel short.
# Source: torchvision/ops/boxes.py, 0.29.2.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchvision==0.29.2 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import torch
from importlib.metadata import version
from torchvision.ops import box_area, box_iou, masks_to_boxes

print("torchvision", version("torchvision"))
masks = torch.zeros(2, 10, 10, dtype=torch.bool)
masks[0, 5, 5] = True          # one pixel
masks[1, 2:6, 2:8] = True      # 4 x 6
boxes = masks_to_boxes(masks)
print("expected: areas 1 and 24, each box has IoU 1 with itself")
areas, overlap = box_area(boxes).tolist(), box_iou(boxes, boxes).diagonal()
print("seen: boxes", boxes.tolist(), "areas", areas, "IoU with itself", overlap.tolist())
assert areas == [0.0, 15.0] and overlap[0].isnan() and overlap[1] == 1
PYTHON
