"""Several processes as one run, on one host or many: how they meet, agree, and share out arrays.

Each runs the whole program on its own devices, and the devices of all work together in every step. So nobody acts on
what it alone knows (a signal, a clock, a file) before the others know it: process 0 says it, or all compare. With one
process everything here changes nothing. All call `join`, `most`, `from_first` and `agreed`, in the same order: there
each waits for the others.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, Sharding

from jaxgan import watchdog
from jaxgan.errors import DamagedError, InputError

PyTree = Any
START_SECONDS = 120.0
"""That processes may take to find each other."""
HEARTBEAT_SECONDS = 30
"""Without a word from a process, after which jax ends all the others; its own default is 100."""
SHUTDOWN_SECONDS = 60
"""That a process which is done waits for the others to be done."""
_ERRORS = (InputError, DamagedError)


def join(coordinator: str, count: int, index: int, lift_name: str) -> None:
    """Makes this process one of several, before its devices start; with an empty coordinator it stays alone.

    Args:
      coordinator: `HOST:PORT` of process 0, where it listens for the others; "auto" where the cluster tells jax that
        and the rest (TPU pods, SLURM, Kubernetes, Open MPI).
      count: of processes, 1 where there is no coordinator or it is "auto".
      index: of this one, from 0.
      lift_name: the lift that is to run.

    Raises:
      InputError: when these do not say which process this is, or the lift is of one process only.
    """
    given = f"--coordinator {coordinator!r} --processes {count} --process {index}"
    auto, alone = coordinator == "auto", (count, index) == (1, 0)
    if not coordinator and alone:
        return
    if not alone if auto else not re.fullmatch(r"\S+:\d+", coordinator) or count < 2:
        raise InputError(f"{given}: expected HOST:PORT with --processes, at least 2, and --process; or 'auto' alone")
    if not auto and not 0 <= index < count:
        raise InputError(f"{given}: expected --process 0 to {count - 1}")
    if lift_name not in ("mesh", "fsdp"):
        raise InputError(f"--lift {lift_name} runs one process: expected --lift mesh or fsdp with --coordinator")
    # jax would take SIGTERM for itself; `signals` does.
    jax.config.update("jax_enable_preemption_service", False)
    where = {} if auto else {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
    who = "this process" if auto else f"process {index}"
    unmet = f"{who}: the processes did not meet at {coordinator} within {START_SECONDS:g} s"
    try:
        # jax itself ends a process that met nobody in time, with several lines and no reason.
        with watchdog.limit(START_SECONDS, f"{unmet}: start all, with one address that all can reach"):
            jax.distributed.initialize(
                **where,
                initialization_timeout=int(START_SECONDS) + 60,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
                shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            )
    except (ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{given}: {who} cannot join the others ({why}): check the address and the file") from error


def is_first() -> bool:
    """Whether this process writes the run's files and speaks for all."""
    return jax.process_index() == 0


def most(*values: float) -> list[float]:
    """The largest of each of some numbers over all processes, as float32 has it."""
    if jax.process_count() == 1:
        return list(values)
    return multihost_utils.process_allgather(np.array(values, np.float32)).max(0).tolist()


def from_first(value: Any, source: int = 0) -> Any:
    """What process 0, or another one, has; the others may give anything. JSON can hold it."""
    if jax.process_count() == 1:
        return value
    text = json.dumps(value).encode() if jax.process_index() == source else b""
    is_source = jax.process_index() == source
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text)), is_source))
    sent = np.zeros(1 << length.bit_length(), np.uint8)  # of few sizes: each is compiled
    sent[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(multihost_utils.broadcast_one_to_all(sent, is_source)[:length].astype(np.uint8).tobytes())


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """Lets nobody go on alone: what one process cannot use, in the context, is an error of all.

    Raises:
      InputError: that of the first process that has one; a `DamagedError` likewise.
    """
    if jax.process_count() == 1:
        yield
        return
    mine = None
    try:
        yield
    except _ERRORS as error:
        mine = error
    (source,) = most(0 if mine is None else jax.process_count() - jax.process_index())
    if source:
        source = jax.process_count() - int(source)
        kinds = {kind.__name__: kind for kind in _ERRORS}
        kind, text = from_first(None if mine is None else (type(mine).__name__, str(mine)), source)
        raise kinds[kind](text if source in (0, jax.process_index()) else f"process {source}: {text}") from mine


def rows(sharding: Sharding, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Which rows of an axis the devices of this process hold of an array, ascending."""
    held = [index[axis].indices(shape[axis]) for index in sharding.addressable_devices_indices_map(shape).values()]
    return np.concatenate([np.arange(*bounds) for bounds in sorted(held)])


def here(sharding: Sharding) -> Sharding:
    """The same sharding over the devices of this process alone."""
    if sharding.is_fully_addressable:
        return sharding
    mine = [device for device in sharding.mesh.devices.flat if device.process_index == jax.process_index()]
    return NamedSharding(Mesh(mine, sharding.mesh.axis_names), sharding.spec)


def put(tree: PyTree, sharding: Sharding) -> PyTree:
    """What every process has alike, on the devices of all; `jax.device_put` would ask each time whether it is alike."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def of(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(of(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return joined(jax.device_put(np.asarray(leaf), here(sharding)), leaf.shape, sharding)

    return jax.tree.map(of, tree)


def joined(part: jax.Array, shape: tuple[int, ...], sharding: Sharding) -> jax.Array:
    """The array of a shape, on the devices of all processes, whose part on `here(sharding)` this is."""
    held = [shard.data for shard in part.addressable_shards]
    return jax.make_array_from_single_device_arrays(shape, sharding, held)
