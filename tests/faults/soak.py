"""Trains a small run for many minutes under random faults, and compares its end with an uninterrupted run's.

`python tests/faults/soak.py --minutes 60 --seed 0`: the seed chooses the faults and their moments. A table at the end
tells what was done; the exit code is 1 when anything is wrong. The end must be the same to the last bit; but lines and
pictures may be missing where a full disk did not take them, and the run said so. The disk is a tmpfs, whose size
changes; where none can be mounted (Linux, root), it is never full.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import small_run

from jaxgan import checkpoint

GAME = pathlib.Path(__file__).with_name("rough_game.py")
FAULTS = {"kill": 50, "term": 14, "interrupt": 10, "full": 12, "flip": 8, "none": 6}
"""How often each is chosen, of 100: SIGKILL, SIGTERM, SIGINT, a full disk, a flipped bit and then SIGKILL, none."""
MOMENTS = {"any": 30, "start": 12, "compile": 10, "save": 20, "evaluation": 15, "picture": 13}
"""How often each is chosen, of 100."""
SECONDS = {"any": 9.0, "start": 2.5, "compile": 1.5, "save": 0.03, "evaluation": 0.06, "picture": 0.02}
"""Longest time from what tells of a moment to the fault."""
SIGNALS = {"kill": signal.SIGKILL, "flip": signal.SIGKILL, "term": signal.SIGTERM, "interrupt": signal.SIGINT}
CODES = {"kill": {-9}, "flip": {-9}, "term": {143}, "interrupt": {130}, "full": {4, -9}, "none": {0}}
"""Exit codes of a run that a fault met after it began to listen to signals."""
LISTENS = re.compile(r"^step (\d+) of \d+ on ", re.MULTILINE)
TELLS = re.compile(r"^step (\d+)/", re.MULTILINE)
GRACE = 60.0
"""Seconds in which a run has to end."""
DISK_BYTES = 2**30


class Trial(NamedTuple):
    """What stays the same: where things are, whether the disk can be full, and what the seed gives."""

    folder: pathlib.Path
    mounted: bool
    chance: random.Random
    counts: collections.Counter
    wrong: list[str]
    lost: list[range]

    @property
    def workdir(self) -> pathlib.Path:
        """The run directory."""
        return self.folder / "disk" / "run"

    def said(self) -> str:
        """What the run said so far."""
        return (self.folder / "stderr.txt").read_text()

    def steps(self) -> list[int]:
        """Its checkpoints."""
        return checkpoint.steps(self.workdir / "checkpoints")


def launch(trial: Trial, steps: int) -> subprocess.Popen:
    """Starts the run, or goes on with it."""
    command = small_run.command(trial.workdir, steps, experiment=GAME, game=())
    environment = {**os.environ, "XDG_CACHE_HOME": str(trial.folder / "cache")}
    with (trial.folder / "stderr.txt").open("w") as stderr:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)


def reach(trial: Trial, life: subprocess.Popen, moment: str) -> None:
    """Waits for a moment in the life of a run, or its end."""
    samples = trial.workdir / "samples"
    signs = {
        "any": lambda: {"started"},
        "start": lambda: {"started"},
        "compile": lambda: set(LISTENS.findall(trial.said())),
        "save": lambda: {path.name for path in (trial.workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")},
        "evaluation": lambda: {step for step in TELLS.findall(trial.said()) if int(step) % 20 == 0},
        "picture": lambda: set(os.listdir(samples)) if samples.is_dir() else set(),
    }
    seen = signs[moment]() if moment == "picture" else set()
    often = len(seen) + (trial.chance.randint(1, 6) if moment in ("save", "evaluation", "picture") else 1)
    ends = time.monotonic() + GRACE
    while len(seen) < often and life.poll() is None and time.monotonic() < ends:
        time.sleep(0.002)
        seen |= signs[moment]()
    ends = time.monotonic() + trial.chance.random() * SECONDS[moment]
    while life.poll() is None and time.monotonic() < ends:
        time.sleep(min(0.01, max(0.0, ends - time.monotonic())))


def resize(trial: Trial, size: int) -> None:
    """Makes the disk so large; it cannot be smaller than what is on it."""
    options = f"remount,size={size}"
    subprocess.run(["mount", "-o", options, trial.folder / "disk"], check=False, stderr=subprocess.DEVNULL)


def fill(trial: Trial, life: subprocess.Popen) -> None:
    """Fills the disk but for up to 256 KB, for a while or until the run ends; if it does not, it is killed later."""
    chance = trial.chance
    resize(trial, shutil.disk_usage(trial.folder / "disk").used + chance.randrange(2**18))
    ends = time.monotonic() + chance.choice([chance.uniform(0.1, 2.0), 20.0])
    while life.poll() is None and time.monotonic() < ends:
        time.sleep(0.01)
    resize(trial, DISK_BYTES)
    ends = time.monotonic() + chance.uniform(0.0, 2.0)
    while life.poll() is None and time.monotonic() < ends:
        time.sleep(0.01)
    life.kill()


def flip(trial: Trial) -> bool:
    """Flips a bit in a file of the newest checkpoint, where there is another; whether that damaged it."""
    there = trial.steps()
    if len(there) < 2:
        return False
    folder = trial.workdir / "checkpoints" / str(there[-1])
    path = trial.chance.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))
    data, bit = bytearray(path.read_bytes()), trial.chance.randrange(8 * path.stat().st_size)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return checkpoint.examine(trial.workdir / "checkpoints", there[-1]) != "sound"


def live(trial: Trial, fault: str, moment: str) -> str:
    """One life of the run, to its end by a fault; what it said."""
    newest = trial.steps()[-1] if trial.steps() else 0
    life = launch(trial, 10**9 if fault != "none" else (newest // 100 + trial.chance.randint(1, 2)) * 100)
    if fault != "none":
        reach(trial, life, moment)
    listens = bool(LISTENS.search(trial.said()))
    if fault == "full":
        fill(trial, life)
    elif fault != "none":
        life.send_signal(SIGNALS[fault])
    try:
        life.wait(timeout=10 * GRACE if fault == "none" else GRACE if listens else GRACE / 6)
    except subprocess.TimeoutExpired:
        life.kill()
        if listens or fault == "none":
            trial.wrong.append(f"{fault} at {moment}: it did not end")
        else:
            print(f"{fault} at {moment} was not heeded: {trial.said()[:2000]}", flush=True)
    code, said = life.wait(), trial.said()
    listens = listens or fault == "none"
    trial.counts[f"{fault}, exit code {code}{'' if listens else ', before it listened to signals'}"] += 1
    trial.counts[f"{fault} at {moment}" if fault != "none" else "ends of its own"] += 1
    if listens and code not in CODES[fault]:
        trial.wrong.append(f"{fault} at {moment}: exit code {code}: {said[-2000:]}")
    if "cannot be written" in said:
        trial.counts["lives that said of lines or pictures that they cannot be written"] += 1
        trial.lost.append(range(newest, max([newest, *map(int, TELLS.findall(said))]) + 1))
    return said


def check(trial: Trial, fault: str, said: str, damaged: int | None) -> int | None:
    """Looks at what a life left; the step of the damaged checkpoint, if that is there still."""
    there, first, told = trial.steps(), LISTENS.search(said), TELLS.findall(said)
    trial.counts["falls back"] += said.count("an older one is taken")
    if damaged is not None and first:
        if int(first[1]) >= damaged:
            trial.wrong.append(f"{fault}: it went on from step {first[1]}, where {damaged} was damaged")
        damaged = None
    # Checkpoints are every 10 steps, but where steps were not taken; the last one may have been in the making.
    if told and (not there or there[-1] < int(told[-1]) - 20):
        trial.wrong.append(f"{fault}: it told of step {told[-1]}, and left only {there}")
    for step in there:
        found = checkpoint.examine(trial.workdir / "checkpoints", step)
        trial.counts["checkpoints examined"] += 1
        if found != "sound" and step != damaged:
            trial.wrong.append(f"{fault}: {found}")
    return damaged


def soak(trial: Trial, minutes: float) -> None:
    """Faults, one after the other, until the time is over."""
    began, said_at, damaged = time.monotonic(), 0.0, None
    faults = {name: often for name, often in FAULTS.items() if trial.mounted or name != "full"}
    while time.monotonic() - began < 60 * minutes:
        fault, moment = (trial.chance.choices(list(of), list(of.values()))[0] for of in (faults, MOMENTS))
        if trial.chance.random() < 0.1:  # so that it compiles, and is killed while it does, or while it keeps programs
            shutil.rmtree(trial.folder / "cache", ignore_errors=True)
        if fault == "flip" and damaged is None and flip(trial):
            damaged = trial.steps()[-1]
            trial.counts["checkpoints damaged"] += 1
        damaged = check(trial, fault, live(trial, fault, moment), damaged)
        trial.counts["restarts"] += 1
        if time.monotonic() - said_at > 60:
            said_at = time.monotonic()
            found = f"{trial.counts['restarts']} restarts, {len(trial.wrong)} wrong"
            print(f"{said_at - began:.0f} s, step {trial.steps()[-1:]}, {found}", *trial.wrong[-1:], flush=True)


def compare(trial: Trial) -> None:
    """Lets the run end, and compares it with one that nothing happens to."""
    last, straight = (trial.steps()[-1] // 100 + 1) * 100, trial.folder / "uninterrupted"
    # Few checkpoints, which is faster: when they are changes nothing else.
    for workdir, more in ((trial.workdir, ()), (straight, ("--checkpoint-every", "1000"))):
        changes = {"experiment": GAME, "game": (), "every": small_run.EVERY + more, "timeout": None}
        code, said = small_run.finish(workdir, last, **changes)
        if code:
            trial.wrong.append(f"{workdir} to step {last}: exit code {code}: {said[-2000:]}")
            return
    found, expected = small_run.left(trial.workdir), small_run.left(straight)
    for name in ("step", "leaves", "note"):
        if found[name] != expected[name]:
            trial.wrong.append(f"{name} of the last checkpoint differ")
    lines = [{line["step"]: line for line in one["lines"]} for one in (found, expected)]
    if [line["step"] for line in found["lines"]] != sorted(lines[0]):
        trial.wrong.append("lines are not in the order of their steps, each once")
    for name, (here, there) in {"line": lines, "picture": (found["pictures"], expected["pictures"])}.items():
        for key in sorted(here.keys() | there.keys(), key=str):
            step = int(re.sub(r"\D", "", str(key)) or 0)
            if key not in here and any(step in steps for steps in trial.lost):
                trial.counts[f"{name}s that a full disk did not take"] += 1
            elif here.get(key) != there.get(key):
                trial.wrong.append(f"{name} {key} differs")
        trial.counts[f"{name}s compared"] += len(here)
    left = sorted(path.name for path in (trial.workdir / "checkpoints").iterdir())
    if bad := [name for name in left if not re.fullmatch(r"\d+(\.damaged(-\d+)?)?", name)]:
        trial.wrong.append(f"left in checkpoints: {bad}")


def main() -> None:
    """Runs the trial in a name space of its own, where there are such, so that its disk goes with it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workdir", type=pathlib.Path, default=None)
    options.add_argument("--mounted", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    folder = given.workdir or pathlib.Path(tempfile.mkdtemp())
    disk = folder / "disk"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", disk]
    if not given.mounted and shutil.which("unshare") and subprocess.run(["unshare", "-rm", *mount]).returncode == 0:
        disk.rmdir()
        words = ["--minutes", given.minutes, "--seed", given.seed, "--workdir", folder, "--mounted"]
        os.execvp("unshare", [str(word) for word in ("unshare", "-rm", sys.executable, __file__, *words)])
    if given.mounted:
        subprocess.run(mount, check=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    trial = Trial(folder, given.mounted, random.Random(given.seed), collections.Counter(), [], [])
    began = time.monotonic()
    soak(trial, given.minutes)
    compare(trial)
    trial.counts["seconds"] = round(time.monotonic() - began)
    for name, count in sorted(trial.counts.items()):
        print(f"{count:8d}  {name}")
    if trial.wrong and given.mounted:
        shutil.copytree(trial.workdir, folder / "trial")
    print(*trial.wrong or ["the same, to the last bit"], sep="\n")
    sys.exit(1 if trial.wrong else 0)


if __name__ == "__main__":
    main()
