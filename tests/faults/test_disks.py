"""Disks that are full or may not be written, and directories that another run has: told in a line, nothing lost."""

import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import time

import pytest
import small_run

from jaxgan import checkpoint, run

STEPS = 60
QUICK, MANY = 1, 8
"""Amounts of free space that a run meets, usually and with `-m slow`."""
CPU_SECONDS = 5
"""What a command that is refused may take of a processor; most of it is imports."""


@pytest.fixture
def mount(tmp_path):
    """`(name, *options) -> folder`: a tmpfs with these options."""
    mounted = []

    def make(folder, options):
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "jaxgan", folder]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs (Linux, root)")
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", folder], check=True)


def fill(folder, free):
    """Fills a disk but for so many bytes, in whole pages; the file that does."""
    filler, page = folder / "filler", resource.getpagesize()
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(page, shutil.disk_usage(folder).free - free // page * page))
    return filler


def sound(workdir):
    """The steps of a run's checkpoints, each of them examined."""
    there = checkpoint.steps(workdir / "checkpoints")
    for step in there:
        assert checkpoint.examine(workdir / "checkpoints", step) == "sound"
    return there


def told(said):
    """The one line of jaxgan's; what failed in threads of the libraries that write is told without tracebacks."""
    (line,) = [line for line in said.splitlines() if line.startswith("jaxgan: ")]
    assert "Traceback" not in said, said
    return line


def check_same(workdir, expected):
    """Compares what a run left, and that nothing lies there that is not a run's."""
    assert small_run.left(workdir) == expected
    names = {path.name for path in workdir.rglob("*")}
    assert not [name for name in names if any(part in name for part in ("tmp", "partial", "probe", "removed"))]


@pytest.mark.parametrize("case", [pytest.param(i, marks=[pytest.mark.slow] if i >= QUICK else []) for i in range(MANY)])
def test_a_disk_that_becomes_full_in_a_save(case, made, mount, tmp_path, uninterrupted):
    disk = mount(tmp_path / "disk", "size=16m")
    workdir = disk / "run"
    shutil.copytree(made, workdir)
    filler = fill(disk, random.Random(case).randrange(2**14, 2**17))
    code, said = small_run.finish(workdir, STEPS)
    there = sound(workdir)
    assert code == 4 and "the disk is full" in told(said), said
    assert f"the newest that is whole is step {there[-1]};" in told(said)
    assert {10, 20} & set(there) and there[-1] < STEPS
    filler.unlink()
    assert small_run.finish(workdir, STEPS)[0] == 0
    check_same(workdir, uninterrupted(STEPS))


@pytest.mark.slow
def test_the_last_checkpoint_does_not_fit(made, mount, tmp_path, uninterrupted):
    """It is written in the background, and nothing comes after it that could tell."""
    disk = mount(tmp_path / "disk", "size=16m")
    workdir, only_last = disk / "run", ("--checkpoint-every", "1000")
    shutil.copytree(made, workdir)
    fill(disk, 2**17)
    code, said = small_run.finish(workdir, STEPS, *only_last)
    assert code == 4 and "(the disk is full); the newest that is whole is step 20;" in told(said), said
    code, said = small_run.finish(workdir, STEPS, *only_last)  # on the disk that is full still
    assert code == (4 if "the disk is full" in told(said) else 2), said
    assert code == 4 or "cannot be written (No space left on device)" in told(said), said
    assert sound(workdir) == [10, 20]
    (disk / "filler").unlink()
    assert small_run.finish(workdir, STEPS)[0] == 0
    check_same(workdir, uninterrupted(STEPS))


@pytest.mark.slow
def test_a_file_that_may_not_grow(tmp_path, uninterrupted):
    """Where nothing can be mounted: the system lets no file of the run have more than some KB."""
    workdir = tmp_path / "run"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2**12}, {2**20}));"
    command = small_run.command(workdir, STEPS)
    command[command.index("-c") + 1] = limit + command[command.index("-c") + 1]
    done = subprocess.run(command, capture_output=True, text=True)
    line = told(done.stderr)
    assert done.returncode == 4 and "could not be written" in line and "there is none yet" in line, line
    assert sound(workdir) == []
    assert small_run.finish(workdir, STEPS)[0] == 0
    check_same(workdir, uninterrupted(STEPS))


@pytest.mark.parametrize("free", [2**13, pytest.param(2**16, marks=pytest.mark.slow)])
def test_a_disk_full_for_lines_and_pictures_alone(free, made, mount, tmp_path, uninterrupted):
    """Checkpoints have a disk of their own. Each kind is told of once, and the run is the same."""
    workdir = mount(tmp_path / "run", "size=4m")
    shutil.copytree(made, workdir, dirs_exist_ok=True)
    mount(workdir / "checkpoints", "size=16m")
    shutil.copytree(made / "checkpoints", workdir / "checkpoints", dirs_exist_ok=True)
    fill(workdir, free)
    code, said = small_run.finish(workdir, STEPS)
    lines = [line for line in said.splitlines() if "cannot be written" in line]
    assert code == 0 and 1 <= len(lines) == len({line.split(" cannot")[0] for line in lines}) <= 3, said
    assert "samples cannot be written (No space left on device); training goes on without" in lines
    assert sound(workdir) == [40, 50, 60]
    found, expected = small_run.left(workdir), uninterrupted(STEPS)
    assert (found["leaves"], found["note"]) == (expected["leaves"], expected["note"])
    assert [line for line in expected["lines"] if line in found["lines"]] == found["lines"]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, the device that is always full")
def test_a_log_on_a_full_disk(tmp_path, uninterrupted):
    with open("/dev/full", "w") as log:
        code = subprocess.run(small_run.command(tmp_path, STEPS), stderr=log).returncode
    assert code == 0
    assert small_run.left(tmp_path) == uninterrupted(STEPS)


def refused(*words):
    """What a command says that is refused at once, before it compiles anything."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "JAX_LOG_COMPILES": "1"})
    took = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2 and took.ru_utime - began.ru_utime + took.ru_stime - began.ru_stime < CPU_SECONDS
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "name", ["read-only", pytest.param("file", marks=pytest.mark.slow), pytest.param("below", marks=pytest.mark.slow)]
)
def test_a_directory_that_cannot_be_written(name, made, mount, tmp_path):
    """Root may write wherever a file system lets it, so a directory without the right to is not enough."""
    if name == "read-only":
        disk = mount(tmp_path / "disk", "size=16m")
        shutil.copytree(made, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        places = [disk / "run", disk / "new"]
    else:
        (tmp_path / "file").write_text("not a directory")
        places = [tmp_path / "file" if name == "file" else tmp_path / "file" / "run"]
    for place in places:
        line = refused(*small_run.command(place, STEPS))
        assert line.startswith(f"jaxgan: --workdir {place} cannot be written (")


@pytest.fixture
def running(tmp_path):
    """A run that goes on until it is ended, and its directory."""
    workdir = tmp_path / "run"
    process = small_run.start(workdir, 10**9)
    assert process.stderr.readline().startswith("step 0 of")
    yield process, workdir
    process.kill()
    process.communicate()


def test_a_directory_that_another_run_has(running):
    process, workdir = running
    line = refused(*small_run.command(workdir, STEPS))
    expected = f"jaxgan: --workdir {workdir} is in use by process {process.pid} on {socket.gethostname()} since "
    assert line.startswith(expected) and line.endswith(": wait for its end, or use another")
    process.kill()
    process.wait()
    with run.locked(workdir):
        assert json.loads((workdir / "lock.json").read_text())["pid"] == os.getpid()
    assert not (workdir / "lock.json").exists()


@pytest.mark.slow
def test_a_directory_that_another_sweep_has(tmp_path):
    """The second is refused, and not after it has trained; what a killed one leaves is in nobody's way."""
    workdir = tmp_path / "sweep"

    def words(steps):
        program = [sys.executable, "-c", "from jaxgan.cli import main; main()", "sweep", small_run.DIGITS]
        options = ["--workdir", workdir, "--seeds", "1", "--steps", steps, *small_run.GAME]
        return [str(word) for word in (*program, *options)]

    process = subprocess.Popen(words(10**7))
    try:
        while not (workdir / "lock.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        second = subprocess.run(words(2), capture_output=True, text=True)
        assert second.returncode == 2
        assert f"{workdir} is in use by process {process.pid} on {socket.gethostname()}" in told(second.stderr)
    finally:
        process.kill()
        process.wait()
    subprocess.run(words(2), check=True, capture_output=True)
    results = (workdir / "results.json").read_bytes()
    subprocess.run(words(2), check=True, capture_output=True)  # there is nothing left to do
    assert (workdir / "results.json").read_bytes() == results
    fewer = subprocess.run(words(1), capture_output=True, text=True)
    assert fewer.returncode == 2 and f"{workdir} is at step 2: expected --steps of at least" in told(fewer.stderr)
