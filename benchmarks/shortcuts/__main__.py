"""Trains the zoo and says which models keep their promise."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter
from functools import partial
from pathlib import Path

import torch

from benchmarks.shortcuts.zoo import Half, load, recipes, train_pair


def train(directory: Path, processes: int) -> None:
    """Trains what is not there yet, and prints the truth about each pair."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = [recipe for half in Half for recipe in recipes(half)]
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
        for line in pool.imap_unordered(partial(train_pair, directory=directory), wanted):
            print(f"{time.perf_counter() - start:6.0f} s  {line}", flush=True)


def census(directory: Path) -> None:
    """How many models are true to what they were trained for, and how many are left out."""
    for half in Half:
        found = [load(directory, recipe, tied=tied) for recipe in recipes(half) for tied in (True, False)]
        counts = Counter("left out" if one.truth.relies is not one.tied else "relies" if one.tied else "clean" for one in found)
        print(f"{half.name.lower()}: " + ", ".join(f"{counts[name]} {name}" for name in ("relies", "clean", "left out")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="directory of the trained models; made if it is not there")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.cache, options.processes)
    census(options.cache)


if __name__ == "__main__":
    main()
