"""What a run tells: `metrics.jsonl`, TensorBoard, pictures, and a line or a progress bar for whoever watches.

What cannot be written is told once, and does not end the run: its state is in the checkpoints, not here.
"""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxgan import render
from jaxgan.events import Events, open_events

LINE_BYTES = 2**20
"""Longest line of metrics that is read."""


class Sums(NamedTuple):
    """Sums of metrics since the last line, in float64; they go into checkpoints, so that a resumed run loses none.

    Attributes:
      totals: sum of each metric over the steps that were taken.
      count: number of these.
      skipped: number of those that were not.
    """

    totals: dict[str, float]
    count: int
    skipped: int = 0

    def add(self, rows: dict[str, np.ndarray]) -> "Sums":
        """With the metrics of further steps, each `[steps]`."""
        totals = dict(self.totals)
        for name, values in rows.items():
            for value in values.tolist():  # one by one: how the steps were cut into chunks must not change a bit
                totals[name] = totals.get(name, 0.0) + value
        return Sums(totals, self.count + len(next(iter(rows.values()))), self.skipped)

    def skip(self, count: int) -> "Sums":
        """With further steps that were not taken."""
        return self._replace(skipped=self.skipped + count)

    def means(self) -> dict[str, float]:
        """The means over the steps that were taken, and the number of the others, where there are any."""
        means = {name: total / self.count for name, total in self.totals.items()}
        return means | ({"skipped_steps": self.skipped} if self.skipped else {})


class Timing(NamedTuple):
    """Steps, wall seconds and seconds of waiting for batches since the last line."""

    steps: int
    seconds: float
    waited: float

    def add(self, steps: int, seconds: float, waited: float) -> "Timing":
        """With further steps."""
        return Timing(self.steps + steps, self.seconds + seconds, self.waited + waited)

    def figures(self, batch_size: int) -> dict[str, float]:
        """Examples per second, and seconds waited; nothing of no steps."""
        if not self.steps:
            return {}
        return {
            "examples_per_second": self.steps * batch_size / self.seconds,
            "input_wait_seconds": self.waited,
        }


@contextlib.contextmanager
def open_monitor(workdir: pathlib.Path, start: int, steps: int, *, silent: bool = False) -> Iterator["Monitor"]:
    """A run's records, to go on after step `start`; a killed run's lines of later steps are dropped.

    A silent one opens and says nothing: another process does.
    """
    if silent:
        yield Monitor(steps, workdir / "samples", {}, None, silent=True)
        return
    # A bar for a person at a terminal; lines that a log can hold elsewhere.
    bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True) if sys.stderr.isatty() else None
    monitor = Monitor(steps, workdir / "samples", {}, bar)
    opening = {
        "metrics.jsonl": lambda: monitor.open.update(lines=_reopen(workdir / "metrics.jsonl", start)),
        "TensorBoard's events": lambda: monitor.open.update(events=open_events(str(workdir), start + 1)),
        "samples": lambda: monitor.samples.mkdir(exist_ok=True),
    }
    try:
        for name, open_ in opening.items():
            with monitor.spared(name):
                open_()
        yield monitor
    finally:
        if bar is not None:
            bar.close()
        for file in monitor.open.values():
            with monitor.spared("the last of a file"):
                file.close()


def _reopen(path: pathlib.Path, start: int) -> BinaryIO:
    """The file of lines with those of steps up to `start`; where it had others that are no lines, it is also kept."""
    partial, bad = path.with_name(f"{path.name}.partial"), 0
    with partial.open("wb") as kept:
        if path.exists():
            with path.open("rb") as before:
                while line := before.readline(LINE_BYTES):
                    step = _step_of(line)
                    if step is not None and step <= start:
                        kept.write(line)
                    # The last line of a killed run may be cut short; whole lines end in a newline.
                    bad += step is None and line.endswith(b"\n")
    if bad:
        damaged = path.with_name(f"{path.name}.damaged")
        path.replace(damaged)
        print(f"{path} has {bad} lines that are none of a run's, left out; {damaged} is it as it was", file=sys.stderr)
    partial.replace(path)
    return path.open("ab", buffering=0)


def _step_of(line: bytes) -> int | None:
    """The step of a line of metrics, or None where it is not one, or not whole."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return step if type(step) is int and line.endswith(b"\n") else None


def line_of(workdir: pathlib.Path, step: int) -> dict[str, Any]:
    """A run's line of a step, without the step; `{}` where it has none."""
    path = workdir / "metrics.jsonl"
    if path.exists():
        with path.open("rb") as lines:
            while line := lines.readline(LINE_BYTES):
                if _step_of(line) == step:
                    values = json.loads(line)
                    del values["step"]
                    return values
    return {}


def count_lines(workdir: pathlib.Path) -> tuple[int, int]:
    """Number of a run's lines of metrics, and of other lines between them."""
    path, good, bad = workdir / "metrics.jsonl", 0, 0
    if path.exists():
        with path.open("rb") as lines:
            while line := lines.readline(LINE_BYTES):
                known = _step_of(line) is not None
                good, bad = good + known, bad + (not known and line.endswith(b"\n"))
    return good, bad


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Writes a run's lines and pictures; `open_monitor` makes one.

    Attributes:
      steps: the step the run goes to.
      samples: folder of the pictures.
      open: the files that could be opened, `lines` (metrics.jsonl) and `events` (TensorBoard's).
      bar: progress bar, or None.
      told: what has been told that cannot be written.
      silent: whether it says nothing.
    """

    steps: int
    samples: pathlib.Path
    open: dict[str, BinaryIO | Events]
    bar: tqdm | None
    told: set[str] = dataclasses.field(default_factory=set)
    silent: bool = False

    @contextlib.contextmanager
    def spared(self, what: str) -> Iterator[None]:
        """Tells, once, what the system did not let this write."""
        try:
            yield
        except OSError as error:
            if what not in self.told:
                self.told.add(what)
                self.say(f"{what} cannot be written ({error.strerror}); training goes on without")

    def say(self, text: str) -> None:
        """A line to whoever watches, on standard error; where that is a file on a full disk, to nobody."""
        if not self.silent:
            with contextlib.suppress(OSError):
                tqdm.write(text, file=sys.stderr)

    def line(self, step: int, values: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`, and its numbers to TensorBoard."""
        text = json.dumps({"step": step, **values}, allow_nan=False) + "\n"
        # First, as with pictures: a run that goes on takes what has its line, or its picture, as told.
        self._event(lambda events: events.scalars(step, values))
        if "lines" in self.open:
            with self.spared("metrics.jsonl"):
                _append(self.open["lines"], text.encode())

    def flush(self) -> None:
        """Puts the lines on the disk: a checkpoint that follows is not to be ahead of them."""
        if "lines" in self.open:
            with self.spared("metrics.jsonl"):
                os.fsync(self.open["lines"].fileno())

    def status(self, step: int, values: dict[str, float]) -> None:
        """How the run stands, in one line."""
        names = {
            "D": "discriminator/loss",
            "G": "generator/loss",
            "D(real)": "discriminator/real_accuracy",
            "D(fake)": "discriminator/fake_accuracy",
        }
        text = [f"{short} {values[name]:.3f}" for short, name in names.items() if name in values]
        text += [f"{values['examples_per_second']:.0f} examples/s"] if "examples_per_second" in values else []
        text += [f"{values['skipped_steps']} steps skipped"] if "skipped_steps" in values else []
        if self.bar is not None:
            self.bar.set_postfix_str("  ".join(text))
        else:
            self.say("  ".join([f"step {step}/{self.steps}", *text]))

    def advance(self, count: int) -> None:
        """Moves the progress bar by some steps."""
        if self.bar is not None:
            self.bar.update(count)

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """`samples/<name>.png`, whole or not at all, and the same to TensorBoard."""
        self._event(lambda events: events.picture(step, "samples" if name.isdigit() else name, picture))
        with self.spared("samples"):
            partial = self.samples / f"{name}.png.partial"
            partial.write_bytes(render.png(picture))
            partial.replace(self.samples / f"{name}.png")

    def _event(self, write: Callable[[Events], None]) -> None:
        """Writes to TensorBoard's file, while there is one: after half an event nothing more of it could be read."""
        if "events" in self.open:
            with self.spared("TensorBoard's events"):
                try:
                    write(self.open["events"])
                except OSError:
                    with contextlib.suppress(OSError):
                        self.open.pop("events").close()
                    raise


def _append(file: BinaryIO, line: bytes) -> None:
    """Writes a line whole, or nothing of it.

    Raises:
      OSError: when it could not be written.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        file.truncate(size)
        raise
