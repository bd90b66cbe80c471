"""SIGTERM and SIGINT as the wish that a run ends: kept until it can, with everything saved."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator

from jaxgan.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclasses.dataclass(frozen=True)
class Wish:
    """Whether a signal has come; `listening` makes one.

    Attributes:
      received: the signals that have come.
      heeded: not empty where the next one is to interrupt.
    """

    received: list[int]
    heeded: list[None]

    @contextlib.contextmanager
    def interrupts(self) -> Iterator[None]:
        """Where nothing is lost by leaving off: a signal, before or within, raises `Stopped`."""
        self.heed()
        self.heeded.append(None)
        try:
            yield
        finally:
            self.heeded.pop()

    def heed(self) -> None:
        """Raises `Stopped` if a signal has come."""
        if self.received:
            raise Stopped(self.received[0])


@contextlib.contextmanager
def listening() -> Iterator[Wish]:
    """Keeps signals as a `Wish`; a second one of a kind ends the process at once, as it would outside.

    In a thread other than the main one, which Python tells of no signals, nothing is changed.
    """
    wish = Wish([], [])

    def receive(number, _):
        signal.signal(number, signal.SIG_DFL)
        wish.received.append(number)
        if wish.heeded:
            raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.signal(number, receive) for number in SIGNALS}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def name(number: int) -> str:
    """A signal's name, such as SIGTERM."""
    return signal.Signals(number).name
