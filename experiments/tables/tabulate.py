"""What all tables share: sweeps that go on where they stopped, and tables and pictures of what they came to."""

import io
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

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


def swept(out: pathlib.Path, experiment: pathlib.Path, workdir: pathlib.Path, *options: object) -> dict[str, Any]:
    """What `jaxgan sweep` came to, kept in a file; trained now where that is not there.

    Args:
      out: the file, beside `results.json`, which a sweep to a later step replaces.
      experiment: the experiment's file.
      workdir: of the sweep.
      options: of the sweep, all others.

    Returns:
      The results, and "hours" that all calls for this directory have taken.
    """
    if not out.exists():
        began, spent = time.monotonic(), workdir.with_name(f"{workdir.name}.hours")
        before = float(spent.read_text()) if spent.exists() else 0.0
        try:
            run("sweep", experiment, "--workdir", workdir, *options)
        finally:
            hours = before + (time.monotonic() - began) / 3600
            spent.write_text(f"{hours}\n")
        results = json.loads((workdir / "results.json").read_text())
        out.write_text(json.dumps(results | {"hours": hours}, indent=2) + "\n")
    return json.loads(out.read_text())


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
    rows = -(-len(pictures) // columns)
    sheet = Image.new("L", (columns * (side + 4) + 4, rows * (side + 4) + 4), 64)
    for i, path in enumerate(pictures):
        with Image.open(path) as picture:
            shrunk = picture.convert("L").resize((side, side), Image.Resampling.BOX)
        sheet.paste(shrunk, (4 + i % columns * (side + 4), 4 + i // columns * (side + 4)))
    sheet.save(out)


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
