"""What the installed plugin adds to the start of pytest in a repository that does not use it.

Whole pytest processes with the plugin and without it in turn, so that a drift of the machine hits both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(directory: str, *arguments: str) -> float:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=directory,
        env=environment,
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "test_nothing.py").write_text("def test_nothing(): pass\n")
        both = ((), ("-p", "pytest_gradcam.plugin"))
        pairs = [[seconds(directory, *arguments) for arguments in both] for _ in range(rounds + 1)][1:]
    without = statistics.median(pair[0] for pair in pairs)
    added = statistics.median(pair[1] - pair[0] for pair in pairs)
    print(
        f"pytest without the plugin: {1000 * without:.0f} ms; the plugin adds {1000 * added:.1f} ms (median of {rounds} pairs)"
    )


if __name__ == "__main__":
    main()
