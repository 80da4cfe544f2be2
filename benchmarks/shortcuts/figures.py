"""What the rules say about the models, and the rates at which they are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.internals import HeatmapCache
from benchmarks.shortcuts.rules import RULES, Answer
from benchmarks.shortcuts.zoo import Recipe, Samples, Specimen, true_to_name
from pytest_gradcam import Explainer

COUNTS = (10, 25, 50, 100)
ALLOWED = 0.05  # of the clean models of the tuning half may lie over a threshold


@dataclass(frozen=True)
class Case:
    """One model: whether it relies on its artefact, and what each rule said of so many images."""

    kind: str
    architecture: str
    relies: bool
    touching: float
    answers: dict[tuple[str, int], Answer]


@dataclass(frozen=True)
class Rates:
    """Shares of the `biased` and of the `clean` models; undecided is neither a detection nor a false alarm."""

    biased: int
    clean: int
    detected: float
    alarms: float
    undecided: tuple[float, float]  # of the biased, of the clean

    def __str__(self) -> str:
        return f"{self.detected:.2f} / {self.alarms:.2f}"


def examine(one: Specimen, rules: Sequence[str] = tuple(RULES)) -> Case:
    """Asks each rule about the first 10, 25, 50 and 100 of the same images."""
    asked = one.samples(max(COUNTS))
    explainer = Explainer(one.model, batch_size=64, cache=HeatmapCache())
    answers = {(rule, count): ask(rule, explainer, asked, count) for count in reversed(COUNTS) for rule in rules}
    return Case(one.recipe.kind, one.recipe.architecture, one.tied, asked.touching, answers)


def examine_pair(recipe: Recipe, directory: Path, rules: Sequence[str]) -> list[Case]:
    return [examine(one, rules) for one in true_to_name(directory, recipe)]


def ask(rule: str, explainer: Explainer, asked: Samples, count: int) -> Answer:
    return RULES[rule](explainer, list(asked.images[:count]), list(asked.masks[:count]), asked.labels[:count])


def thresholds(tuning: Sequence[Case]) -> dict[tuple[str, int], float]:
    """For each rule and number of images the lowest threshold over which at most 5 % of the clean models lie."""
    asked = tuning[0].answers
    return {
        key: float(
            np.quantile([case.answers[key].score for case in tuning if not case.relies], 1 - ALLOWED, method="higher")
        )
        for key in asked
    }


def rates(cases: Sequence[Case], key: tuple[str, int], threshold: float) -> Rates:
    verdicts = [(case.relies, _verdict(case.answers[key], threshold)) for case in cases]
    biased, clean = ([said for truth, said in verdicts if truth is kind] for kind in (True, False))
    return Rates(
        len(biased),
        len(clean),
        _share(biased, True),
        _share(clean, True),
        (_share(biased, None), _share(clean, None)),
    )


def auc(cases: Sequence[Case], key: tuple[str, int]) -> float:
    """The area under the ROC curve of the scores; a rule without a score for a model says nothing about it."""
    scored = [(case.relies, case.answers[key].score) for case in cases if np.isfinite(case.answers[key].score)]
    return float(roc_auc_score(*zip(*scored, strict=True)))


def overall(cases: Sequence[Case], chosen: dict[tuple[str, int], float]) -> Iterator[str]:
    """A table: rules down, numbers of images across; detected / false alarms, undecided, AUC."""
    yield "| rule | " + " | ".join(f"{count} images" for count in COUNTS) + " |"
    yield "| --- " * (len(COUNTS) + 1) + "|"
    for rule in dict.fromkeys(rule for rule, _ in chosen):
        cells = [_cell(cases, (rule, count), chosen[rule, count]) for count in COUNTS]
        yield f"| {rule} | " + " | ".join(cells) + " |"


def by_kind(cases: Sequence[Case], chosen: dict[tuple[str, int], float], count: int) -> Iterator[str]:
    """A table: kinds down, rules across; detected / false alarms."""
    rules = list(dict.fromkeys(rule for rule, _ in chosen))
    yield "| kind | biased, clean | on or beside the object | " + " | ".join(rules) + " |"
    yield "| --- " * (len(rules) + 3) + "|"
    for kind in dict.fromkeys(case.kind for case in cases):
        own = [case for case in cases if case.kind == kind]
        cells = [str(rates(own, (rule, count), chosen[rule, count])) for rule in rules]
        one = rates(own, (rules[0], count), 0)
        near = np.mean([case.touching for case in own])
        yield f"| {kind} | {one.biased}, {one.clean} | {near:.2f} | " + " | ".join(cells) + " |"


def _cell(cases: Sequence[Case], key: tuple[str, int], threshold: float) -> str:
    found = rates(cases, key, threshold)
    doubt = f"; undecided {found.undecided[0]:.2f} / {found.undecided[1]:.2f}" if any(found.undecided) else ""
    return f"{found}{doubt}; AUC {auc(cases, key):.2f}"


def _verdict(answer: Answer, threshold: float) -> bool | None:
    if answer.decides:
        return answer.relies
    return answer.score > threshold if np.isfinite(answer.score) else None


def _share(verdicts: Sequence[bool | None], wanted: bool | None) -> float:
    return sum(said is wanted for said in verdicts) / len(verdicts) if verdicts else float("nan")
