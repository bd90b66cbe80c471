"""What it costs that nothing is lost: a checkpoint beside a plain one of Orbax, and the guard of a step beside none.

    python tests/faults/checkpoint_cost.py --parameters 10000000 100000000

Alternated on one directory, medians; "blocked" is what a training waits for, "done" when all of it is written.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxgan import checkpoint, chunks, guard, run, seal
from jaxgan import experiment as experiments
from jaxgan.schedule import Schedule

DIGITS = pathlib.Path(__file__).parents[2] / "experiments" / "digits.py"
LEAF = 2**20
"""Numbers in a leaf, as in a convolution of 3 x 3 x 256 x 512."""
NOTE = {"config": {}, "sums": {}, "skips": 0, "best": None}
Timed = tuple[float, float]


def state_of(parameters: int) -> dict[str, jax.Array]:
    """Leaves of so many float32 numbers in all."""
    random = np.random.default_rng(0)
    sizes = [LEAF] * (parameters // LEAF) + [parameters % LEAF]
    return {f"layer_{i:03d}": jnp.asarray(random.normal(size=n), jnp.float32) for i, n in enumerate(sizes) if n}


def ours(directory: pathlib.Path, state: dict, *, finite: bool = True, flush: bool = True) -> Iterator[Timed]:
    """Seconds (blocked, done) of each save; as of a training with the finite check, and all on the disk, or less."""
    kept = seal.flush
    with checkpoint.open_checkpoints(directory) as checkpoints:
        for step in range(10**6):
            seal.flush = kept if flush else lambda path: None
            began = time.perf_counter()
            if finite:
                assert guard.first_nonfinite(state) is None
            checkpoint.save(checkpoints, step, state, NOTE)
            blocked = time.perf_counter() - began
            checkpoints.wait()
            done = time.perf_counter() - began
            seal.flush = kept
            yield blocked, done


def plain(directory: pathlib.Path, state: dict) -> Iterator[Timed]:
    """The same of Orbax's manager, in the background too, which keeps as many."""
    options = ocp.CheckpointManagerOptions(max_to_keep=checkpoint.KEEP)
    with ocp.CheckpointManager(directory, options=options) as manager:
        for step in range(10**6):
            began = time.perf_counter()
            manager.save(step, args=ocp.args.StandardSave(state))
            blocked = time.perf_counter() - began
            manager.wait_until_finished()
            yield blocked, time.perf_counter() - began


def alternated(calls: dict[str, Callable[[], Timed]], rounds: int) -> dict[str, Timed]:
    """Medians of each call's two numbers, after one round that is not counted, in an order that turns round."""
    found = {name: [] for name in calls}
    for i in range(rounds + 1):
        for name in list(calls)[:: 1 if i % 2 else -1]:
            found[name].append(calls[name]())
    return {name: tuple(map(statistics.median, zip(*values[1:], strict=True))) for name, values in found.items()}


def saves(parameters: int, rounds: int, directory: pathlib.Path) -> dict[str, Timed]:
    """Seconds (blocked, done) of one save, by how it is made."""
    state = jax.block_until_ready(state_of(parameters))
    kinds = {
        "orbax": plain(directory / "orbax", state),
        "jaxgan": ours(directory / "jaxgan", state),
        "jaxgan, not flushed": ours(directory / "unflushed", state, flush=False),
        "jaxgan, no finite check, not flushed": ours(directory / "unchecked", state, finite=False, flush=False),
    }
    found = alternated({name: (lambda kind=kind: next(kind)) for name, kind in kinds.items()}, rounds)
    for kind in kinds.values():
        kind.close()
    return found


def steps(rounds: int, seconds: float) -> dict[str, Timed]:
    """Seconds of a step of digits with its defaults, with the guard and without (twice the same number)."""
    function = experiments.load(str(DIGITS))
    game = function()
    data, seed = game.data(), 0
    config = run.describe(str(DIGITS), {}, seed, data.batch_at(seed, 0))
    batch = run.template_batch(config)
    length = Schedule().log

    def of(step):
        where = chunks.machine(step, "jit")
        batches = chunks.loader(data, seed, length, where)(0, length)
        state = [jax.jit(game.gan.init)(jax.random.key(seed), batch)]

        def timed():
            began, count = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                state[0], rows = where.chunk(jax.random.key(1), state[0], batches, jnp.int32(length))
                jax.device_get(rows)
                count += length
            return ((time.perf_counter() - began) / count,) * 2

        return timed

    return alternated({"guarded": of(guard.finite(game.gan.step)), "plain": of(game.gan.step)}, rounds)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, nargs="+", default=[10**7])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default=None, help="where to write; a temporary one by default")
    parser.add_argument("--steps", action="store_true", help="time steps too")
    given = parser.parse_args()
    print(f"jax {jax.__version__}, orbax {ocp.__version__}, {jax.default_backend()}, medians of {given.rounds}")
    for parameters in given.parameters:
        with tempfile.TemporaryDirectory(dir=given.directory) as directory:
            found = saves(parameters, given.rounds, pathlib.Path(directory))
        base = found["orbax"]
        for name, timed in found.items():
            told = [f"{t * 1e3:8.1f} ms ({t / b - 1:+.0%})" for t, b in zip(timed, base, strict=True)]
            print(f"{parameters:>11,} parameters  {name:37} blocked {told[0]}  done {told[1]}", flush=True)
    if given.steps:
        found = steps(given.rounds, 1.0)
        told = {name: f"{timed[0] * 1e6:.0f} us" for name, timed in found.items()}
        print(f"a step of digits: {told}, {found['guarded'][0] / found['plain'][0] - 1:+.2%}")


if __name__ == "__main__":
    sys.exit(main())
