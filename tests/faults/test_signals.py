"""SIGTERM and SIGINT at any moment: a run ends soon, saved, and goes on as if nothing had been."""

import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import small_run

from jaxgan import checkpoint, signals
from jaxgan.errors import Stopped

SLOW_GAME = pathlib.Path(__file__).with_name("slow_game.py")
STEPS = 120
MANY = 10
"""Steps at which each signal comes."""
SECONDS = 20
"""Longest from a signal to the end of the process; one or two where the machine has nothing else to do."""
NAMES = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
PLACES = {"tracing": {0}, "picture": {20}, "evaluation": {20}, "batch": {20, 30}, "save": {10, 20, 30}}
"""Where the slow game is slow, and the last checkpoint that a signal there may leave; 0 is none."""


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """Processes ignore SIGINT where what starts them does, as what a shell starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def reached(place, workdir):
    """A run of the slow game, at its slow place."""
    there = workdir.with_name(f"{workdir.name}-reached")
    environment = {"SLOW": place, "REACHED": str(there)}
    process = small_run.start(workdir, STEPS, experiment=SLOW_GAME, environment=environment)
    ends = time.monotonic() + 120
    while not there.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.002)
    return process


def end(process, number):
    """Sends a signal: exit code, the lines that were said after it, and seconds to the end."""
    began = time.perf_counter()
    process.send_signal(number)
    try:
        said = process.communicate(timeout=3 * SECONDS)[1]
    finally:
        process.kill()
    return process.returncode, said.splitlines(), time.perf_counter() - began


def check_goes_on(workdir, uninterrupted, **changes):
    """Lets a run end that was stopped, and compares it; what it said. The slow game is the other but for its name."""
    code, said = small_run.finish(workdir, STEPS, **changes)
    assert code == 0, said
    found, expected = small_run.left(workdir), uninterrupted(STEPS)
    assert found["note"].pop("config")["options"]["features"] == 8
    assert found == expected | {"note": {name: v for name, v in expected["note"].items() if name != "config"}}
    assert all(path.name.isdigit() for path in (workdir / "checkpoints").iterdir())
    return said


@pytest.mark.slow
@pytest.mark.parametrize("case", list(itertools.product(NAMES, range(MANY))))
def test_a_signal_at_any_step(case, tmp_path, uninterrupted):
    name, rng, workdir = case[0], random.Random(str(case)), tmp_path / "run"
    after = 10 * rng.randrange(STEPS // 10 - 2)
    process = small_run.start(workdir, STEPS)
    for line in process.stderr:
        if line.startswith("compiled in" if after == 0 else f"step {after}/"):
            break
    time.sleep(rng.random() * 0.03)
    code, said, seconds = end(process, NAMES[name])
    assert code == 128 + NAMES[name] and seconds < SECONDS, (code, seconds, said)
    step = checkpoint.steps(workdir / "checkpoints")[-1]
    assert after <= step < STEPS
    assert checkpoint.examine(workdir / "checkpoints", step) == "sound"
    assert said[-1] == f"{name}: the last checkpoint is step {step}; the same command goes on"
    assert not any(word in line for line in said[:-1] for word in ("SIG", "Error", "Traceback"))
    assert check_goes_on(workdir, uninterrupted).startswith(f"step {step} of {STEPS}")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case == ("evaluation", "SIGINT") else pytest.mark.slow)
        for case in itertools.product(PLACES, NAMES)
    ],
)
def test_a_signal_where_a_run_takes_long(case, tmp_path, uninterrupted):
    """What is not training is left off at once; a batch and a save are waited for."""
    (place, name), workdir = case, tmp_path / "run"
    code, said, seconds = end(reached(place, workdir), NAMES[name])
    assert code == 128 + NAMES[name] and seconds < SECONDS, (code, seconds, said)
    there = checkpoint.steps(workdir / "checkpoints")
    assert max([0, *there]) in PLACES[place]
    kept = f"the last checkpoint is step {there[-1]}" if there else "there is no checkpoint"
    assert said[-1] == f"{name}: {kept}; the same command goes on"
    check_goes_on(workdir, uninterrupted, experiment=SLOW_GAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_while_a_step_compiles(name, tmp_path, uninterrupted):
    """Python sees it when the compiler is done; there is nothing to save, nor to lose."""
    workdir = tmp_path / "run"
    small_run.finish(workdir, 20)
    process = small_run.start(workdir, STEPS, environment={"XDG_CACHE_HOME": str(tmp_path / "empty")})
    assert process.stderr.readline().startswith("step 20 of")
    time.sleep(0.5)
    code, said, seconds = end(process, NAMES[name])
    assert code == 128 + NAMES[name] and seconds < SECONDS, (code, seconds, said)
    assert said == [f"{name}: the last checkpoint is step 20; the same command goes on"]
    check_goes_on(workdir, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [0.1, 0.6, 1.2, None])
def test_a_signal_before_a_run_listens(seconds, name, tmp_path, uninterrupted):
    """In imports (the last case: of the experiment, for certain) it ends the process as it ends any."""
    workdir = tmp_path / "run"
    small_run.finish(workdir, 20)
    if seconds is None:
        process = reached("imports", workdir)
    else:
        process = small_run.start(workdir, STEPS)
        time.sleep(seconds)
    code, _, seconds = end(process, NAMES[name])
    assert code in (-NAMES[name], 128 + NAMES[name]) and seconds < SECONDS
    check_goes_on(workdir, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("names", [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM")])
def test_a_second_signal_ends_a_run_at_once(names, tmp_path, uninterrupted):
    """While it waits for its save, as a run does after the first."""
    workdir = tmp_path / "run"
    process = reached("slower save", workdir)
    process.send_signal(NAMES[names[0]])
    time.sleep(1)
    assert process.poll() is None
    code, _, seconds = end(process, NAMES[names[1]])
    assert code == -NAMES[names[1]] and seconds < 2
    check_goes_on(workdir, uninterrupted, experiment=SLOW_GAME)


def send(number):
    """A signal to this process; its handler has run when this returns."""
    signal.raise_signal(number)


@pytest.mark.parametrize("number", NAMES.values())
def test_a_signal_is_kept_until_it_may_interrupt(number):
    handlers = [signal.getsignal(each) for each in signals.SIGNALS]
    with signals.listening() as wish:
        send(number)
        assert wish.received == [number]
        assert [signal.getsignal(each) for each in signals.SIGNALS] == [signal.SIG_DFL] * 2
        with pytest.raises(Stopped) as stopped, wish.interrupts():
            pytest.fail("it goes on though a signal has come")
        assert stopped.value.signal == number and not wish.heeded
    assert [signal.getsignal(each) for each in signals.SIGNALS] == handlers


def test_a_signal_interrupts_where_it_may():
    with signals.listening() as wish:
        with pytest.raises(Stopped), wish.interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        assert wish.received == [signal.SIGTERM] and not wish.heeded
    with signals.listening() as wish:
        with wish.interrupts():
            pass
        send(signal.SIGTERM)  # after it, it is only kept
        assert wish.received == [signal.SIGTERM]


def test_a_thread_may_train_and_listens_to_nothing():
    handlers, found = [signal.getsignal(each) for each in signals.SIGNALS], []

    def listen():
        with signals.listening() as wish, wish.interrupts():
            found.append([signal.getsignal(each) for each in signals.SIGNALS])

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [handlers]


def test_an_interrupt_while_garbage_is_collected_comes_again():
    """Python ignores what is raised there, such as by Ctrl-C while a library is told of a collection."""
    program = """
import time
from jaxgan import startup

startup.prepare()

class Unraisable:
    def __del__(self):
        raise KeyboardInterrupt

del [Unraisable()][0]
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr, done
