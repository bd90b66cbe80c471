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
      received: the signal that has come, if any; of several processes, the one that all know of.
      heeded: not empty where a signal is to interrupt.
      own: the signal that has come to this process, if any; where it is alone, the same list as `received`.
    """

    received: list[int]
    heeded: list[None]
    own: list[int]

    def learn(self, number: int) -> None:
        """From here on all processes know of a signal that one of them has got; 0 is none."""
        if number and not self.received:
            self.received.append(number)

    @contextlib.contextmanager
    def interrupts(self) -> Iterator[None]:
        """Where nothing is lost by leaving off: a signal, before or within, raises `Stopped`, in this process only."""
        self.heeded.append(None)  # before it looks for one: a signal in between must not wait until the end
        try:
            for number in (*self.received, *self.own):
                raise Stopped(number)
            yield
        finally:
            self.heeded.clear()


@contextlib.contextmanager
def listening(alone: bool = True) -> Iterator[Wish]:
    """Keeps the first signal as a `Wish`; a second one, of either kind, ends the process at once.

    Python sees a signal when it is back from what it has called, such as a compiler; until then a second is the first.
    In a thread other than the main one, which Python tells of no signals, nothing is changed.

    Args:
      alone: whether this process is the only one of the run.
    """
    received = []
    wish = Wish(received, [], received if alone else [])

    def receive(number, _):
        for either in SIGNALS:
            signal.signal(either, signal.SIG_DFL)
        wish.own.append(number)
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
