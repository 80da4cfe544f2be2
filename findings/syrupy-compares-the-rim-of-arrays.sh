#!/usr/bin/env bash
# syrupy writes what `repr` says of an object, and `repr` of an array or tensor with more than 1000 elements leaves out
# all but three rows and columns at each rim. The snapshot of a heatmap (in a dict or a dataclass, or as a torch tensor)
# is its rim: the heat may move anywhere inside it, the test passes, and no message says so.
# Source: syrupy's DataSerializer.serialize_unknown (7.0.2), NumPy's print option `threshold`.
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(syrupy==7.0.2 pytest==9.2.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
cat >test_heat.py <<'PYTHON'
import os
import numpy as np


def test_heatmap(snapshot):
    heat = np.zeros((56, 56))
    row, column = int(os.environ["ROW"]), int(os.environ["COLUMN"])
    heat[row : row + 8, column : column + 8] = 1
    assert {"label": "cat", "heat": heat} == snapshot
PYTHON
run() { ROW=$1 COLUMN=$2 env/bin/python -m pytest -q -p no:cacheprovider test_heat.py "${@:3}" | grep -E "snapshots? |passed|failed" || true; }
env/bin/python -c "from importlib.metadata import version; print('syrupy', version('syrupy'), 'numpy', version('numpy'))"
echo "stored: a heatmap of 56 x 56 with its heat at rows and columns 20 to 27"
run 20 20 --snapshot-update
cat __snapshots__/test_heat.ambr
echo "expected: with the heat at rows 40 to 47 and columns 8 to 15 the test fails"
echo "seen:"
moved=$(run 40 8)
echo "$moved"
echo "seen, with the heat at the rim (rows and columns 0 to 7):"
rim=$(run 0 0)
echo "$rim" | tail -1
[[ $moved == *"1 passed"* && $rim == *"1 failed"* ]]
