#!/usr/bin/env bash
# On Linux a small network's forward pass in a fresh process asks the system for its memory again each time: about 1 700 page
# faults a pass of a MobileNetV3, a fifth of its time. Once a block of just under 32 MB has been freed, even one that nobody
# wrote to, there are none: glibc then keeps what is freed. So two timings of one model in two processes may differ by a
# fifth, by what else was allocated and freed before.
# Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, which glibc raises when it frees a mapped block of up to 32 MB;
# glibc 2.36, torch 2.15.0, torchvision 0.29.2.
set -euo pipefail
unset PYTHONPATH MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ MALLOC_TOP_PAD_ GLIBC_TUNABLES LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 torchvision==0.29.2 numpy==2.4.6)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
env/bin/python -W ignore - <<'PYTHON'
import platform, resource, statistics, time
import torch, torchvision

print("torch", torch.__version__, "torchvision", torchvision.__version__, *platform.libc_ver())
torch.set_num_threads(1)
model = torchvision.models.mobilenet_v3_large(weights=None).eval()
image = torch.randn(1, 3, 224, 224)

@torch.no_grad()
def passes():
    """Page faults of a pass, and its milliseconds."""
    for _ in range(3):
        model(image)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for _ in range(30):
        start = time.process_time()
        model(image)
        times.append(1000 * (time.process_time() - start))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 30, statistics.median(times)

fresh = passes()
block = torch.empty(2**25 - 2**16, dtype=torch.uint8)
del block
later = passes()
print("expected: the same work in the same time")
print(f"seen: {fresh[0]:.0f} page faults and {fresh[1]:.1f} ms a pass; after 32 MB were freed {later[0]:.0f} and {later[1]:.1f} ms")
assert fresh[0] > 500 and later[0] < 100
PYTHON
