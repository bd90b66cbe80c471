"""A small game trained in a process of its own, and all that it left, to be compared to the last bit."""

import json
import os
import pathlib
import subprocess
import sys

from jaxgan import checkpoint

DIGITS = pathlib.Path(__file__).parents[2] / "experiments" / "digits.py"
GAME = ("--features", "8", "--batch-size", "16")
"""Convolutions, Adam and an average; a second or two from start to first step."""
EVERY = ("--log-every", "10", "--sample-every", "20", "--checkpoint-every", "10", "--evaluate-every", "20")
EVERY += ("--samples", "64")
TIMES = {"examples_per_second", "input_wait_seconds"}


def command(workdir, steps, *options, experiment=DIGITS, game=GAME, every=EVERY) -> list[str]:
    """The command line of a run."""
    program = [sys.executable, "-c", "from jaxgan.cli import main; main()"]
    where = ["train", experiment, "--workdir", workdir, "--steps", steps]
    return [str(word) for word in (*program, *where, *game, *every, *options)]


def start(*arguments, environment=None, **changes) -> subprocess.Popen:
    """A run that has been started, with other variables in its environment."""
    return subprocess.Popen(
        command(*arguments, **changes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def finish(*arguments, timeout=240, **changes) -> tuple[int, str]:
    """Exit code and standard error of a run."""
    process = start(*arguments, **changes)
    try:
        said = process.communicate(timeout=timeout)[1]
    finally:
        process.kill()
    return process.returncode, said


def left(workdir: pathlib.Path) -> dict:
    """What a run left that does not depend on the clock: every leaf's digest, sums, lines of metrics, pictures."""
    newest = checkpoint.steps(workdir / "checkpoints")[-1]
    assert checkpoint.examine(workdir / "checkpoints", newest) == "sound"
    record = json.loads((workdir / "checkpoints" / str(newest) / "record" / "metadata").read_text())
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {
        "step": newest,
        "leaves": record["leaves"],
        "note": record["note"],
        "lines": [{name: value for name, value in line.items() if name not in TIMES} for line in lines],
        "pictures": {path.name: path.read_bytes() for path in sorted((workdir / "samples").glob("*.png"))},
    }
