"""SIGKILL at any moment: the same command goes on, and ends as if nothing had been."""

import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import small_run

from jaxgan import checkpoint

QUICK, FULL = 1, 50
"""Kills usually, and with `-m slow`."""
STEPS, MANY_STEPS = 60, 200
"""Steps of the run that is killed, usually and with `-m slow`; where it ends before so many kills, it begins again."""
BEST = ("--keep-best", "evaluate/FD-pixels", "max")
"""The worst by that figure, which is an early one: those after it are removed, and it is not."""
START_SECONDS, SAVE_SECONDS = 4.0, 0.1
"""About what it takes from a start to the first step, and to write a checkpoint."""
ROUGH = pathlib.Path(__file__).with_name("rough_game.py")
SAVER = """
import itertools, os, pathlib, signal, sys
import jax.numpy as jnp
from jaxgan import checkpoint

directory, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])

def deadly(remove):
    def call(path, **named):
        global count
        count -= "dir_fd" in named  # as shutil.rmtree calls it
        if count < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return remove(path, **named)
    return call

os.unlink, os.rmdir = deadly(os.unlink), deadly(os.rmdir)
with checkpoint.open_checkpoints(directory) as checkpoints:
    print(*(path.name for path in directory.iterdir()), flush=True)
    for step in itertools.count(max(checkpoint.steps(directory), default=-1) + 1):
        checkpoint.save(checkpoints, step, {"leaf": jnp.full((4,), step)}, {})
"""
"""Saves and saves, and kills itself before the file or folder number `count` of a removed checkpoint is gone."""


def kills(quick, full):
    """Numbers of kills, the larger with `-m slow`."""
    return pytest.mark.parametrize("count", [quick, pytest.param(full, marks=pytest.mark.slow)])


def anywhere(chance, process, workdir):
    """Waits for a moment of a run, one in three before its first step; what it said."""
    if chance.random() < 1 / 3:
        time.sleep(chance.uniform(0, START_SECONDS))
        return ""
    said = until(process, r"compiled")
    for _ in range(chance.randrange(4)):
        said += process.stderr.readline()
    time.sleep(chance.uniform(0, 0.2))
    return said


def saving(chance, process, workdir):
    """Waits for a moment in which a run writes a checkpoint, of the next three."""
    seen, often = set(), chance.randint(1, 3)
    while len(seen) < often and process.poll() is None:
        seen |= set((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, SAVE_SECONDS))
    return ""


def saving_first(chance, process, workdir):
    """Waits for a moment in which a run has begun to write its first checkpoint."""
    while process.poll() is None and not any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, SAVE_SECONDS / 5))
    return ""


def evaluating(chance, process, workdir):
    """Waits for the first evaluation, which compiles what draws samples."""
    return until(process, r"step \d*[02468]0/")


def until(process, pattern):
    """What a run says, up to the line that begins so, or to its end."""
    lines = []
    while not (lines and re.match(pattern, lines[-1])) and (line := process.stderr.readline()):
        lines.append(line)
    return "".join(lines)


def struck(moment, chance, workdir, steps, *options, number=signal.SIGKILL, **changes):
    """Starts or resumes a run, and sends it a signal at a moment: exit code, and what it said."""
    process = small_run.start(workdir, steps, *options, **changes)
    try:
        said = moment(chance, process, workdir)
        process.send_signal(number)
        said += process.stderr.read()
        return process.wait(60), said
    finally:
        process.kill()
        process.stderr.close()


def finished(workdir, steps, *options, **changes):
    """What a run leaves that goes on to its end."""
    code, said = small_run.finish(workdir, steps, *options, **changes)
    assert code == 0, said
    return small_run.left(workdir)


def sound(workdir, said="", behind=10):
    """The checkpoints of a run: all are sound, and of the steps that it told of no more than so many are missing.

    A run that is killed while its first checkpoint is in writing has step 0, where every run begins.
    """
    directory = workdir / "checkpoints"
    there = checkpoint.steps(directory)
    assert [checkpoint.examine(directory, step) for step in there] == ["sound"] * len(there)
    told = [int(step) for step in re.findall(r"^step (\d+)/", said, re.MULTILINE)]
    assert not told or max(there, default=0) >= told[-1] - behind, (there, told)
    return there


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run to be copied, with its best checkpoint at step 20."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    finished(workdir, STEPS, *BEST)
    return workdir


def killed_again_and_again(moment, seed, workdir, count, uninterrupted):
    """Kills a run so many times, looking at its checkpoints after each, and lets it end; how many hit a save."""
    chance, steps, done, hits = random.Random(seed), MANY_STEPS if count == FULL else STEPS, 0, 0
    expected = uninterrupted(steps)
    while done < count:
        code, said = struck(moment, chance, workdir, steps)
        assert code in (0, -signal.SIGKILL), said
        sound(workdir, said)
        hits += any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))
        done += code != 0
        if code == 0:
            assert small_run.left(workdir) == expected
            shutil.rmtree(workdir)
    assert finished(workdir, steps) == expected
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == sorted(map(str, sound(workdir)))
    return hits


@kills(QUICK, FULL)
def test_killed_at_any_moment(count, tmp_path, uninterrupted):
    killed_again_and_again(anywhere, 1, tmp_path / "run", count, uninterrupted)


@pytest.mark.slow
def test_killed_while_it_saves(tmp_path, uninterrupted):
    hits = killed_again_and_again(saving, 2, tmp_path / "run", FULL, uninterrupted)
    assert hits >= FULL // 5  # else it was killed at other moments


@kills(3, FULL)
def test_killed_while_it_removes_a_checkpoint(count, tmp_path):
    chance, directory, newest = random.Random(3), tmp_path / "checkpoints", -1
    for _ in range(count):
        done = subprocess.run(
            [sys.executable, "-c", SAVER, directory, str(chance.randrange(40))], capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert all(name.isdigit() for name in done.stdout.split()), done.stdout  # what the last one left is gone
        removed, unfinished = (list(directory.glob(f"*.{what}*")) for what in ("removed", "orbax-checkpoint-tmp"))
        assert len(removed) == 1 or (unfinished and not removed)  # or while it removed what the one before left
        there = checkpoint.steps(directory)
        assert [checkpoint.examine(directory, step) for step in there] == ["sound"] * len(there)
        assert there[-1] >= newest and len(there) >= checkpoint.KEEP - 1
        newest = there[-1]
    assert newest >= max(checkpoint.KEEP, count // 4)


@pytest.mark.slow
def test_killed_in_its_first_save_it_begins_anew(tmp_path, uninterrupted):
    chance = random.Random(4)
    for i in range(10):
        workdir = tmp_path / f"run{i}"
        code, said = struck(saving_first, chance, workdir, STEPS)
        assert code == -signal.SIGKILL and checkpoint.steps(workdir / "checkpoints") == [], said
        assert finished(workdir, STEPS) == uninterrupted(STEPS)


def test_with_every_checkpoint_damaged_it_does_not_begin_anew(tmp_path, trained):
    workdir = shutil.copytree(trained, tmp_path / "run")
    steps = sound(workdir)
    for step in steps:
        path = workdir / "checkpoints" / str(step) / "state" / "manifest.ocdbt"
        path.write_bytes(path.read_bytes()[:-1])

    def files():
        return sorted(path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.stat().st_size)

    before = files()
    code, said = small_run.finish(workdir, STEPS + 20, *BEST)
    (line,) = [line for line in said.splitlines() if line.startswith("jaxgan: ")]
    assert code == 2 and line == said.splitlines()[-1] and f"{len(steps)} damaged" in line, said
    assert files() == before


@pytest.mark.slow
def test_the_best_survives_kills(tmp_path, trained, jaxgan):
    chance, workdir = random.Random(5), shutil.copytree(trained, tmp_path / "run")
    code, done, steps = 0, 0, STEPS
    while done < 20:
        steps += 40 * (code == 0)
        code, said = struck(anywhere, chance, workdir, steps, *BEST)
        assert code in (0, -signal.SIGKILL), said
        done += code != 0
        assert checkpoint.best_step(workdir / "checkpoints") == 20
        # One checkpoint may be in writing, and that of an evaluated step waits for its evaluation.
        assert sound(workdir, said, behind=20)[0] == 20
    newest = finished(workdir, steps, *BEST)["step"]
    assert sound(workdir) == [20, newest - 20, newest - 10, newest]
    for which, step in (("--best",), 20), ((), newest):
        out = tmp_path / "samples.npy"
        code, _, said = jaxgan("sample", small_run.DIGITS, "--workdir", workdir, "--count", 4, "--out", out, *which)
        assert code == 0 and f"of step {step} " in said, said


def test_the_last_evaluation_may_be_the_best(tmp_path):
    figures = finished(tmp_path, 40, "--keep-best", "evaluate/FD-pixels", "min")["lines"]
    values = {line["step"]: line["evaluate/FD-pixels"] for line in figures if "evaluate/FD-pixels" in line}
    assert values[40] < values[20]
    assert checkpoint.best_step(tmp_path / "checkpoints") == 40


@pytest.mark.slow
@pytest.mark.parametrize("critics, stops", [(2, (21, 37, 58, 89, 110, 178)), (1, (45, 89)), (4, (45, 89))], ids=str)
def test_stops_change_nothing(critics, stops, tmp_path):
    """In an evaluation, in an epoch, at its end (89 steps), between steps not taken; with all that a state may hold."""
    changes = {"experiment": ROUGH, "game": ("--discriminator-steps", critics)}
    workdir, steps = tmp_path / "run", stops[-1] + 31
    code, said = struck(evaluating, random.Random(6), workdir, steps, number=signal.SIGTERM, **changes)
    assert code == 128 + signal.SIGTERM, said
    left = small_run.left(workdir)
    assert left["step"] == 20 and left["lines"][-1]["step"] == 10
    for stop in stops:
        assert finished(workdir, stop, **changes)["step"] == stop
    found, expected = finished(workdir, steps, **changes), finished(tmp_path / "straight", steps, **changes)
    assert {line["step"]: line.get("skipped_steps") for line in expected["lines"]}[30] == 1
    ends = {f"{stop:07d}.png" for stop in stops}  # a run ends with a picture
    for one in found, expected:
        one["pictures"] = {name: picture for name, picture in one["pictures"].items() if name not in ends}
    assert found == expected
