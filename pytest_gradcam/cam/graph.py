"""The backward functions that a tensor's gradient goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor


def functions_behind(tensor: Tensor) -> Iterator[Any]:
    """Each backward function between the tensor and the leaves, once."""
    found = [tensor.grad_fn]
    seen = set(found)
    while found:
        if (function := found.pop()) is None:
            continue
        yield function
        following = {each for each, _ in function.next_functions} - seen
        seen |= following
        found += following
