#!/usr/bin/env bash
# onnxruntime: MaxPool leaves NaN out, torch's max_pool2d passes it on. A model whose features are NaN at some places
# gives NaN in torch and a finite, ordinary score as ONNX: a broken input or a broken layer shows no sign after
# conversion.
# Source: the CPU provider of onnxruntime 1.32.0 against torch 2.15.0.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import contextlib, io
import onnxruntime, torch
from torch import nn
from importlib.metadata import version

for name in ("torch", "onnxruntime"):
    print(name, version(name))
model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.ReLU()).eval()
image = torch.tensor([[[[float("nan"), 1.0], [2.0, 3.0]]]])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    torch.onnx.export(model, (image,), "model.onnx", verbose=False)
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
seen = model(image).item(), session.run(None, {session.get_inputs()[0].name: image.numpy()})[0].item()
print("expected: NaN from both")
print("seen: torch {}, onnxruntime {}".format(*seen))
assert seen[0] != seen[0] and seen[1] == 3.0
PYTHON
