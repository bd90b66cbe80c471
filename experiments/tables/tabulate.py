"""What all tables share: sweeps that go on where they stopped, and tables and pictures of what they came to."""

import io
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
COMMAND = (sys.executable, "-c", "from jaxgan.cli import main; main()")
"""`jaxgan` of this interpreter."""


def run(*arguments: object) -> None:
    """A command of `jaxgan`, told; what it prints last is in its directory, too.

    Raises:
      SystemExit: with its exit code, where that is not 0; the same command goes on.
    """
    print("jaxgan", *arguments, file=sys.stderr, flush=True)
    done = subprocess.run([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(done.returncode)


def made(out: pathlib.Path, command: Sequence[object]) -> bool:
    """Whether a row is there, and was made by this command.

    Args:
      out: its file.
      command: what its figures depend on, kept in the file as "command".

    Raises:
      SystemExit: when it was made by another one.
    """
    if not out.exists():
        return False
    before, now = json.loads(out.read_text())["command"], [*map(str, command)]
    if before != now:
        raise SystemExit(f"{out}: made by `{' '.join(before)}`, not `{' '.join(now)}`: give another --workdir")
    return True


def swept(out: pathlib.Path, experiment: pathlib.Path, workdir: pathlib.Path, *options: object) -> dict[str, Any]:
    """What `jaxgan sweep` came to, kept in a file; trained now where that is not there.

    Args:
      out: the file, beside `results.json`, which a sweep to a later step replaces.
      experiment: the experiment's file.
      workdir: of the sweep.
      options: of the sweep, all others.

    Returns:
      The results, "hours" that all calls for this directory have taken, and the sweep's "command".
    """
    command = ["sweep", experiment.name, *map(str, options)]
    if not made(out, command):
        began, spent = time.monotonic(), workdir.with_name(f"{workdir.name}.hours")
        before = float(spent.read_text()) if spent.exists() else 0.0
        try:
            run("sweep", experiment, "--workdir", workdir, *options)
        finally:
            hours = before + (time.monotonic() - began) / 3600
            spent.write_text(f"{hours}\n")
        results = json.loads((workdir / "results.json").read_text())
        out.write_text(json.dumps(results | {"hours": hours, "command": command}, indent=2) + "\n")
    return json.loads(out.read_text())


def finished(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of a sweep that did not diverge."""
    return [member for member in results["members"] if member["diverged"] is None]


def sampled(results: dict[str, Any], experiment: pathlib.Path, workdir: pathlib.Path, count: int, out: pathlib.Path):
    """Writes samples of a sweep's first member that finished, where there is one, and no such file.

    Args:
      results: of the sweep.
      experiment: the experiment's file.
      workdir: of the sweep.
      count: how many samples.
      out: a picture, or an array (.npy).
    """
    for member in () if out.exists() else finished(results)[:1]:
        run("sample", experiment, "--workdir", workdir / member["directory"], "--count", count, "--out", out)


def markdown(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as Markdown."""
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def spread(mean: dict[str, Any] | None, form: str = ".3g") -> str:
    """A mean with its standard error, of `results.json`."""
    if mean is None:
        return "-"
    error = mean["standard_error"]
    return f"{mean['mean']:{form}}" + ("" if error is None else f" +- {error:.2g}")


def beside(pictures: Sequence[pathlib.Path], out: pathlib.Path, *, columns: int, side: int = 320) -> None:
    """Square pictures as one, row by row, a few pixels apart."""
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("L", (columns * (side + 4) + 4, rows * (side + 4) + 4), 64)
    for i, path in enumerate(pictures):
        with Image.open(path) as picture:
            shrunk = picture.convert("L").resize((side, side), Image.Resampling.BOX)
        sheet.paste(shrunk, (4 + i % columns * (side + 4), 4 + i // columns * (side + 4)))
    sheet.save(out)


def drawing(panels: int, inches: float):
    """An empty figure, and its panels of so many inches each, one above the other."""
    from matplotlib.figure import Figure  # of the extra "tables", for those who draw

    figure = Figure(figsize=(7, inches * panels), layout="constrained")
    return figure, figure.subplots(panels, sharex=True, squeeze=False)[:, 0]


def curves(rows: dict[str, pathlib.Path], figures: Sequence[str], out: pathlib.Path) -> None:
    """What the evaluations of runs came to over their steps: a panel for each figure, a line for each run.

    Args:
      rows: run directories by the names of their lines.
      figures: their names, as `metrics.jsonl` has them after "evaluate/".
      out: picture to write.
    """
    figure, panels = drawing(len(figures), 2.4)
    for name, folder in rows.items():
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        told = [line for line in lines if f"evaluate/{figures[0]}" in line]
        for panel, of_panel in zip(panels, figures, strict=True):
            values = [line[f"evaluate/{of_panel}"] for line in told]
            values = [math.nan if value is None else value for value in values]
            panel.plot([line["step"] for line in told], values, label=name)
            panel.set_ylabel(of_panel.replace("_", " "))
            panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small", ncols=2)
    panels[-1].set_xlabel("step")
    figure.savefig(out, dpi=110)


def shares(rows: dict[str, np.ndarray], out: pathlib.Path) -> None:
    """How many samples each mode has, the most frequent first: a line for each row, and that of equal shares.

    Args:
      rows: samples `[modes]` by the names of their lines.
      out: picture to write.
    """
    figure, (panel,) = drawing(1, 3.2)
    for name, counts in rows.items():
        panel.plot(np.sort(counts)[::-1], label=name)
        panel.axhline(counts.mean(), color="black", linewidth=0.8, linestyle="dotted")
    panel.set_yscale("symlog", linthresh=1)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("modes, the most frequent first")
    panel.set_ylabel("samples")
    panel.legend()
    figure.savefig(out, dpi=110)


def animation(pictures: Sequence[pathlib.Path], out: pathlib.Path, *, side: int = 320, milliseconds: int = 80) -> None:
    """Pictures one after another, the last one for two seconds."""
    frames = []
    for path in pictures:
        with Image.open(path) as picture:
            frames.append(picture.convert("L").resize((side, side), Image.Resampling.BOX))
    times = [milliseconds] * (len(frames) - 1) + [2000]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    out.write_bytes(buffer.getvalue())
