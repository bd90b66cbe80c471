"""A run directory: what was run, written before the first step and compared when it is resumed."""

import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxgan
from jaxgan import experiment as experiments
from jaxgan.errors import InputError

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Run(NamedTuple):
    """What `config.json` holds.

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
        probe.write_bytes(b"jaxgan")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"--workdir {workdir} cannot be written ({error.strerror}): choose another directory"
        ) from error


def read(workdir: pathlib.Path) -> Run | None:
    """The run of a directory, or None where there is none.

    Raises:
      InputError: when its `config.json` is not one.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        return Run(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a run's configuration ({error}): restore it, or use another --workdir"
        ) from error


def write(workdir: pathlib.Path, run: Run) -> None:
    """Writes `config.json`, whole or not at all."""
    partial = workdir / "config.json.partial"
    partial.write_text(json.dumps(run._asdict(), indent=2, sort_keys=True) + "\n")
    partial.replace(workdir / "config.json")


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
            f"{workdir} holds another run ({'; '.join(changes)}): "
            "resume it with what it was made with, or use another --workdir"
        )
    if before.digest != now.digest:
        print(f"{now.experiment} has changed since {workdir} was begun", file=sys.stderr)


def template_batch(run: Run) -> Any:
    """A batch of zeros of the run's shapes and dtypes, for code that needs no more than these."""
    is_leaf = lambda v: isinstance(v, dict) and v.keys() == {"shape", "dtype"}  # noqa: E731
    return jax.tree.map(lambda v: np.zeros(v["shape"], v["dtype"]), run.batch, is_leaf=is_leaf)
