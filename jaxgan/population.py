"""Many runs of one experiment as one program: the members of a population, each with a setting and a seed."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxgan import chunks, lift, signals
from jaxgan.data import Data
from jaxgan.errors import Stopped
from jaxgan.gan import GAN

PyTree = Any
AXIS = "members"
"""Name of the axis over which members are split."""
TAIL = 50
"""Steps in a chunk at most, and steps over which a member's last metrics are averaged."""


class Member(NamedTuple):
    """One run of a population.

    Attributes:
      setting: the options that differ between members, by name.
      seed: of everything random.
    """

    setting: dict[str, float]
    seed: int


class Standing(NamedTuple):
    """Where a population stands: all that it goes on from.

    Attributes:
      step: steps done by every member that has not diverged.
      states: a `GANState` for each member, `[members]`.
      running: who has not diverged, `[members]`.
      tail: metrics of the last `TAIL` steps, `[TAIL, members]` each, the newest last, zero before the first step.
      diverged: of each member that has, the first step with a metric that is not finite, and that metric.
    """

    step: int
    states: PyTree
    running: Any
    tail: dict[str, Any]
    diverged: dict[int, tuple[int, str]]

    def metrics(self, member: int) -> dict[str, float]:
        """A member's means over its last `TAIL` steps, or all where they are fewer."""
        count = min(self.step, TAIL)
        return {name: float(rows[TAIL - count :, member].mean(dtype=np.float64)) for name, rows in self.tail.items()}


def devices(count: int) -> list[jax.Device]:
    """The devices that so many members are split over: no more than give each of them as few members as all would."""
    rounds = -(-count // jax.device_count())
    return jax.devices()[: -(-count // rounds)]


def machine(gan_of: Callable[[dict], GAN], mesh: Mesh) -> tuple[Callable, chunks.Machine]:
    """The compiled functions of a population, members split over the devices of a mesh.

    Whoever is no longer running, having diverged, does no further steps; nobody else notices.

    Args:
      gan_of: `setting -> GAN`; traced, with numbers that are not known yet.
      mesh: devices, in the one axis `AXIS`.

    Returns:
      `init`, `(players, running, batch) -> carried`, and the machine whose `chunk` is
      `(players, carried, batches, count) -> (carried, metrics)`; players `(settings, keys)` and carried
      `(states, running)` are `[members]`, batches `[members, steps, ...]`, metrics `[steps, members]`.
    """
    # A small network does not fill two cores: so a CPU shows itself as several devices, each of which runs its members
    # one after another, many steps at a time, as single runs would. A batched product of different weights is no
    # faster there than its parts in turn, a grouped convolution much slower. What one network does not fill, and what
    # waits for the host at every operation, takes its members at once.
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    for_each = _in_turn if on_cpu else jax.vmap

    def start(batch, player, running):
        setting, key = player
        return gan_of(setting).init(key, batch), running

    def steps(count, player, carried, batches):
        (setting, key), (state, running) = player, carried
        state, rows = lift.chunk(gan_of(setting).step)(key, state, batches, jnp.where(running, count, 0))
        finite = [jnp.isfinite(row).all() for row in jax.tree.leaves(rows)]
        return (state, running & jnp.stack(finite).all()), rows

    # A member is whole on its device: what it runs are the one-device functions, which are to see no mesh.
    alone = functools.partial(jax.sharding.use_abstract_mesh, AbstractMesh((), ()))

    def init(players, running, batch):
        with alone():
            return for_each(functools.partial(start, batch))(players, running)

    def chunk(players, carried, batches, count):
        with alone():
            carried, rows = for_each(functools.partial(steps, count))(players, carried, batches)
        return carried, jax.tree.map(jnp.transpose, rows)

    split, whole = PartitionSpec(AXIS), PartitionSpec()
    over_devices = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
    init = over_devices(init, in_specs=(split, split, whole), out_specs=split)
    chunk = over_devices(chunk, in_specs=(split, split, split, whole), out_specs=(split, PartitionSpec(None, AXIS)))
    where = chunks.Machine(jax.jit(chunk, donate_argnums=1), NamedSharding(mesh, whole), NamedSharding(mesh, split))
    return jax.jit(init), where


def _in_turn(function: Callable) -> Callable:
    """Like `vmap`, one after another."""
    return lambda *arguments: jax.lax.map(lambda items: function(*items), arguments)


def loader(data: Data, seeds: Sequence[int], length: int, where: chunks.Machine) -> Callable[[int, int], PyTree]:
    """`chunks.loader` for members of several seeds: batches `[members, length, ...]`.

    All batches are made on the first device, where `data.arrays` lie once for all members.
    """
    first = where.whole.mesh.devices.flat[0]
    arrays = jax.device_put(data.arrays, first)
    make = jax.jit(jax.vmap(jax.vmap(data.batch, in_axes=(None, 0)), in_axes=(None, 0)))

    def load(start: int, count: int) -> PyTree:
        fed = {}
        for seed in dict.fromkeys(seeds):
            steps = [data.feed(seed, step) for step in range(start, start + count)]
            fed[seed] = jax.tree.map(lambda *v: np.stack(v), *steps, *steps[-1:] * (length - count))
        stacked = jax.tree.map(lambda *v: np.stack(v), *(fed[seed] for seed in seeds))
        with jax.transfer_guard("disallow"):
            return jax.device_put(make(arrays, jax.device_put(stacked, first)), where.batches)

    return load


def shapes(gan_of: Callable[[dict], GAN], data: Data, members: Sequence[Member]) -> tuple[PyTree, PyTree]:
    """Shapes of a population's states and of the metrics of its steps, `[members]`."""

    def play(player, batch):
        (setting, k_init), key = player
        gan = gan_of(setting)
        state = gan.init(k_init, batch)
        return state, gan.step(key, state, batch)[1]

    settings, k_init, k_step = _settings_and_keys(members)
    batch = data.batch_at(members[0].seed, 0)
    return jax.eval_shape(jax.vmap(play, in_axes=(0, None)), ((settings, k_init), k_step), batch)


def train(
    gan_of: Callable[[dict], GAN],
    data: Data,
    members: Sequence[Member],
    steps: int,
    *,
    standing: Standing | None = None,
    keep: Callable[[Standing], None] = lambda standing: None,
    every: int = 2**31,
) -> Standing:
    """Trains members, each as `train.train` would train it alone.

    Args:
      gan_of: `setting -> GAN`, traceable.
      data: of all members.
      members: who.
      steps: the step to reach.
      standing: where they stand, of an earlier call for the same members; None: at the start.
      keep: takes where they stand, on the host, for a later call.
      every: steps after which it is called, as well as at the end.

    Returns:
      Where they stand at the end, on the host.

    Raises:
      Stopped: when a signal has come; `keep` was called.
    """
    if standing is not None and (standing.step == steps or not standing.running.any()):
        return standing
    mesh = Mesh(devices(len(members)), (AXIS,))
    init, where = machine(gan_of, mesh)
    # Places that the devices have beyond the members: they copy the last one, and do no steps.
    places = [*members, *members[-1:] * (-len(members) % mesh.size)]
    seeds, real = [member.seed for member in places], np.arange(len(places)) < len(members)
    batch = data.batch_at(seeds[0], 0)
    of_all = jax.tree.map(lambda v: np.broadcast_to(v, (len(places), *v.shape)), batch)
    length = chunks.chunk_length(of_all, TAIL)
    load = loader(data, seeds, length, where)
    settings, k_init, k_step = jax.device_put(_settings_and_keys(places), where.batches)
    players, first = (settings, k_step), 0 if standing is None else standing.step

    def begin():
        if standing is None:
            return init((settings, k_init), jax.device_put(real, where.batches), jax.device_put(batch, where.whole))
        fill = [*range(len(members)), *[-1] * (len(places) - len(members))]
        states, running = jax.tree.map(lambda v: np.asarray(v)[fill], (standing.states, standing.running))
        return jax.device_put((states, running & real), where.batches)

    def end(step):
        return min(step + length, steps, step - step % every + every)

    with signals.listening() as wish:
        began = time.perf_counter()
        with wish.interrupts():
            # No step is done: this compiles.
            none = jax.device_put(np.int32(0), where.whole)
            carried, rows = where.chunk(players, begin(), load(first, 1), none)
        machinery = f"{mesh.size} {jax.default_backend()} device(s)"
        _say(f"{len(members)} members on {machinery}; compiled in {time.perf_counter() - began:.1f} s")
        if standing is None:
            tail, diverged = {name: np.zeros((TAIL, len(members)), v.dtype) for name, v in rows.items()}, {}
        else:
            tail, diverged = standing.tail, dict(standing.diverged)

        def now(step, carried):
            states, running = jax.tree.map(lambda v: v[: len(members)], jax.device_get(carried))
            return Standing(step, states, running, tail, dict(diverged))

        parts = chunks.run(where, load, players, carried, first, steps, end, most_seconds=chunks.SECONDS)
        bar = tqdm(total=steps, initial=first, unit="step", dynamic_ncols=True, disable=None)  # where somebody watches
        with bar, contextlib.closing(parts):
            for done in parts:
                found = _first_divergences(done.rows, done.step)
                diverged |= found
                tail = {
                    name: np.concatenate([tail[name], v[:, : len(members)]])[-TAIL:] for name, v in done.rows.items()
                }
                _tell(bar, done, members, found, len(members) - len(diverged))
                over = done.step == steps or len(diverged) == len(members)
                if over or wish.received or done.step % every == 0:
                    standing = now(done.step, done.state)
                    keep(standing)
                if over:
                    return standing
                if wish.received:
                    _say(f"{signals.name(wish.received[0])}: step {done.step} is kept; the same command goes on")
                    raise Stopped(wish.received[0])


def _tell(
    bar: tqdm, done: chunks.Chunk, members: Sequence[Member], found: dict[int, tuple[int, str]], running: int
) -> None:
    """Tells of a chunk: who has diverged in it, and how far all are, by the bar or, where nobody watches, ten lines."""
    for i, (step, name) in found.items():
        setting, seed = members[i]
        _say(f"{setting} with seed {seed} diverged: {name} of step {step} is not finite")
    count = len(done.rows["generator/loss"])
    bar.update(count)
    if bar.disable and done.step * 10 // bar.total > (done.step - count) * 10 // bar.total:
        _say(f"step {done.step}/{bar.total}  {count / done.seconds:.3g} steps/s, {running} of {len(members)} members")


def _say(text: str) -> None:
    """A line to whoever watches, beside the bar."""
    tqdm.write(text, file=sys.stderr)


def _settings_and_keys(members: Sequence[Member]) -> tuple[dict[str, np.ndarray], jax.Array, jax.Array]:
    """Settings, keys to begin with and keys of the steps, `[members]`; the keys are those of `train.train`."""
    seeds = np.array([member.seed for member in members], np.uint32)
    keys = jax.vmap(lambda seed: jax.random.split(jax.random.key(seed), 4))(seeds)
    names = members[0].setting
    settings = {name: np.array([member.setting[name] for member in members], np.float32) for name in names}
    return settings, keys[:, 0], keys[:, 1]


def _first_divergences(rows: dict[str, np.ndarray], step: int) -> dict[int, tuple[int, str]]:
    """By member, where metrics `[steps, members]` up to `step` are not finite: the first such step and metric."""
    found = {}
    for name, values in rows.items():
        for i in np.flatnonzero(~np.isfinite(values).all(0)).tolist():
            first = step - len(values) + int(np.isfinite(values[:, i]).argmin()) + 1
            found[i] = min(found.get(i, (first, name)), (first, name))
    return found
