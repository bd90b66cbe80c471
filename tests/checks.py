"""What the tests of input share: what it may cost, and how it is refused."""

import contextlib
import pathlib
import re
import time

import pytest

from jaxgan.errors import InputError

SMALL = 64 << 20
"""Bytes that reading small files may add to this process, at its peak."""


@contextlib.contextmanager
def bounded(most_bytes=SMALL, most_seconds=5):
    """Fails where the block adds more to the peak of this process's memory, or takes longer."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = peak(), time.perf_counter()
    yield
    assert time.perf_counter() - began < most_seconds
    assert peak() - before < most_bytes


def peak():
    """Bytes that this process has had at most since its peak last began anew."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) << 10


def refused(call, *fragments, length=2000):
    """Calls, expects an InputError, and that its one line, which is no longer, holds every fragment."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and len(message) < length
    for fragment in fragments:
        assert str(fragment) in message, message
