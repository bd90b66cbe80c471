"""The errors that mean "what you gave, or what it led to, is wrong", not "the program is"; each ends the command line
with one line and an exit code of its own.
"""

import contextlib
import functools
import os


class InputError(ValueError):
    """What was given cannot be used: the message says what, expected against got, and what to do.

    The command line prints it as one line and exits with 2; code that imports jaxgan catches it as a `ValueError`.
    """


class DivergedError(ArithmeticError):
    """Training left the finite numbers; the last checkpoint is from before. The command line exits with 3."""


class UnwrittenError(OSError):
    """A checkpoint could not be written; those before it are whole. The command line exits with 4."""


class DamagedError(ValueError):
    """A checkpoint is not what was saved. Who restores takes an older one."""


class Stopped(BaseException):  # noqa: N818 - no error, and like KeyboardInterrupt nothing that `except Exception` catches
    """A signal ended a run, which is saved. The command line exits with 128 and the signal's number.

    Attributes:
      signal: its number.
    """

    def __init__(self, signal: int):
        super().__init__(signal)
        self.signal = signal


def shown(what: object, most: int = 300) -> str:
    """What others wrote as a part of one line: its beginning, without line breaks and what else moves a cursor."""
    text = " ".join(str(what).split())[:most]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def tell(text: str) -> None:
    """The line in which the command line says why it ends; where nothing can be written, the exit code says it."""
    _write(f"jaxgan: {text}")


@functools.cache
def tell_ignored(text: str) -> None:
    """An error that ends nothing, in a line, and not again: on a full disk, each of dozens of writes fails alike."""
    _write(f"ignored: {text}")


def _write(line: str) -> None:
    """Writes a line to standard error, whole: past a buffer whose lock another thread may hold, in one call."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))
