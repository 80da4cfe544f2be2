import ctypes

import pytest

from pytest_gradcam.state.memory import give_back


@pytest.mark.parametrize("error", [OSError, TypeError, None])
def test_without_glibc_nothing_happens(error, monkeypatch):
    def library(_name):
        if error:
            raise error
        return object()  # without malloc_trim

    monkeypatch.setattr(ctypes, "CDLL", library)
    give_back()


def test_with_glibc_freed_memory_goes_back_to_the_system():
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("another C library")
    before = resident()
    small = [bytes(3000) for _ in range(30000)]
    pinned = bytes(3000)  # lies above them, so that the C library keeps what is freed below
    del small
    give_back()
    assert resident() < before + 40
    assert pinned


def resident():
    """MiB of this process in memory."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
