"""When a run does what, and which figures it heeds: the host's side of a training, without any of its arrays."""

import re
from typing import Any, NamedTuple

from jaxgan.errors import InputError

EVALUATE = "evaluate/"
"""What the names of an evaluation's figures begin with, in a line of metrics."""


class Schedule(NamedTuple):
    """When the host does what, in steps; 0 is never.

    Attributes:
      log: a line of metrics.
      sample: a picture of samples.
      checkpoint: a checkpoint; one is also written at the end.
      evaluate: the experiment's own figures.
    """

    log: int = 50
    sample: int = 500
    checkpoint: int = 500
    evaluate: int = 0

    def next_event(self, step: int, last: int) -> int:
        """The first step after `step` at which there is something to do, at the latest `last`."""
        return min([last, *((step // every + 1) * every for every in self if every)])

    def due(self, step: int, last: bool) -> "Schedule":
        """The same, with 1 for what is due after a step and 0 for what is not; the run may end with it."""
        due = Schedule(*(int(every > 0 and step % every == 0) for every in self))
        return due._replace(sample=1, checkpoint=1) if last else due


class Target(NamedTuple):
    """A condition that ends a run: `name <= value` or `name >= value`."""

    name: str
    at_most: bool
    value: float

    def reached(self, values: dict[str, Any]) -> bool:
        """Whether a line of metrics fulfils the condition; a line without such metrics does not.

        Raises:
          InputError: when the line has metrics of this kind, but not this one.
        """
        kind = EVALUATE if self.name.startswith(EVALUATE) else "discriminator/"
        if not any(name.startswith(kind) for name in values):
            return False
        if self.name not in values:
            raise InputError(f"--target names {self.name}: there are {', '.join(sorted(values))}")
        value = values[self.name]
        if value is None:  # a figure that has no value here, such as the divergence where no sample is good
            return False
        return value <= self.value if self.at_most else value >= self.value


class Best(NamedTuple):
    """The checkpoint that is kept for its figure, beside the newest ones.

    Attributes:
      name: of the figure, as in a line of metrics.
      mode: "min" where small values are good, or "max".
    """

    name: str
    mode: str

    def of(self, before: list | None, step: int, values: dict[str, Any]) -> list | None:
        """`[step, value, name, mode]` of the best so far, with the line of metrics of a step.

        Raises:
          InputError: when the line has figures of evaluations, but not this one.
        """
        if not any(name.startswith(EVALUATE) for name in values):
            return before
        if self.name not in values:
            raise InputError(f"--keep-best names {self.name}: there are {', '.join(sorted(values))}")
        value = values[self.name]
        if value is None:  # as of `Target.reached`
            return before
        if before is not None and before[2:] == list(self):
            better = value < before[1] if self.mode == "min" else value > before[1]
            if not better:
                return before
        return [step, value, *self]


def parse_target(text: str, schedule: Schedule) -> Target:
    """A `Target` from text such as `evaluate/modes>=8`.

    Raises:
      InputError: when it is not of that form, or names a figure of evaluations and there are none.
    """
    match = re.fullmatch(r"\s*([\w/-]+)\s*(<=|>=)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*", text)
    if not match:
        raise InputError(f"--target {text!r}: expected NAME<=VALUE or NAME>=VALUE, such as 'evaluate/modes>=8'")
    if match[1].startswith(EVALUATE) and not schedule.evaluate:
        raise InputError(f"--target {text!r} needs evaluations: give --evaluate-every, in steps")
    return Target(match[1], match[2] == "<=", float(match[3]))


def parse_best(given: tuple[str, str] | None, schedule: Schedule) -> Best | None:
    """A `Best` from a name and a mode.

    Raises:
      InputError: when it names no figure of evaluations, or there are none.
    """
    if given is None:
        return None
    if not given[0].startswith(EVALUATE) or not schedule.evaluate:
        raise InputError(f"--keep-best {given[0]}: expected {EVALUATE}NAME, and --evaluate-every, in steps")
    return Best(*given)
