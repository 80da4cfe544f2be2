"""The one entry to all benchmarks: without a name it lists them."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

#: Each module has `options(parser)`, which adds its options, and `run(options)`.
BENCHMARKS = {
    "cost": "benchmarks.cost",
    "suite": "benchmarks.suite",
    "picture": "benchmarks.picture",
    "reliance": "benchmarks.reliance",
    "stability": "benchmarks.stability",
    "report": "benchmarks.report",
    "startup": "benchmarks.startup",
    "layers": "benchmarks.layers",
    "audit": "benchmarks.audit",
