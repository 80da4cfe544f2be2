"""Benchmarks run in this process, which has loaded torch, and leave its settings as they were."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import main
from pytest_gradcam.evidence.current_test import running


class Nobody:
    """In place of the test that runs: what a benchmark checks is none of its checks, and leaves no picture."""

    def __init__(self):
        self.marker = {}

    def keep(self, record, draw):
        return record


@pytest.fixture
def benchmark_run(capsys):
    """What a benchmark prints, by its name and its options as on the command line."""
    import torch

    threads = torch.get_num_threads()

    def run(*arguments):
        with running(Nobody()):
            main(arguments)
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)
