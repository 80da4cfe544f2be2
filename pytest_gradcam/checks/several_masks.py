"""Several masks in the same images: each alone, all together, and what each adds where the others are exchanged already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from pytest_gradcam.checks.loss import Loss
from pytest_gradcam.checks.reliance_rule import Added, Reliance


def combined(alone: Mapping[str, Reliance], together: Reliance, others: Mapping[str, Reliance]) -> Reliance:
    """The verdict on several masks: yes if the model relies on one or on all together, no if on none.

    `others` are the verdicts on all masks but one, by its name. Two cues for the same class hide each other: exchanging one
    loses nothing while the other is there. What a mask adds is what all together lose, less what the others do.
    """
    verdicts = [*alone.values(), together]
    yes = [found for found in verdicts if found.relies]
    relies = True if yes else None if any(found.relies is None for found in verdicts) else False
    reason = ""
    if relies is None:
        named = [*alone.items(), ("all together", together)]
        reason = "; ".join(f"{name}: {found.reason}" for name, found in named if found.relies is None)
    return replace(
        together,
        relies=relies,
        weak=bool(yes) and all(found.weak for found in yes),
        reason=reason,
        alone=dict(alone),
        added={name: _added(together.lost, found.lost) for name, found in others.items()},
    )


def _added(together: Loss | None, others: Loss | None) -> Added | None:
    """What one mask adds to the loss of the others, and the 90 % interval, as if both were estimated from different images."""
    if together is None or others is None or together.way != others.way:
        return None
    more = together.estimate - others.estimate
    low = math.hypot(together.estimate - together.interval[0], others.interval[1] - others.estimate)
    high = math.hypot(together.interval[1] - together.estimate, others.estimate - others.interval[0])
    return more, (max(-1.0, more - low), min(1.0, more + high))
