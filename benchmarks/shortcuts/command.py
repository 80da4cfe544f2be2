"""Models of known truth: how often each rule tells those that rely on an artefact from their twins.

train    trains what is not there yet
tune     figures on the tuning half; keeps the thresholds
report   figures on the other half, with the thresholds kept
hard     the package's rule on too little and on wrong masks
single   the checks on one image
attention whether `audit.attention()` sets a mark on a part of one class apart: trains models and asks about one half
suspects whether `audit.suspects()` names the artefact, of which it is told nothing
ladder   models that rely a little, in one class or on two artefacts: trains what is missing and asks about one half
pretrained  a network with ImageNet weights, fine-tuned on photographs: trains it and asks about it
targets  a regression and a segmenter: trains them and asks about one half
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.shortcuts import (
    attention,
    hard,
    ladder,
    ladder_figures,
    ladder_picture,
    pretrained,
    single,
    suspects,
    targets,
)
from benchmarks.shortcuts.figures import by_kind, examine_pair, overall, thresholds
from benchmarks.shortcuts.rules import RULES
from benchmarks.shortcuts.zoo import Half, load, recipes, train_pair

_SHOWN = 50  # images in the table by kinds


def train(directory: Path, processes: int) -> None:
    """Trains what is not there yet, and prints the truth about each pair."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = [recipe for half in Half for recipe in recipes(half)]
    for line in _each(partial(train_pair, directory=directory), wanted, processes):
        print(line, flush=True)
    for half in Half:
        print(census(directory, half))


def census(directory: Path, half: Half) -> str:
    """How many models are true to what they were trained for, and how many are left out."""
    found = [load(directory, recipe, tied=tied) for recipe in recipes(half) for tied in (True, False)]
    counts = Counter(
        "left out" if one.truth.relies is not one.tied else "biased" if one.tied else "clean" for one in found
    )
    return f"{half.value} half: " + ", ".join(f"{counts[name]} {name}" for name in ("biased", "clean", "left out"))


def report(directory: Path, half: Half, rules: list[str], processes: int) -> None:
    """Prints the rates of one half. The thresholds are those of the tuning half, also for the other one."""
    kept = directory / "thresholds.json"
    cases = [
        case
        for pair in _each(partial(examine_pair, directory=directory, rules=rules), recipes(half), processes)
        for case in pair
    ]
    if half is Half.TUNING:
        found = thresholds(cases)
        kept.write_text(json.dumps([[*key, value] for key, value in found.items()]), "utf-8")
    chosen = {(rule, count): value for rule, count, value in json.loads(kept.read_text("utf-8")) if rule in rules}
    print(census(directory, half), "", *overall(cases, chosen), "", sep="\n")
    print(f"At {_SHOWN} images:", "", *by_kind(cases, chosen, _SHOWN), sep="\n")


def each_pair(
    directory: Path,
    half: Half,
    say: Callable[..., list[Any]],
    table: Callable[[list[Any]], Iterator[str]],
    processes: int,
) -> None:
    """Prints the table of what is said about the models of each pair of one half."""
    said = [one for pair in _each(partial(say, directory=directory), recipes(half), processes) for one in pair]
    print(census(directory, half), "", *table(said), sep="\n")


def climb(directory: Path, half: Half, processes: int, picture: Path | None) -> None:
    """Prints what is said about the models of the ladder, and draws it."""
    directory.mkdir(parents=True, exist_ok=True)
    answers = _each(partial(ladder_figures.ask, directory=directory), ladder.rungs(half), processes)
    asked = [one for about in answers for one in about]
    print(*ladder_figures.table(asked), sep="\n")
    if picture is not None:
        picture.write_text(ladder_picture.picture(asked), "utf-8")


def _each(work: Callable[[Any], Any], wanted: Iterable[Any], processes: int) -> Iterator[Any]:
    """The work's results in order; it comes from another module, since a new process does not run this one again."""
    if processes == 1:
        torch.set_num_threads(1)
        yield from map(work, wanted)
        return
    with multiprocessing.get_context("spawn").Pool(processes, torch.set_num_threads, (1,)) as pool:
        yield from pool.imap(work, wanted)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task",
        choices=(
            "train",
            "tune",
            "report",
            "hard",
            "single",
            "ladder",
            "suspects",
            "attention",
            "targets",
            "pretrained",
        ),
    )
    parser.add_argument(
        "--cache", type=Path, required=True, help="directory of the trained models; made if it is not there"
    )
    parser.add_argument(
        "--half",
        choices=[half.value for half in Half],
        default="tuning",
        help="for hard, single, ladder, suspects, attention and targets",
    )
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), help="for tune and report")
    parser.add_argument("--picture", type=Path, help="for ladder: the SVG to draw, as docs/ladder.svg")
    parser.add_argument("--processes", type=int, default=2, help="1: none besides this one")


def run(options: argparse.Namespace) -> None:
    start = time.perf_counter()
    if options.task == "train":
        train(options.cache, options.processes)
    elif options.task == "hard":
        each_pair(options.cache, Half(options.half), hard.say_pair, hard.table, options.processes)
    elif options.task == "ladder":
        climb(options.cache, Half(options.half), options.processes, options.picture)
    elif options.task == "targets":
        torch.set_num_threads(1)
        print(*targets.table(list(targets.verdicts(Half(options.half)))), sep="\n")
    elif options.task == "attention":
        seeds = attention.SEEDS[Half(options.half)]
        seen = [one for about in _each(attention.see, seeds, options.processes) for one in about]
        print(*attention.table(seen), sep="\n")
    elif options.task == "pretrained":
        for line in pretrained.table():
            print(line, flush=True)
    elif options.task == "single":
        each_pair(options.cache, Half(options.half), single.check_pair, single.table, options.processes)
    elif options.task == "suspects":
        each_pair(options.cache, Half(options.half), suspects.say_pair, suspects.table, options.processes)
    else:
        half = Half.TUNING if options.task == "tune" else Half.REPORTED
        report(options.cache, half, options.rules, options.processes)
    print(f"{time.perf_counter() - start:.0f} s")
