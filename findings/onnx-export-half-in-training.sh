#!/usr/bin/env bash
# torch.onnx.export of a model in train mode gives one that is half in training: BatchNorm uses its running statistics
# (it is even folded into the convolution), dropout stays random. In eval mode both would be fixed, in train mode both
# would be live. The ONNX file is the model of neither mode; scores and black-box heatmaps differ from run to run.
# Source: torch.onnx.export (dynamo), 2.15.0.
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
import onnx, onnxruntime, torch
from torch import nn
from importlib.metadata import version

for name in ("torch", "onnx", "onnxruntime"):
    print(name, version(name))
torch.manual_seed(0)
model, image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train(), torch.rand(4, 3, 16, 16)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    torch.onnx.export(model, (image,), "model.onnx", verbose=False)
operators = [node.op_type for node in onnx.load("model.onnx").graph.node]
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
first, second = (torch.tensor(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]) for _ in range(2))
print("expected: all of the model in evaluation, or all of it in training")
kept = first != 0
frozen, live = model[1].eval()(model[0](image)), model[1].train()(model[0](image))
gaps = [float((first - 2 * normed).abs()[kept].max()) for normed in (frozen, live)]
print(f"seen: operators {operators}; two runs are equal: {torch.equal(first, second)}")
print(f"      largest gap to BatchNorm in eval mode (times dropout's 2): {gaps[0]:.1e}, in train mode: {gaps[1]:.1e}")
assert operators == ["Conv", "Dropout"] and not torch.equal(first, second)
assert gaps[0] < 1e-5 < 0.1 < gaps[1]
PYTHON
