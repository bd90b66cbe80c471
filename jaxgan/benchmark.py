"""How fast the training of an experiment runs here: the loop, the feed and the program of `jaxgan train`, timed."""

import contextlib
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jaxgan import chunks, cost, guard, hardware
from jaxgan.data import Data
from jaxgan.gan import GAN

PyTree = Any
PROGRAM = "*_steps-*-cache"
"""The file of the function `steps` of `lift.chunk` in jax's cache; a program that is not found there adds another."""


class Loop(NamedTuple):
    """What the loop took.

    Attributes:
      steps: seconds of a step, one figure for each chunk.
      waited: share of the time in which the devices waited for batches.
      dispatch: share of a chunk's time that a call without any step takes.
    """

    steps: list[float]
    waited: float
    dispatch: float


@contextlib.contextmanager
def fresh_cache() -> Iterator[pathlib.Path]:
    """An empty compilation cache that keeps every program, until the end of the context."""
    wanted = {
        "jax_enable_compilation_cache": True,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    with tempfile.TemporaryDirectory() as folder:
        wanted["jax_compilation_cache_dir"] = folder
        before = {name: getattr(jax.config, name) for name in wanted}
        try:
            for name, value in wanted.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()  # jax looks for its folder once
            yield pathlib.Path(folder)
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


def no_step(where: chunks.Machine, key: jax.Array, state: PyTree, batches: PyTree) -> tuple[PyTree, float]:
    """The state, and the seconds that a chunk of no steps takes: its compilation at first, then the host's part."""
    began = time.perf_counter()
    state, rows = where.chunk(key, state, batches, jax.device_put(np.int32(0), where.whole))
    jax.device_get(rows)
    return jax.block_until_ready(state), time.perf_counter() - began


def compile_times(
    where: chunks.Machine, key: jax.Array, state: PyTree, batches: PyTree
) -> tuple[PyTree, dict[str, float | None]]:
    """The state, and the seconds of compilation, tracing and lowering included, without and with jax's cache.

    `compile_warm_s` is None where the program was not in the cache; `temporary_bytes`, what the program holds beside
    its arguments and results, is None with `pmap`, whose program is not to be had.
    """
    with fresh_cache() as folder:
        state, cold = no_step(where, key, state, batches)
        kept = set(folder.glob(PROGRAM))
        jax.clear_caches()
        state, warm = no_step(where, key, state, batches)
        hit = bool(kept) and set(folder.glob(PROGRAM)) == kept
        temporary = None
        if hasattr(where.chunk, "lower"):
            program = where.chunk.lower(key, state, batches, jax.device_put(np.int32(0), where.whole)).compile()
            temporary = program.memory_analysis().temp_size_in_bytes
    return state, {"compile_s": cold, "compile_warm_s": warm if hit else None, "temporary_bytes": temporary}


def loop(
    where: chunks.Machine, load: Callable, key: jax.Array, state: PyTree, batches: PyTree, scan: int, count: int
) -> Loop:
    """Times `count` chunks of `scan` steps after one that is not timed, then chunks of no step.

    Raises:
      DivergedError: when a metric is no longer finite; such numbers may be faster or slower than others.
    """
    timed = []
    for done in chunks.run(where, load, key, state, 0, scan * (count + 1), lambda step: step + scan):
        chunks.check_finite(done.rows, done.step)
        timed.append((done.seconds, done.waited))
        state = done.state
    seconds, waited = zip(*timed[1:], strict=True)
    calls = []
    for _ in range(20):
        state, took = no_step(where, key, state, batches)
        calls.append(took)
    dispatch = statistics.median(calls) / statistics.median(seconds)
    return Loop([s / scan for s in seconds], sum(waited) / sum(seconds), dispatch)


def measure(
    gan: GAN, plain: GAN, data: Data, *, seed: int, lift_name: str, scan: int, steps: int, dtype: str
) -> dict[str, Any]:
    """The figures of one benchmark, and how it was run.

    Args:
      gan: the game as the lift wants it.
      plain: the same for one device, whose step is counted.
      data: the training data.
      seed: of everything random.
      lift_name: as of `chunks.machine`.
      scan: steps in a chunk; fewer where their batches would take more than `chunks.CHUNK_BYTES`.
      steps: steps to time, rounded up to whole chunks.
      dtype: of the matrix product that the speed is compared with.

    Returns:
      Names of `comparison.FIGURES` and of the run to numbers, JSON's types all of them.
    """
    where = chunks.machine(guard.finite(gan.step), lift_name)  # as in training
    k_init, k_step = jax.random.split(jax.random.key(seed))
    k_step = jax.device_put(k_step, where.whole)
    batch = jax.device_get(data.batch_at(seed, 0))
    shapes = jax.eval_shape(gan.init, k_init, batch)
    state = jax.jit(gan.init, out_shardings=chunks.state_sharding(where, lift_name, shapes))(k_init, batch)
    scan = chunks.chunk_length(batch, min(scan, steps))
    count = -(-steps // scan)
    load = chunks.loader(data, seed, scan, where)
    batches = load(0, 1)
    state, compiled = compile_times(where, k_step, state, batches)
    took = loop(where, load, k_step, state, batches, scan, count)
    memory = hardware.peak_memory()  # before other programs take any
    # Host devices share one processor; accelerators have one each.
    together = 1 if jax.default_backend() == "cpu" else where.whole.num_devices
    peak = together * hardware.matrix_peak(dtype)
    work = cost.of(plain.step, k_init, jax.eval_shape(plain.init, k_init, batch), batch)
    step = statistics.median(took.steps)
    return compiled | {
        "step_ms": 1e3 * step,
        "step_ms_low": 1e3 * min(took.steps),
        "step_ms_high": 1e3 * max(took.steps),
        "examples_per_s": data.batch_size / step,
        "generator_parameters": _count(shapes.generator.params),
        "discriminator_parameters": _count(shapes.discriminator.params),
        "flops": work.flops,
        "bytes": work.bytes,
        "peak_flops_per_s": peak,
        "peak_fraction": work.flops / step / peak,
        "peak_dtype": dtype,
        "peak_memory_bytes": memory,
        "input_wait_fraction": took.waited,
        "dispatch_fraction": took.dispatch,
        "lift": lift_name,
        "devices": where.whole.num_devices,
        "scan": scan,
        "steps": scan * count,
        "batch_size": data.batch_size,
    }


def _count(params: PyTree) -> int:
    """Numbers in all leaves together."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
