"""How one of several processes ends when another is gone, or all stand still: soon, with a line and its own code."""

import contextlib
import dataclasses
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator

import jax

from jaxgan.errors import tell

LOST = 5
"""Exit code of a process that ends because another one is gone, or all stand still."""
STALL_SECONDS = 600.0
"""Without a finished chunk of steps, after which a process ends itself."""
_GRACE_SECONDS = 2.0
_GONE = re.compile(r"gloo|nccl|unavailable|deadline_exceeded|aborted|cancelled|barrier|heartbeat|connection", re.I)
"""What jax and its libraries say where other processes are gone."""


@dataclasses.dataclass(frozen=True)
class Pulse:
    """Ends this process when the run stands still; `watched` makes one.

    Attributes:
      seconds: from one `beat` to the next, at most.
      due: the time until which the next one is expected, one number; infinite at first.
    """

    seconds: float
    due: list[float]

    def beat(self) -> None:
        """The run moves."""
        self.due[:] = [time.monotonic() + self.seconds]

    def rest(self) -> None:
        """Until the next `beat` nobody knows how long it takes."""
        self.due[:] = [math.inf]


@contextlib.contextmanager
def watched(seconds: float) -> Iterator[Pulse]:
    """Ends this process, where it is one of several, when the run stands still or another process is gone.

    There is nothing to wait for then: its devices, and checkpoints, need all of them.

    Args:
      seconds: of `Pulse`.
    """
    pulse = Pulse(seconds, [math.inf])
    if jax.process_count() == 1:
        yield pulse
        return
    still = f"no steps were finished for {seconds:g} s: a process, the network or a device hangs"
    with _ending_at(pulse.due, f"{_name()}: {still}; the same command goes on from the last checkpoint"), lost():
        yield pulse


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """Ends this process, where it is one of several, when what is done in the context fails as others are gone."""
    try:
        yield
    except Exception as error:
        cause = error  # what Orbax raises says why further down
        while cause is not None and not isinstance(cause, jax.errors.JaxRuntimeError):
            cause = cause.__cause__
        if cause is None or not _GONE.search(str(cause)) or jax.process_count() == 1:
            raise
        why = " ".join(str(cause).split())[:200]
        _end(f"{_name()}: another process is gone ({why}); the same command goes on from the last checkpoint")


def leave(code: int) -> None:
    """Ends the program with an exit code.

    One of several processes does not wait for the others, who may wait for it; process 0 goes last, of those who leave
    for the same reason: without it jax ends the others. Nor does a program that a signal ended wait for Python's own
    end: a compilation that the signal broke off goes on in a thread of jax, and crashes as its client goes.
    """
    if not jax.distributed.is_initialized() and code < 128:
        sys.exit(code)
    if jax.distributed.is_initialized() and jax.process_index() == 0:
        time.sleep(_GRACE_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _name() -> str:
    return f"process {jax.process_index()} of {jax.process_count()}"


def _end(text: str) -> None:
    """Ends this process at once, with a line."""
    tell(text)
    os._exit(LOST)


@contextlib.contextmanager
def limit(seconds: float, text: str) -> Iterator[None]:
    """Ends this process, with a line, when the context takes longer."""
    with _ending_at([time.monotonic() + seconds], text):
        yield


@contextlib.contextmanager
def _ending_at(due: list[float], text: str) -> Iterator[None]:
    """Ends this process, with a line, when it is later than a time that may change meanwhile."""
    over = threading.Event()

    def look():
        while not over.wait(0.5):
            if time.monotonic() > due[0]:
                _end(text)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
