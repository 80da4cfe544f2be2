"""Many images at a time: the cases of a data set, audits of them that resume, and verdicts with stated error rates."""

from pytest_gradcam.data import cases
from pytest_gradcam.data.case import Case, Cases

__all__ = ["Case", "Cases", "cases"]
