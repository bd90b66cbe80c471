"""Runs of two processes, as on two hosts: the numbers of one process, and an end, in time, when something happens."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import jax
import numpy as np
import pytest
import small_run

from jaxgan import checkpoint, experiment, processes, progress, run, watchdog

GAME = pathlib.Path(__file__).parent / "process_game.py"
EVERY = ("--log-every", "10", "--sample-every", "40", "--checkpoint-every", "20", "--evaluate-every", "40")
SLOW = {"PAUSE": "0.03"}


def start(workdir, steps, *options, count=2, devices=2, lift="mesh", every=EVERY, environment=None):
    """A run's processes, `devices` each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = ("--coordinator", f"127.0.0.1:{free.getsockname()[1]}", "--processes", count)
    lift = ("--lift", lift if count * devices > 1 else "jit", "--devices", devices)
    return [
        subprocess.Popen(
            small_run.command(
                workdir,
                steps,
                *lift,
                *((*where, "--process", i) if count > 1 else ()),
                *options,
                experiment=GAME,
                game=(),
                every=every,
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        for i in range(count)
    ]


def ends(started, timeout=120):
    """Exit code and standard error of each process."""
    try:
        said = [process.communicate(timeout=timeout)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    # What Gloo, the collectives of CPUs, says of its own accord is nobody's.
    said = ["".join(line for line in text.splitlines(True) if not line.startswith("[Gloo]")) for text in said]
    return [process.returncode for process in started], said


def finish(*arguments, **changes):
    codes, said = ends(start(*arguments, **changes))
    assert set(codes) == {0}, said
    return said


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def state(workdir):
    """The leaves of a run's newest state, one after another."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    found = progress.newest(experiment.load(str(GAME))(), run.read(workdir), workdir, device)
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(found.state)]


def difference(one, other):
    """Largest difference of the numbers of two runs, states and lines."""
    a, b = small_run.left(one), small_run.left(other)
    assert a["step"] == b["step"] and a["pictures"].keys() == b["pictures"].keys()
    pairs = list(zip(state(one), state(other), strict=True))
    for x, y in zip(a["lines"], b["lines"], strict=True):
        assert x.keys() == y.keys()
        pairs += [(np.array(list(x.values())), np.array(list(y.values())))]
    return max(float(np.abs(x - y).max()) for x, y in pairs)


@contextlib.contextmanager
def running(workdir, steps, *options, until=40, **changes):
    """A slow run whose checkpoint of some step is there."""
    started = start(workdir, steps, *options, **{"environment": SLOW} | changes)
    try:
        limit = time.monotonic() + 90
        while not checkpoint.steps(workdir / "checkpoints")[-1:] >= [until]:
            assert time.monotonic() < limit and all(process.poll() is None for process in started)
            time.sleep(0.05)
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing happens to."""
    workdir = tmp_path_factory.mktemp("whole")
    finish(workdir, 120)
    return workdir


def test_two_processes_train_what_one_trains(tmp_path):
    """Each fetches its half of every batch, and one of them writes and speaks."""
    together = start(tmp_path / "two", 20, environment={"FETCHED": str(tmp_path / "fetched")})
    alone = start(tmp_path / "one", 20, count=1, devices=4)
    (codes, (first, second)), (code, _) = ends(together), ends(alone)
    assert codes == [0, 0] and code == [0], first + second
    assert "step 20/20" in first and second == ""
    assert difference(tmp_path / "one", tmp_path / "two") < 1e-6
    assert [line["step"] for line in lines(tmp_path / "two")] == [10, 20]
    for i in range(2):  # the first batch is looked at whole, before anything compiles
        fetched = [int(line) for line in (tmp_path / f"fetched{i}").read_text().split()]
        assert fetched[-21:] == [8] * 21 and set(fetched[:-21]) == {16}
    assert not (tmp_path / "two" / "lock.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("lift", ["mesh", "fsdp"])
def test_a_run_goes_on_on_any_number_of_processes_and_devices(tmp_path, whole, lift):
    for steps, count, devices in ((30, 2, 2), (60, 1, 1), (90, 1, 4), (120, 2, 1)):
        finish(tmp_path, steps, count=count, devices=devices, lift=lift)
    assert [line["step"] for line in lines(tmp_path)] == list(range(10, 121, 10))
    told = [{name for name in line if name.startswith("evaluate/")} for line in lines(tmp_path)]
    assert told == [{"evaluate/mean"} if step % 40 == 0 else set() for step in range(10, 121, 10)]
    pictures = {path.name for path in (whole / "samples").iterdir()}
    assert {path.name for path in (tmp_path / "samples").iterdir()} == pictures | {f"{n:07d}.png" for n in (30, 60, 90)}
    for a, b in zip(state(tmp_path), state(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    for a, b in zip(lines(tmp_path), lines(whole), strict=True):
        names = a.keys() - small_run.TIMES
        np.testing.assert_allclose([a[name] for name in names], [b[name] for name in names], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_others_and_the_run_goes_on(tmp_path, whole, victim):
    """A closed connection tells at once; where process 0's is, or one device waits for another of its own process, jax
    ends the process, with several lines and its own code."""
    with running(tmp_path, 120, until=60) as started:  # no evaluation is due then
        began = time.monotonic()
        started[victim].kill()
        said = started[1 - victim].communicate(timeout=processes.HEARTBEAT_SECONDS + 15)[1]
        print(f"victim {victim}: {time.monotonic() - began:.1f} s, code {started[1 - victim].returncode}")
        assert started[1 - victim].returncode in (watchdog.LOST, -signal.SIGABRT)
        if started[1 - victim].returncode == watchdog.LOST:
            assert f"jaxgan: process {1 - victim} of 2: another process is gone (" in said
    if victim:
        finish(tmp_path, 120)
        assert small_run.left(tmp_path) == small_run.left(whole)
    else:
        finish(tmp_path, 120, count=1, devices=4)
        assert difference(tmp_path, whole) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_stopped_process_ends_the_others(tmp_path, whole, victim):
    """Its connections stay open; jax misses its heartbeats."""
    with running(tmp_path, 120) as started:
        began = time.monotonic()
        started[victim].send_signal(signal.SIGSTOP)
        started[1 - victim].communicate(timeout=processes.HEARTBEAT_SECONDS + 15)
        print(f"victim {victim}: {time.monotonic() - began:.1f} s, code {started[1 - victim].returncode}")
        assert started[1 - victim].returncode in (watchdog.LOST, -signal.SIGABRT)
        started[victim].send_signal(signal.SIGCONT)
        started[victim].communicate(timeout=processes.HEARTBEAT_SECONDS + 15)
        assert started[victim].returncode in (watchdog.LOST, -signal.SIGABRT)
    finish(tmp_path, 120)
    assert small_run.left(tmp_path) == small_run.left(whole)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_processes_that_stand_still_end_themselves(tmp_path, victim):
    """All are alive, and one waits for its data for ever."""
    environment = {"HANGS": str(victim)}
    codes, said = ends(start(tmp_path, 1000, "--stall-seconds", "6", environment=environment), timeout=90)
    print(codes, said)
    # The first to give up may be missed by the other, or by jax, before the other's own time is over.
    assert watchdog.LOST in codes and set(codes) <= {watchdog.LOST, -signal.SIGABRT}, said
    assert any("no steps were finished for 6 s" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_one_process_ends_all_at_the_same_step(tmp_path, whole, victim, number):
    with running(tmp_path, 120) as started:
        began = time.monotonic()
        started[victim].send_signal(number)
        codes, said = ends(started)
        print(f"{number.name} at {victim}: {time.monotonic() - began:.1f} s")
    assert codes == [128 + number] * 2, said
    step = checkpoint.steps(tmp_path / "checkpoints")[-1]
    assert 40 <= step < 120
    assert f"{number.name}: the last checkpoint is step {step}" in said[0] and said[1] == ""
    finish(tmp_path, 120)
    assert small_run.left(tmp_path) == small_run.left(whole)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_signal_during_an_evaluation_ends_all(tmp_path, whole, victim):
    """Process 0 leaves its evaluation off; of the other's signal it hears after it. What was due is told later."""
    with running(tmp_path, 120, environment=SLOW | {"EVALUATION": "8"}) as started:
        time.sleep(1)  # the checkpoint is of the step that is evaluated now
        began = time.monotonic()
        started[victim].send_signal(signal.SIGTERM)
        codes, said = ends(started)
        took = time.monotonic() - began
    assert codes == [143] * 2, said
    assert took < 6 or victim == 1
    assert checkpoint.steps(tmp_path / "checkpoints")[-1] == 40 or victim == 1
    finish(tmp_path, 120)
    assert small_run.left(tmp_path) == small_run.left(whole)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_by_all(tmp_path, whole):
    finish(tmp_path, 60)
    numbers = max((tmp_path / "checkpoints" / "60" / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(numbers.read_bytes())
    content[len(content) // 2] ^= 1
    numbers.write_bytes(content)
    first, second = finish(tmp_path, 120)
    assert "60.damaged" in first and "step 40 of 120" in first and second == ""
    left = small_run.left(tmp_path)
    del left["pictures"]["0000060.png"]  # of the end of the first part
    assert left == small_run.left(whole)


@pytest.mark.slow
def test_what_one_process_cannot_use_all_refuse(tmp_path):
    """The directory is locked by process 0, which others do not look at."""
    with run_locked(tmp_path):
        codes, said = ends(start(tmp_path, 20))
    assert codes == [2, 2]
    assert all(len(text.splitlines()) == 1 and "is in use by process" in text for text in said), said


def run_locked(workdir):
    run.check_writable(workdir)
    return run.locked(workdir)


@pytest.mark.slow
def test_a_process_without_the_others_says_so(tmp_path):
    """Two minutes, less what it takes to start."""
    began = time.monotonic()
    first, second = start(tmp_path, 20)
    first.kill()
    first.communicate()
    codes, said = ends([second], timeout=processes.START_SECONDS + 30)
    assert codes == [watchdog.LOST] and time.monotonic() - began > processes.START_SECONDS
    assert "jaxgan: process 1: the processes did not meet at 127.0.0.1:" in said[0]


@pytest.mark.parametrize(
    "given, expected",
    [
        (("--processes", "2"), "expected HOST:PORT"),
        (("--coordinator", "127.0.0.1:1"), "at least 2"),
        (("--coordinator", "127.0.0.1", "--processes", "2"), "expected HOST:PORT"),
        (("--coordinator", "127.0.0.1:1", "--processes", "2", "--process", "2"), "expected --process 0 to 1"),
        (("--coordinator", "auto", "--processes", "2"), "'auto' alone"),
        (("--coordinator", "127.0.0.1:1", "--processes", "2", "--lift", "pmap"), "expected --lift mesh or fsdp"),
    ],
)
def test_what_does_not_say_which_process_this_is(jaxgan, tmp_path, given, expected):
    given = given if "--lift" in given else (*given, "--lift", "mesh")
    code, out, err = jaxgan("train", GAME, "--workdir", tmp_path, "--steps", 10, *given)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and expected in err
