"""Everything that can be refused about a training, refused before anything compiles."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import run
from jaxgan.data import Data
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
    run.check_writable(workdir)
    before = run.read(workdir)
    data = experiment.data()
    batch = data.batch_at(seed, 0)
    now = run.describe(path, options, seed, batch)
    if before is not None:
        run.check_same(workdir, before, now)
    check_batch(experiment, data, batch, 1 if lift_name == "jit" else jax.device_count())
    return now, data


def check_batch(experiment: Experiment, data: Data, batch: PyTree, devices: int) -> None:
    """Refuses a first batch that the training could not be right with.

    Raises:
      InputError: when it is not of finite floats in the data's range and the generator's shape, or cannot be split.
    """
    if data.batch_size % devices:
        raise InputError(
            f"a batch of {data.batch_size} examples does not split over {devices} devices: choose a multiple"
        )
    for x in jax.tree.leaves(batch["x"]):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(f"the first batch is {x.dtype}: expected floating point")
        low, high = float(x.min()), float(x.max())
        if not np.isfinite([low, high]).all():
            raise InputError("the first batch has values that are not finite: clean the data")
        if data.range is not None and not (data.range[0] <= low and high <= data.range[1]):
            raise InputError(
                f"the first batch lies in [{low:g}, {high:g}]: expected {list(data.range)}; rescale the data"
            )
    state = jax.eval_shape(experiment.gan.init, jax.random.key(0), batch)
    made = jax.eval_shape(experiment.gan.sample, jax.random.key(0), state, batch)
    shapes = [[list(v.shape[1:]) for v in jax.tree.leaves(tree)] for tree in (made, batch["x"])]
    if shapes[0] != shapes[1]:
        raise InputError(f"the generator makes {shapes[0]}, the data are {shapes[1]}: they must agree")
