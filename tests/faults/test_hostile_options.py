"""Options from a stranger: every value of every option of every command is taken, or refused in one line."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import requests
from test_hostile_files import bounded

from jaxgan import commands
from jaxgan import experiment as experiments
from jaxgan.features import classifier, recipe
from jaxgan.options import OFFERING

RING = str(pathlib.Path(__file__).parents[2] / "experiments" / "ring.py")
COMMANDS = [c for c in vars(commands).values() if dataclasses.is_dataclass(c) and c is not commands.Measures]
NAMES = {command: command.__name__.lower() for command in COMMANDS}
PLACES = {"experiment": RING, "dataset": "digits"}
"""What commands take without an option's name, and a sound value."""
TINY = {"--width": "8", "--batch-size": "16"}
FEW = 3
"""Cases of each command that are tried usually; all are with `-m slow`."""
SECONDS = 30
"""What one command may take; a tiny one takes about one."""
BYTES = 1 << 30
"""What one command may add to the memory of this process, at its peak."""

VALUES = {
    "negative": "-1",
    "zero": "0",
    "2**31": str(2**31),
    "2**63": str(2**63),
    "thousands of digits": "9" * 5000,
    "beyond floats": "1e400",
    "least float": "5e-324",
    "nan": "nan",
    "infinite": "inf",
    "half": "0.5",
    "nothing": "",
    "a word": "wide",
    "None": "None",
    "many": "1,2,,3",
    "long": "x" * 10_000,
    "letters of others": "\u202eü😀",
    "no letters": "\udcff",
    "a line break": "a\nb",
    "an escape": "\x1b[31m",
    "NUL": "a\0b",
    "a folder": ".",
    "above": "../../../..",
    "a file": "file",
    "in a file": "file/run",
    "nowhere": "/proc/nowhere",
    "a device": "/dev/null",
    "a pipe": "pipe",
    "a link to itself": "loop",
}
"""Hostile values of any option, by what they are."""


def option_names(command):
    """Every option of a command, its own, of what it measures and of the experiment."""
    found = []
    for field in dataclasses.fields(command):
        if field.name == "measures":
            found += [part.name for part in dataclasses.fields(commands.Measures)]
        elif field.name not in PLACES:
            found.append(field.name)
    if NAMES[command] in OFFERING:
        found += experiments.options(experiments.load(RING))
    place = ["PLACE"] if any(field.name in PLACES for field in dataclasses.fields(command)) else []
    return [f"--{name.replace('_', '-')}" for name in found] + place


CASES = [(NAMES[c], option, value) for c in COMMANDS for option in option_names(c) for value in VALUES]


def command_line(command, option, value, trained):
    """A tiny command with one hostile value."""
    place, given = [RING], {"--workdir": "run"}
    match command:
        case "train":
            given |= {"--steps": "2", "--log-every": "1", "--evaluate-every": "0"} | TINY
        case "sweep":
            given |= {"--steps": "2", "--seeds": "1"} | TINY
        case "benchmark":
            given = {"--steps": "2", "--scan": "2"} | TINY
        case "sample":
            given = {"--workdir": str(trained), "--out": "samples.npy", "--count": "2"}
        case "evaluate":
            given = {"--workdir": str(trained)}
        case "extractor":
            place, given = ["digits"], {"--out": "extractor.npz"}
        case "doctor":
            place = []
    if option in ("--metrics", "--extractor", "--extractor-digest", "--samples") and command == "train":
        given["--evaluate-every"] = "2"
    if option == "--extractor-digest":
        given["--extractor"] = "cnn.npz"
    if option == "PLACE":
        return [command, VALUES[value], *(word for pair in given.items() for word in pair)]
    given[option] = VALUES[value]
    return [command, *place, *(f"{name}={text}" for name, text in given.items())]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny run, trained in a process of its own."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    command = [sys.executable, "-c", "from jaxgan.cli import main; main()", "train", RING, "--workdir", workdir]
    tiny = [word for pair in TINY.items() for word in pair]
    subprocess.run([*command, "--steps", "2", *tiny], capture_output=True, check=True)
    return workdir


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """A classifier's file, hardly trained."""
    file = tmp_path_factory.mktemp("eyes") / "cnn.npz"
    classifier.save(recipe.train("digits", epochs=1, say=lambda text: None), file)
    return file


@pytest.fixture
def place(tmp_path, monkeypatch, eyes):
    """The current directory, with files in it that are none to write or to read."""
    whole = recipe.train
    monkeypatch.setattr(recipe, "train", lambda *given, **options: whole(*given, **options, epochs=1))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setattr(requests, "head", unreachable)
    (tmp_path / "file").write_text("in the way")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "cnn.npz").symlink_to(eyes)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def unreachable(url, **options):
    raise requests.ConnectionError("no route")


@contextlib.contextmanager
def at_most(seconds):
    """Fails the test where the block takes longer, in its midst."""

    def late(number, frame):
        pytest.fail(f"after {seconds} s there was no end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(jaxgan, arguments):
    """The exit code of a command, whose outcome is one that a user can understand."""
    with at_most(SECONDS), bounded(BYTES, SECONDS):
        code, out, err = jaxgan(*arguments)
    assert code in (0, 2, 3), err
    assert "Traceback" not in err
    if code == 2:
        assert out == "" or arguments[0] == "doctor", out  # which tells what is the matter
        assert err.startswith("jaxgan: ") and err.count("\n") == 1, err
        assert err[:-1].isprintable()
    return code


def tried(jaxgan, cases, place, trained):
    """Runs commands with hostile values: how often each exit code came."""
    codes = collections.Counter()
    for command, option, value in cases:
        arguments = command_line(command, option, value, trained)
        shutil.rmtree(place / "run", ignore_errors=True)
        try:
            codes[outcome(jaxgan, arguments)] += 1
        except BaseException as error:
            error.add_note(f"{command} {option}: {value}")
            raise
    return codes


@pytest.mark.parametrize("command", NAMES.values())
def test_some_hostile_values_are_taken_or_refused(jaxgan, command, place, trained):
    cases = [case for case in CASES if case[0] == command]
    some = np.random.default_rng(0).choice(len(cases), FEW, replace=False)
    tried(jaxgan, [cases[number] for number in some], place, trained)


@pytest.mark.slow
@pytest.mark.parametrize("command, option", dict.fromkeys((command, option) for command, option, _ in CASES))
def test_hostile_values_are_taken_or_refused(jaxgan, command, option, place, trained, record_property):
    codes = tried(jaxgan, [case for case in CASES if case[:2] == (command, option)], place, trained)
    record_property("exit codes", dict(codes))
    print(f"{command} {option}: {sum(codes.values())} values, by exit code {dict(codes)}")
    assert codes[2]


def test_there_are_hostile_values_of_every_option():
    """Introspection finds them: among them those that commands had when this was written."""
    found = {(command, option) for command, option, _ in CASES}
    for command, option in (
        ("train", "--workdir"), ("train", "--metrics"), ("train", "--width"), ("sweep", "--seeds"),
        ("benchmark", "--compare"), ("sample", "--count"), ("evaluate", "--extractor"), ("extractor", "--manual-dir"),
    ):  # fmt: skip
        assert (command, option) in found
    assert len(CASES) == len(found) * len(VALUES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--width", str(2**31)],
        ["train", "--width", "0"],
        ["train", "--width", "-1"],
        ["train", "--batch-size", str(2**31)],
        ["train", "--batch-size", str(2**63)],
        ["train", "--learning-rate", "nan"],
        ["train", "--learning-rate", "1e400"],
        ["train", "--steps", str(2**31)],
        ["train", "--workdir", "a\0b"],
        ["train", "--workdir", "\udcff"],
        ["train", "--evaluate-every", "2", "--samples", str(2**31)],
        ["benchmark", "--steps", str(2**31)],
        ["benchmark", "--scan", str(2**31)],
        ["benchmark", "--width", str(2**31)],
        ["benchmark", "--compare", "a\nb"],
        ["sweep", "--seeds", str(2**31)],
        ["sweep", "--steps", str(2**63)],
        ["sweep", "--learning-rate", "1e-3,nan"],
        ["sweep", "--width", str(2**31)],
        ["sweep", "--samples", str(2**63)],
        ["sweep", "--extractor", "a\nb"],
        ["sample", "--count", str(2**31)],
        ["sample", "--workdir", "x" * 5000],
        ["evaluate", "--samples", str(2**31)],
        ["evaluate", "--workdir", "x" * 5000],
        ["sweep", "--width", "0"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40].encode("unicode_escape").decode(),
)
def test_what_once_ran_without_end_or_ended_in_a_traceback_is_refused(jaxgan, arguments, place, trained):
    command, *given = arguments
    option = given[-2]
    line = command_line(command, option, "half", trained)
    words = [word for word in line if not word.startswith(f"{option}=")]
    assert outcome(jaxgan, [*words, *given]) == 2
