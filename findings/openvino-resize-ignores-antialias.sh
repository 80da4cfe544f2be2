#!/usr/bin/env bash
# OpenVINO reads an ONNX model whose Resize has `antialias` 1, and resizes without it, linear and cubic, and says
# nothing. ONNX Runtime does as the model says. A preprocessing that is part of the model then shows it another
# picture: of fine detail OpenVINO sees every n-th pixel, not the mean.
# Source: openvino 2026.4.1, its issue 35893 (cubic); linear is the same.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import openvino
from importlib.metadata import version
from onnx import TensorProto, helper

print(*(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "onnx")))
image = np.zeros((1, 1, 8, 16), np.float32)
image[..., ::4] = 1  # white lines, one pixel wide, every four pixels
print("expected: resized to a quarter with antialias, grey of about 0.25; without it, as the lines happen to lie")
seen = {}
for mode in ("linear", "cubic"):
    for antialias in (0, 1):
        node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, antialias=antialias)
        graph = helper.make_graph(
            [node], "resize", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 16])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 4])],
            [helper.make_tensor("size", TensorProto.INT64, [4], [1, 1, 2, 4])])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, "resize.onnx")
        runtime = onnxruntime.InferenceSession("resize.onnx").run(None, {"x": image})[0]
        vino = openvino.compile_model("resize.onnx", "CPU")(image)[0]
        seen[mode, antialias] = runtime, vino
        print(f"seen: {mode:6} antialias {antialias}: ONNX Runtime {runtime[0, 0, 0].round(2)}, OpenVINO {vino[0, 0, 0].round(2)}")
for mode in ("linear", "cubic"):
    (plain, vino_plain), (smooth, vino_smooth) = seen[mode, 0], seen[mode, 1]
    assert np.allclose(plain, vino_plain, atol=1e-3) and np.allclose(vino_smooth, vino_plain, atol=1e-3)
    assert smooth.min() > 0.1 and plain.max() < 0.01
PYTHON
