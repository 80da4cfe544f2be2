#!/usr/bin/env bash
# Ray starts its workers at niceness 15, whoever starts it at whatever niceness, so on a machine that does anything else beside it (a CI
# job's other processes, a data loader) models in actors get the processor last: at a load of five on two cores, an actor took 165 s for
# 5 s of processor time. RAY_worker_niceness=0, set before ray.init, changes it; ray.init has no argument for it.
# Source: src/ray/common/ray_config_def.h, RAY_CONFIG(int, worker_niceness, 15), and its use in the worker pool (ray 2.60.0).
set -euo pipefail
unset PYTHONPATH PYTEST_ADDOPTS PYTEST_PLUGINS RAY_worker_niceness RAY_ADDRESS
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(ray==2.60.0)
if command -v uv >/dev/null; then
    uv venv -q --python python3 "$work/env"
    uv pip install -q --python "$work/env/bin/python" "${packages[@]}"
else
    python3 -m venv "$work/env"
    "$work/env/bin/pip" install -q "${packages[@]}"
fi
cd "$work"
export RAY_USAGE_STATS_ENABLED=0 HOME="$work" RAY_TMPDIR="$work"
cat >niceness.py <<'PYTHON'
import logging
import os
import ray

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


@ray.remote
class Actor:
    def niceness(self):
        return os.nice(0)


print(ray.__version__, os.nice(0), ray.get(Actor.remote().niceness.remote(), timeout=300))
ray.shutdown()
PYTHON
echo "expected: an actor runs at the niceness of the process that started Ray"
seen=$(env/bin/python -W ignore niceness.py 2>/dev/null | tail -1)
told=$(RAY_worker_niceness=0 env/bin/python -W ignore niceness.py 2>/dev/null | tail -1)
echo "seen: ray, the driver's niceness, the actor's: $seen; with RAY_worker_niceness=0: $told"
own=$(nice)
[ "$seen" = "2.60.0 $own 15" ]
[ "$told" = "2.60.0 $own $own" ]
