"""Chunks of steps: where they run, how they are fed, and what comes of each."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from jaxgan import lift, processes
from jaxgan.data import Data
from jaxgan.errors import DivergedError

PyTree = Any
CHUNK_BYTES = 2**28
"""Most memory that the batches of one chunk of steps may take on the device."""
SECONDS = 5.0
"""Longest that the devices work on several steps in one go: a signal waits no longer."""


class Machine(NamedTuple):
    """Where a run's arrays lie and how its chunks of steps are compiled.

    Attributes:
      chunk: `lift.chunk` of the step, compiled for the devices.
      whole: sharding of what every device holds.
      batches: sharding of batches, `[steps, batch, ...]`.
    """

    chunk: Callable
    whole: Sharding
    batches: Sharding


def machine(step: Callable, name: str) -> Machine:
    """The devices and the compiled chunk of one of the lifts `jit`, `pmap`, `mesh`, `fsdp`."""
    steps = lift.chunk(step)
    if name == "jit":
        device = SingleDeviceSharding(jax.devices()[0])
        return Machine(lift.jit(steps), device, device)
    mesh = lift.data_mesh()
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(None, lift.AXIS))
    if name == "pmap":
        return Machine(lift.pmap(steps, batch_axis=1), whole, split)
    over_mesh = lift.fsdp if name == "fsdp" else lift.mesh
    return Machine(over_mesh(steps, mesh, batch_axis=1), whole, split)


def state_sharding(where: Machine, name: str, state: PyTree) -> PyTree:
    """Where a state lies under a lift: with `fsdp` spread over the devices, leaf by leaf, else whole on each.

    Args:
      where: the machine of that lift.
      name: the lift.
      state: arrays or their shapes.
    """
    return lift.spread(state, where.whole.mesh) if name == "fsdp" else where.whole


def chunk_length(batch: PyTree, most: int) -> int:
    """Number of steps in a chunk: at most `most`, and no more than `CHUNK_BYTES` of batches."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
    return max(1, min(most, CHUNK_BYTES // size))


def loader(data: Data, seed: int, length: int, machine: Machine) -> Callable[[int, int], PyTree]:
    """A function `(start, count)` that puts the batches of steps `start, ..., start + count - 1` on the devices.

    What it returns is always `[length, ...]`, the last batch repeated, so that one compiled program takes it. Each of
    several processes feeds what its own devices hold of it, and works with these alone: no order in which this is done
    beside the steps, in a thread of its own, can make processes wait for each other.
    """
    whole, batches = processes.here(machine.whole), processes.here(machine.batches)
    several = whole is not machine.whole
    rows = processes.rows(machine.batches, (length, data.batch_size), 1)
    feed = functools.partial(data.part, rows) if several and data.part is not None else data.feed
    arrays = jax.device_put(data.arrays, whole)

    @functools.partial(jax.jit, out_shardings=batches)
    def make(arrays, fed):
        made = jax.vmap(data.batch, in_axes=(None, 0))(arrays, fed)
        return jax.tree.map(lambda v: v[:, rows], made) if several and data.part is None else made

    def joined(part):
        return processes.joined(part, (length, data.batch_size, *part.shape[2:]), machine.batches)

    def load(start: int, count: int) -> PyTree:
        fed = [feed(seed, step) for step in range(start, start + count)]
        stacked = jax.tree.map(lambda *v: np.stack(v), *fed, *fed[-1:] * (length - count))
        with jax.transfer_guard("disallow"):
            made = make(arrays, jax.device_put(stacked, whole))
            return jax.tree.map(joined, made) if several else made

    return load


class Chunk(NamedTuple):
    """Some steps that were done.

    Attributes:
      step: the number of steps done in all.
      state: the state then; given up when the next chunk is asked for.
      rows: the metrics of these steps, `[steps]` each.
      seconds: wall time.
      waited: seconds of it in which the devices waited for batches.
    """

    step: int
    state: PyTree
    rows: dict[str, np.ndarray]
    seconds: float
    waited: float


def run(
    where: Machine,
    load: Callable,
    key: jax.Array,
    state: PyTree,
    start: int,
    steps: int,
    end: Callable[[int], int],
    *,
    most_seconds: float = math.inf,
    agree: Callable[[float], float] = lambda seconds: seconds,
) -> Iterator[Chunk]:
    """Runs from one step to another; the host makes the next batches while the devices work on these.

    Args:
      where: the machine.
      load: from `loader`.
      key: of the steps.
      state: the state at `start`; given up.
      start: the step to start from.
      steps: the step to reach.
      end: `step -> step`, where the chunk that starts at a step ends at the latest.
      most_seconds: that a chunk of several steps may take, by the speed of the one before.
      agree: of the seconds that a chunk took this process makes those that all processes go by.
    """
    speed = math.nan  # seconds a step

    def stop_of(begin: int) -> int:
        if math.isinf(most_seconds):
            return end(begin)
        # One step, as long as nobody knows how long it takes.
        return min(end(begin), begin + (1 if math.isnan(speed) else max(1, int(most_seconds / speed))))

    with ThreadPoolExecutor(1) as feeder:
        step, stop = start, stop_of(start)
        pending = feeder.submit(load, step, stop - step)
        try:
            while step < steps:
                began = time.perf_counter()
                batches = pending.result()
                waited = time.perf_counter() - began
                count, step = stop - step, stop
                with jax.transfer_guard("disallow"):
                    state, rows = where.chunk(key, state, batches, processes.put(np.int32(count), where.whole))
                    if step < steps:
                        stop = stop_of(step)
                        pending = feeder.submit(load, step, stop - step)
                    rows = {name: values[:count] for name, values in jax.device_get(rows).items()}
                seconds = time.perf_counter() - began
                speed = agree(seconds) / count
                yield Chunk(step, state, rows, seconds, waited)
        finally:
            # Who leaves off early leaves nothing at work: a program that ends then may crash in XLA's threads.
            jax.block_until_ready(pending.result())


def check_finite(rows: dict[str, np.ndarray], step: int) -> None:
    """Refuses metrics of the steps up to `step` that are not finite.

    Raises:
      DivergedError: with the first such step of the first such metric.
    """
    for name, values in rows.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            at = step - len(values) + int(bad[0]) + 1
            raise DivergedError(
                f"step {at}: {name} is {values[bad[0]]}; there is no checkpoint; try a lower learning rate"
            )
