#!/usr/bin/env bash
# PyTorch's max pooling on the CPU takes several times as long on contiguous images as on the same images in channels-last
# memory, with the copies there and back counted, and gives the same bits: only the channels-last loop is vectorised. At the
# size of a ResNet's one max pooling it is seven milliseconds of a forward pass of 45 on one thread, and one and a half.
# Source: pytorch/pytorch issues 28733 and 51393 (open), pull request 48917; torch 2.15.0.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import statistics, time
import torch
from torch.nn.functional import max_pool2d

print("torch", torch.__version__)
torch.set_num_threads(1)
image = torch.randn(1, 64, 112, 112, generator=torch.Generator().manual_seed(0))

def contiguous():
    return max_pool2d(image, 3, 2, 1)

def channels_last():
    return max_pool2d(image.contiguous(memory_format=torch.channels_last), 3, 2, 1).contiguous()

times = {contiguous: [], channels_last: []}
for _ in range(30):
    for pool in times:
        start = time.process_time()
        pool()
        times[pool].append(time.process_time() - start)
ratio = statistics.median(times[contiguous]) / statistics.median(times[channels_last])
same = torch.equal(contiguous().view(torch.int32), channels_last().view(torch.int32))
print("expected: the plain call is the fastest way to the same numbers, as two copies come on top of the other")
print(f"seen: the plain call takes {ratio:.1f} times as long; the same bits: {same}")
assert same and ratio > 2
PYTHON
