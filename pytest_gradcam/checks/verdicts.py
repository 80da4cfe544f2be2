"""Figures into verdicts: what the checks on explanations make of what they measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from pytest_gradcam.evidence import messages
from pytest_gradcam.evidence.record import Record


@dataclass(frozen=True)
class Faithfulness:
    """Three figures in units of the score that the image has over a blank one; more is better in `insertion`, `road`."""

    deletion: float
    insertion: float
    road: float

    @property
    def total(self) -> float:
        """How much sooner the score falls, and returns, than on a straight line: the three figures in one."""
        return (self.insertion - self.deletion + self.road) / 3


@dataclass(frozen=True)
class Changes:
    """The largest change, as a share of the maximum: of the model's input, of the heatmap in a run, and in a batch."""

    preprocess: float
    repeated: float
    batched: float
    runs: int


def faithful(check: Record, own: Faithfulness, others: Sequence[Faithfulness]) -> Record:
    """The check decided: the share of the other orders whose total is below the heatmap's, a tie counting half."""
    assert check.bound is not None
    beaten = sum(1.0 if own.total > other.total else 0.5 if own.total == other.total else 0.0 for other in others)
    share = beaten / len(others)
    return replace(
        check,
        figure=share,
        outcome="passed" if share >= check.bound else "failed",
        finding=(
            f"the heatmap's order of pixels moves the score{_whose(check)} more than {beaten:g} of {len(others)} random "
            f"orders do, {messages.percent(share, unlike=check.bound)}; "
            f"expected at least {messages.percent(check.bound, unlike=share)}"
        ),
        details=_details(own, others),
        advice=(
            "look at the picture; the map does not say what this score depends on: choose another layer or method "
            "(hirescam, layercam), and rest no verdict on this one"
        ),
    )


def depends_on_weights(check: Record, similarities: Sequence[Sequence[float]]) -> Record:
    """The check decided, from the similarity after each stage (draws, stages): by its mean over draws and stages."""
    assert check.bound is not None
    table = np.array(similarities)
    figure = float(table.mean())
    stages = "" if table.shape[1] == 1 else f" after each of {table.shape[1]} stages from the top"
    by_stage = ("stages", ", ".join(f"{mean:.2f}" for mean in table.mean(0)))
    return replace(
        check,
        figure=figure,
        outcome="passed" if figure <= check.bound else "failed",
        finding=(
            f"with the weights redrawn{stages} the heatmap still has a rank correlation of "
            f"{messages.number(figure, unlike=check.bound)} with what it was; "
            f"expected at most {messages.number(check.bound, unlike=figure)}"
        ),
        details=(
            ("draws", f"{len(table)}, from {table.mean(1).min():.2f} to {table.mean(1).max():.2f}"),
            *([by_stage] if stages else []),
        ),
        advice=(
            "look at the picture; this map shows the picture rather than what the model learnt from it: use another "
            "method (gradcam, hirescam) or layer, and rest no verdict on this one"
        ),
    )


def deterministic(check: Record, found: Changes, *, exact: bool) -> Record:
    """The check decided. `exact`: a repetition may change no bit, whatever the bound on the rest."""
    assert check.bound is not None
    stages = (
        ("the preprocess gives another input", found.preprocess, 0.0, "seed it or leave what is random out"),
        (
            "the heatmap changes from one run to the next",
            found.repeated,
            0.0 if exact else check.bound,
            "look for dropout that stays on (functional.dropout needs training=self.training), and for noise",
        ),
        (
            "the heatmap changes beside other images in a batch",
            found.batched,
            check.bound,
            "look for statistics over the batch (a BatchNorm without running ones), or set batch_size to 1",
        ),
    )
    what, figure, bound, advice = next((stage for stage in stages if stage[1] > stage[2]), stages[-1])
    return replace(
        check,
        figure=figure,
        bound=bound,
        outcome="passed" if figure <= bound else "failed",
        finding=(
            f"{what} by {messages.number(figure, unlike=bound)} of its maximum; "
            f"expected {'none' if bound == 0 else f'at most {messages.number(bound, unlike=figure)}'}"
        ),
        details=(
            ("repeated", f"{found.repeated:.3g} of the maximum, {found.runs} runs under other random states"),
            ("batched", f"{found.batched:.3g} of the maximum, beside flips of the image"),
        ),
        advice=f"{advice}; a verdict on a heatmap that changes is chance",
    )


def _whose(check: Record) -> str:
    return f" of {check.target!r}" if check.target else ""


def _details(own: Faithfulness, others: Sequence[Faithfulness]) -> tuple[tuple[str, str], ...]:
    names = ("deletion", "insertion", "ROAD")
    medians = np.median([astuple(other) for other in others], axis=0)
    better = ("lower", "higher", "higher")
    return tuple(
        (name, f"{figure:.3f}, random orders {median:.3f} ({way} is better)")
        for name, figure, median, way in zip(names, astuple(own), medians, better, strict=True)
    )
