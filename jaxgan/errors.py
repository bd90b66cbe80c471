"""The errors that mean "what you gave, or what it led to, is wrong", not "the program is"."""


class InputError(ValueError):
    """What was given cannot be used: the message says what, expected against got, and what to do.

    The command line prints it as one line and exits with 2; code that imports jaxgan catches it as a `ValueError`.
    """


class DivergedError(ArithmeticError):
    """Training left the finite numbers; the last checkpoint is from before. The command line exits with 3."""
