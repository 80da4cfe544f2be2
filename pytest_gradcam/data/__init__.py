"""Many images at a time: the cases of a data set, audits of them that resume, and verdicts with stated error rates."""

from __future__ import annotations

from typing import Any

from pytest_gradcam.data import cases
from pytest_gradcam.data.attention import Attention, Cluster
from pytest_gradcam.data.auditing import Audit
from pytest_gradcam.data.case import Case, Cases
from pytest_gradcam.data.results import Comparison, Rate
from pytest_gradcam.data.suspects import Suspect, Suspects

__all__ = [
    "Attention",
    "Audit",
    "Case",
    "Cases",
    "Cluster",
    "Comparison",
    "Rate",
    "Suspect",
    "Suspects",
    "audit",
    "cases",
]


def audit(explainer: Any, cases: Any, checks: Any = None, **options: Any) -> Audit:
    """Checks on every case of a data set by an explainer: the same as `explainer.audit(cases, checks, ...)`."""
    found: Audit = explainer.audit(cases, checks, **options)
    return found
