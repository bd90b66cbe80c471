"""Everything that can be refused about a training, refused before anything compiles."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan import processes, run
from jaxgan.data import Data, files
from jaxgan.errors import InputError
from jaxgan.experiment import Experiment

PyTree = Any


def prepare(
    experiment: Experiment, path: str, options: dict[str, Any], workdir: pathlib.Path, *, seed: int, lift_name: str
) -> tuple[run.Run, Data]:
    """Checks the directory, the data, and that the directory holds no other run.

    Args:
      experiment: what `experiment(**options)` of the file at `path` returned.
      path: the experiment file.
      options: all its options.
      workdir: the run directory, made where it is missing.
      seed: seed of everything random.
      lift_name: `jit`, `pmap`, `mesh` or `fsdp`.

    Returns:
      The configuration and the training data.

    Raises:
      InputError: when something given cannot be used.
    """
    if processes.is_first():
        run.check_writable(workdir)
    before = run.read(workdir) if processes.is_first() else None
    data = experiment.data()
    check_memory(experiment, data, seed)
    batch = data.batch_at(seed, 0)
    now = run.describe(path, options, seed, batch)
    if before is not None:
        run.check_same(workdir, before, now)
    check_batch(experiment, data, batch, 1 if lift_name == "jit" else jax.device_count())
    return now, data


def check_memory(experiment: Experiment, data: Data, seed: int) -> None:
    """Refuses what this machine cannot hold, before any of it is made.

    Raises:
      InputError: when the state and a batch are larger than memory, or the networks refuse their sizes.
    """
    batch = jax.eval_shape(data.batch, data.arrays, data.feed(seed, 0))
    try:
        state = jax.eval_shape(experiment.gan.init, jax.random.key(0), batch)
    except ValueError as error:
        raise InputError(f"the networks cannot be made: {error}") from error
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((batch, state)))
    if size > jax.process_count() * files.memory():
        raise InputError(
            f"networks, optimisers and a batch take {size} bytes, more than the {files.memory()} of this machine's "
            "memory: choose smaller ones"
        )


def check_batch(experiment: Experiment, data: Data, batch: PyTree, devices: int) -> None:
    """Refuses a first batch that the training could not be right with.

    Raises:
      InputError: when it is not of as many examples as it should be, finite floats in the data's range and the
        generator's shape, or cannot be split.
    """
    size = data.batch_size
    if size < 1:
        raise InputError(f"a batch of {size} examples: expected at least 1")
    if size % devices:
        fitting = max(size // devices, 1) * devices
        use = f"use {fitting}, say" if fitting <= (data.size or fitting) else f"use fewer, the set has {data.size}"
        raise InputError(f"a batch of {size} examples does not split over {devices} devices: {use}")
    if not isinstance(batch, dict) or not jax.tree.leaves(batch.get("x")):
        raise InputError('the first batch has no examples under "x": expected {"x": array, ...}')
    leaves = jax.tree.leaves(batch)
    if any(leaf.shape[:1] != (size,) for leaf in leaves):
        raise InputError(
            f"the first batch has arrays of {[list(leaf.shape) for leaf in leaves]}: expected {size} examples in each"
        )
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not jnp.isfinite(leaf).all():
            raise InputError("the first batch has values that are not finite: clean the data")
    for x in jax.tree.leaves(batch["x"]):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(f"the first batch is {x.dtype}: expected floating point")
        if not x.size:
            raise InputError(f"the first batch has an array of {list(x.shape)}: expected no axis of length 0")
        low, high = float(x.min()), float(x.max())
        if data.range is not None and not (data.range[0] <= low and high <= data.range[1]):
            raise InputError(
                f"the first batch lies in [{low:g}, {high:g}]: expected {list(data.range)}; rescale the data"
            )
    state = jax.eval_shape(experiment.gan.init, jax.random.key(0), batch)
    made = jax.eval_shape(experiment.gan.sample, jax.random.key(0), state, batch)
    shapes = [[list(v.shape[1:]) for v in jax.tree.leaves(tree)] for tree in (made, batch["x"])]
    if shapes[0] != shapes[1]:
        raise InputError(f"the generator makes {shapes[0]}, the data are {shapes[1]}: they must agree")
