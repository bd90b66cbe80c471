"""What a run tells: `metrics.jsonl`, TensorBoard, pictures, and a line or a progress bar for whoever watches."""

import dataclasses
import json
import pathlib
import sys
from typing import Any, NamedTuple, TextIO

import numpy as np
from tqdm import tqdm

from jaxgan import render


class Sums(NamedTuple):
    """Sums of metrics since the last line, in float64; they go into checkpoints, so that a resumed run loses none."""

    totals: dict[str, float]
    count: int

    def add(self, rows: dict[str, np.ndarray]) -> "Sums":
        """With the metrics of further steps, each `[steps]`."""
        totals = dict(self.totals)
        for name, values in rows.items():
            for value in values.tolist():  # one by one: how the steps were cut into chunks must not change a bit
                totals[name] = totals.get(name, 0.0) + value
        return Sums(totals, self.count + len(next(iter(rows.values()))))

    def means(self) -> dict[str, float]:
        """The means over the steps."""
        return {name: total / self.count for name, total in self.totals.items()}


class Timing(NamedTuple):
    """Steps, wall seconds and seconds of waiting for batches since the last line."""

    steps: int
    seconds: float
    waited: float

    def add(self, steps: int, seconds: float, waited: float) -> "Timing":
        """With further steps."""
        return Timing(self.steps + steps, self.seconds + seconds, self.waited + waited)

    def figures(self, batch_size: int) -> dict[str, float]:
        """Examples per second, and seconds waited."""
        return {
            "examples_per_second": self.steps * batch_size / self.seconds,
            "input_wait_seconds": self.waited,
        }


def open_monitor(workdir: pathlib.Path, start: int, steps: int) -> "Monitor":
    """Opens a run's records to go on after step `start`; a killed run's lines of later steps are dropped."""
    from tensorboardX import SummaryWriter

    path, partial = workdir / "metrics.jsonl", workdir / "metrics.jsonl.partial"
    before = path.read_text().splitlines(keepends=True) if path.exists() else []
    # The last line of a killed run may be cut short; whole lines end in a newline.
    kept = [line for line in before if line.endswith("\n") and json.loads(line)["step"] <= start]
    partial.write_text("".join(kept))
    partial.replace(path)
    samples = workdir / "samples"
    samples.mkdir(exist_ok=True)
    # A bar for a person at a terminal; lines that a log can hold elsewhere.
    bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True) if sys.stderr.isatty() else None
    events = SummaryWriter(str(workdir), purge_step=start + 1)
    return Monitor(steps, samples, path.open("a", buffering=1), events, bar)


@dataclasses.dataclass(frozen=True)
class Monitor:
    """Writes a run's lines and pictures; `open_monitor` makes one.

    Attributes:
      steps: the step the run goes to.
      samples: folder of the pictures.
      lines: the open `metrics.jsonl`.
      events: TensorBoard's writer.
      bar: progress bar, or None.
    """

    steps: int
    samples: pathlib.Path
    lines: TextIO
    events: Any
    bar: tqdm | None

    def say(self, text: str) -> None:
        """A line to whoever watches, on standard error."""
        tqdm.write(text, file=sys.stderr)

    def line(self, step: int, values: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`, and its numbers to TensorBoard."""
        self.lines.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        for name, value in values.items():
            if isinstance(value, int | float):
                self.events.add_scalar(name, value, step)

    def status(self, step: int, values: dict[str, float]) -> None:
        """How the run stands, in one line."""
        shown = {
            "D": values["discriminator/loss"],
            "G": values["generator/loss"],
            "D(real)": values["discriminator/real_accuracy"],
            "D(fake)": values["discriminator/fake_accuracy"],
        }
        text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
        rate = values["examples_per_second"]
        if self.bar is not None:
            self.bar.set_postfix_str(f"{text}  {rate:.0f} examples/s")
        else:
            self.say(f"step {step}/{self.steps}  {text}  {rate:.0f} examples/s")

    def advance(self, count: int) -> None:
        """Moves the progress bar by some steps."""
        if self.bar is not None:
            self.bar.update(count)

    def picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """`samples/<name>.png`, and the same to TensorBoard."""
        (self.samples / f"{name}.png").write_bytes(render.png(picture))
        self.events.add_image("samples" if name.isdigit() else name, picture, step, dataformats="HWC")

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        self.lines.close()
        self.events.close()
