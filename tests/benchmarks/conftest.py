"""Benchmarks run in this process, which has loaded torch, and leave its settings as they were."""

import pytest

from benchmarks.__main__ import main


@pytest.fixture
def benchmark_run(capsys):
    """What a benchmark prints, by its name and its options as on the command line."""
    import torch

    threads = torch.get_num_threads()

    def run(*arguments):
        main(arguments)
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)
