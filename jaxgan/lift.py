"""One step, every machine: each lift is a few lines around `step(key, state, batch) -> (state, metrics)`.

A lift of a step is called as the step is, with the batch whole. `scan` and `chunk` make of a step one that takes many
batches at once, `[steps, batch, ...]`; they are lifted in turn with `batch_axis=1`.

For many devices, make the state on all of them, `jax.jit(gan.init, out_shardings=NamedSharding(mesh, P()))(...)` (for
`fsdp`, with the shardings of `spread`). A state from one device is taken too, but then the second call, whose state
lies on all, compiles the step once more.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

PyTree = Any
AXIS = "data"
"""Name of the axis over which a batch is split: `make_gan(..., axis_name=lift.AXIS)` for `pmap`."""
LEAST = 2**14
"""Numbers in the smallest leaf that `spread` splits: 64 KiB in float32."""


def jit(step: Callable) -> Callable:
    """Compiles a step for one device; the state that goes in is given up (donated)."""
    return jax.jit(step, donate_argnums=1)


def pmap(step: Callable, *, batch_axis: int = 0) -> Callable:
    """Compiles a step for all devices, each with its part of the batch and the whole state.

    The step must average over `AXIS` itself: build its GAN, and its batch normalisation, with `axis_name=lift.AXIS`.

    Args:
      step: `(key, state, batch, ...) -> (state, metrics)`; further arguments go to every device whole.
      batch_axis: axis of the batch's leaves that is split; the number of devices divides its length.

    Returns:
      A function of the same arguments.
    """
    devices = jax.device_count()
    axes = (None, None, batch_axis) + (None,) * (len(inspect.signature(step).parameters) - 3)
    mapped = jax.pmap(step, AXIS, in_axes=axes, out_axes=None, donate_argnums=1)

    def split(v):
        return v.reshape(*v.shape[:batch_axis], devices, -1, *v.shape[batch_axis + 1 :])

    return lambda key, state, batch, *rest: mapped(key, state, jax.tree.map(split, batch), *rest)


def data_mesh() -> Mesh:
    """All devices in one axis, `AXIS`."""
    return Mesh(jax.devices(), (AXIS,))


def mesh(step: Callable, mesh: Mesh, *, batch_axis: int = 0) -> Callable:
    """Compiles a step for a mesh of devices: the batch split over its first axis, all else on every device.

    The step is the one-device step, unchanged; the compiler splits it, and its result does not depend on the mesh but
    for rounding.

    Args:
      step: `(key, state, batch, ...) -> (state, metrics)`.
      mesh: devices; `data_mesh()` has them all.
      batch_axis: axis of the batch's leaves that is split; the mesh divides its length.

    Returns:
      A function of the same arguments.
    """
    return _in_mesh(step, mesh, batch_axis, NamedSharding(mesh, PartitionSpec()))


def fsdp(step: Callable, mesh: Mesh, *, batch_axis: int = 0) -> Callable:
    """Compiles a step for a mesh whose devices hold a part of the state each, for networks that do not fit into one.

    "Fully sharded data parallel": the batch is split as by `mesh`, the state as `spread` says. A network's parameters
    are gathered on every device to run it, its gradients are added up over the devices, and each of them updates its
    own part of parameters, optimiser and average. The result is the one-device step's but for rounding. Make the state
    where it is to lie, so that it is never whole anywhere:

        shardings = lift.spread(jax.eval_shape(gan.init, key, batch), devices)
        state = jax.jit(gan.init, out_shardings=shardings)(key, batch)

    Args:
      step: `(key, state, batch, ...) -> (state, metrics)`.
      mesh: devices; `data_mesh()` has them all.
      batch_axis: axis of the batch's leaves that is split; the mesh divides its length.

    Returns:
      A function of the same arguments.

    References:
      Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion Parameter Models,
      https://arxiv.org/abs/1910.02054, 2019, Section 5.
    """

    @functools.wraps(step)
    def spread_again(*arguments):
        state, metrics = step(*arguments)
        return jax.lax.with_sharding_constraint(state, spread(state, mesh)), metrics

    return _in_mesh(spread_again, mesh, batch_axis, None)


def spread(tree: PyTree, mesh: Mesh) -> PyTree:
    """Shardings that split each leaf over a mesh, along its longest axis that the number of devices divides.

    Leaves without such an axis stay whole on every device, and so do those of fewer numbers than `LEAST` (biases,
    statistics): together they take little memory, and gathering each costs a message's delay whatever its size.

    Args:
      tree: arrays or their shapes, such as `jax.eval_shape(gan.init, key, batch)`.
      mesh: devices.

    Returns:
      A `NamedSharding` for each leaf.
    """

    name = mesh.axis_names[0]

    def of(leaf):
        axes = [axis for axis, length in enumerate(leaf.shape) if length % mesh.shape[name] == 0]
        if leaf.size < LEAST or not axes:
            return NamedSharding(mesh, PartitionSpec())
        longest = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, name))

    return jax.tree.map(of, tree)


def _in_mesh(step: Callable, mesh: Mesh, batch_axis: int, state: Sharding | None) -> Callable:
    """The step compiled for a mesh, the state in the sharding given, or (None) in that of its leaves."""
    whole = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec(*(None,) * batch_axis, mesh.axis_names[0]))
    rest = (whole,) * (len(inspect.signature(step).parameters) - 3)

    @functools.wraps(step)
    def in_mesh(*arguments):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(*arguments)

    shardings = {"in_shardings": (whole, state, split, *rest), "out_shardings": (state, whole)}
    return jax.jit(in_mesh, donate_argnums=1, **shardings)


def scan(step: Callable) -> Callable:
    """Many steps as one: `(key, state, batches) -> (state, metrics)`, batches and metrics `[steps, ...]`."""
    return lambda key, state, batches: jax.lax.scan(functools.partial(step, key), state, batches)


def chunk(step: Callable) -> Callable:
    """Like `scan`, but only the first `count` batches are used: `(key, state, batches, count) -> (state, metrics)`.

    One compiled program serves every count, so that where a run was cut into chunks cannot change its result. Metrics
    past `count` are zero.
    """

    step = jax.jit(step, inline=True)  # traced once, for the metrics' shapes and for the loop

    def steps(key, state, batches, count):
        length = jax.tree.leaves(batches)[0].shape[0]
        first = jax.tree.map(lambda v: v[0], batches)
        empty = jax.tree.map(
            lambda m: jnp.zeros((length, *m.shape), m.dtype), jax.eval_shape(step, key, state, first)[1]
        )

        def body(i, carry):
            state, rows = carry
            batch = jax.tree.map(lambda v: jax.lax.dynamic_index_in_dim(v, i, keepdims=False), batches)
            state, metrics = step(key, state, batch)
            return state, jax.tree.map(lambda row, m: row.at[i].set(m), rows, metrics)

        return jax.lax.fori_loop(0, count, body, (state, empty))

    return steps


def population(step: Callable) -> Callable:
    """A step for many runs at once, on one batch: keys and states have a leading axis, `(keys, states, batch)`."""
    return jax.vmap(step, in_axes=(0, 0, None))
