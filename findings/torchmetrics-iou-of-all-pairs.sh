#!/usr/bin/env bash
# torchmetrics' detection IntersectionOverUnion is the mean over all pairs of boxes with equal labels, not over
# matched ones. Two objects of one class, both found exactly, are four pairs, two of them with IoU 0: the score is
# 0.5. Objects whose class was not detected form no pair, so a detector that misses one of two objects has 1.0. More
# found can mean a lower score.
# Source: IntersectionOverUnion.update and compute (torchmetrics 1.9.0); the functional form takes the diagonal, that
# is, boxes in the same order.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchmetrics==1.9.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
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
from torchmetrics.detection import IntersectionOverUnion

print("torchmetrics", version("torchmetrics"))
boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]])


def score(found, truth):
    metric = IntersectionOverUnion()
    metric.update([{"boxes": boxes[: len(found)], "labels": torch.tensor(found)}],
                  [{"boxes": boxes[: len(truth)], "labels": torch.tensor(truth)}])
    return metric.compute()["iou"].item()


cases = {
    "two cats, both found exactly": ([1, 1], [1, 1], "1.0"),
    "a cat and a dog, both found exactly": ([1, 2], [1, 2], "1.0"),
    "a cat and a dog, the dog is missed": ([1], [1, 2], "less than 1"),
    "a cat and a dog, the dog is called a bird": ([1, 3], [1, 2], "less than 1"),
}
seen = []
for name, (found, truth, expected) in cases.items():
    seen.append(score(found, truth))
    print(f"{name}: expected {expected}, seen {seen[-1]}")
assert seen == [0.5, 1.0, 1.0, 1.0]
PYTHON
