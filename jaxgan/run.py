"""A run directory: what was run, written before the first step and compared when it is resumed."""

import contextlib
import importlib.metadata
import inspect
import json
import math
import os
import pathlib
import platform
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import filelock
import jax
import numpy as np

import jaxgan
from jaxgan import experiment as experiments
from jaxgan.errors import InputError, shown

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
LOCKS = ("lock", "lock.json")
"""Names of the file that is locked, and of the one that tells who holds it."""
CONFIG = "config.json"
"""Name of the file that tells what is run."""
CONFIG_BYTES = 2**20
"""Size of the largest such file that is read."""
BATCH_BYTES = 2**34
"""Size of the largest batch that a `config.json` may tell of."""


class Run(NamedTuple):
    """What `config.json` holds, and a sweep's `sweep.json`.

    Attributes:
      experiment: name of the experiment file.
      digest: SHA-256 of the experiment file.
      options: the experiment's options, all of them.
      seed: seed of everything random.
      batch: shapes and dtypes of one batch: a tree of `{"shape": [...], "dtype": ...}`.
      versions: packages and Python.
    """

    experiment: str
    digest: str
    options: dict[str, Any]
    seed: int
    batch: Any
    versions: dict[str, str]


def describe(path: str, options: dict[str, Any], seed: int, batch: Any) -> Run:
    """The `Run` of an experiment file about to be run."""
    shapes = jax.tree.map(lambda v: {"shape": list(v.shape), "dtype": str(v.dtype)}, batch)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    versions |= {"jaxgan": jaxgan.__version__, "python": platform.python_version()}
    # Through JSON and back, so that it compares equal to what is read (tuples are lists there).
    run = Run(pathlib.Path(path).name, experiments.digest(path), options, seed, shapes, versions)
    return Run(**json.loads(json.dumps(run._asdict())))


def check_writable(workdir: pathlib.Path) -> None:
    """Makes the directory where it is missing.

    Raises:
      InputError: when nothing can be written there.
    """
    probe = workdir / f".probe-{os.getpid()}"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            with probe.open("xb") as file:  # through no link that somebody has put there
                file.write(b"jaxgan")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"--workdir {workdir} cannot be written ({error.strerror}): mend that, or choose another directory"
        ) from error


def check_files(workdir: pathlib.Path) -> None:
    """Refuses a directory from which a link leads elsewhere, or with what is neither file nor folder, such as a pipe.

    Raises:
      InputError: names the first.
    """
    for part in (*(workdir.iterdir() if workdir.is_dir() else ()), *workdir.glob("samples/*")):
        if part.is_symlink():
            raise InputError(f"{part} is a symbolic link: a run directory holds its files itself, move them there")
        if part.exists() and not part.is_file() and not part.is_dir():  # a file of another process may be gone by now
            raise InputError(f"{part} is neither a file nor a folder: remove it, or use another --workdir")


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from using a directory; the system ends a lock with the process that holds it.

    Raises:
      InputError: when another process holds it; it names that process. Also as of `check_files`.
    """
    check_files(workdir)
    lock = filelock.FileLock(workdir / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"--workdir {workdir} is in use by {_holder(workdir)}: wait for its end, or use another"
        ) from None
    about = workdir / "lock.json"
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its holder's name
            about.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            about.unlink()
        lock.release()


def holder(workdir: pathlib.Path) -> str | None:
    """Who trains in a directory, in words; None where nobody does."""
    if not (workdir / "lock").exists():
        return None
    try:
        with filelock.FileLock(workdir / "lock", timeout=0):
            return None
    except filelock.Timeout:
        return _holder(workdir)


def _holder(workdir: pathlib.Path) -> str:
    try:
        with (workdir / "lock.json").open() as file:
            who = "process {pid} on {host} since {since}".format(**json.loads(file.read(1000)))
        return " ".join(who.split())
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def read(workdir: pathlib.Path, name: str = CONFIG) -> Run | None:
    """The run of a directory, or None where there is none.

    Raises:
      InputError: when the file of this name is not one, or something of the run is a link to elsewhere.
    """
    path = workdir / name
    check_files(workdir)
    if not path.exists():
        return None
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        found = Run(**json.loads(path.read_text()))
        check_kinds(found)
        template_batch(found)
    except (OSError, ValueError, TypeError, RecursionError, MemoryError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} is not a run's configuration ({why}): restore it, or use another --workdir"
        ) from error
    return found


def check_kinds(found: Run) -> None:
    """Refuses a configuration whose parts are not of their kinds.

    Raises:
      TypeError: names the first.
    """
    kinds = {"experiment": str, "digest": str, "options": dict, "seed": int, "batch": dict, "versions": dict}
    for name, kind in kinds.items():
        if type(getattr(found, name)) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    if not 0 <= found.seed < 2**32:
        raise TypeError(f"its seed is {found.seed}")


def write(workdir: pathlib.Path, run: Run, name: str = CONFIG) -> None:
    """Writes the file of this name, whole or not at all."""
    partial = workdir / f"{name}.partial"
    partial.write_text(json.dumps(run._asdict(), indent=2, sort_keys=True) + "\n")
    partial.replace(workdir / name)


def check_same(workdir: pathlib.Path, before: Run, now: Run) -> None:
    """Refuses to resume another run than the one in the directory, and tells where the experiment file has changed.

    Raises:
      InputError: when experiment, options, seed or batch differ; it names each difference.
    """
    was, now_is = (
        {("experiment",): r.experiment, ("seed",): r.seed, ("batch",): r.batch}
        | {("option", name): value for name, value in r.options.items()}  # an option may be called "seed" too
        for r in (before, now)
    )
    changes = [
        f"{key[-1]} {was.get(key, 'absent')} -> {now_is.get(key, 'absent')}"
        for key in sorted(was.keys() | now_is.keys())
        if was.get(key, "absent") != now_is.get(key, "absent")
    ]
    if changes:
        raise InputError(
            f"{workdir} holds another run ({shown('; '.join(changes), 1000)}): "
            "resume it with what it was made with, or use another --workdir"
        )
    if before.digest != now.digest:
        print(f"{now.experiment} has changed since {workdir} was begun", file=sys.stderr)


def check_options(path: str, found: Run, offered: dict[str, inspect.Parameter]) -> None:
    """Refuses a run's options that an experiment does not offer, or not of their types.

    Raises:
      InputError: names the first.
    """
    for name, value in found.options.items():
        if name not in offered:
            raise InputError(
                f"{path} has no option {shown(repr(name))}, which the run was made with: use the file of the run"
            )
        kind = offered[name].annotation
        kinds = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}.get(kind)
        allowed = get_args(kind) if get_origin(kind) is Literal else (value,)
        if (kinds is not None and type(value) not in kinds) or value not in allowed:
            given = shown(repr(value))
            raise InputError(f"config.json has {given} for option {name}, expected {kind}: restore the file")


def template_batch(run: Run) -> Any:
    """A batch of zeros of the run's shapes and dtypes, for code that needs no more than these."""
    is_leaf = lambda v: isinstance(v, dict) and v.keys() == {"shape", "dtype"}  # noqa: E731

    def zeros(leaf):
        if not all(type(length) is int and length > 0 for length in leaf["shape"]):
            raise ValueError(f"a batch of the shape {leaf['shape']}")
        dtype = np.dtype(leaf["dtype"])
        if not jax.dtypes.issubdtype(dtype, np.generic) or math.prod(leaf["shape"]) * dtype.itemsize > BATCH_BYTES:
            raise ValueError(f"a batch of {dtype}{leaf['shape']}")
        return np.zeros(leaf["shape"], dtype)

    return jax.tree.map(zeros, run.batch, is_leaf=is_leaf)
