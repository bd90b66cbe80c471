"""The host loop: feed, log, sample, checkpoint, resume."""

import functools
import pathlib
import re
import sys
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import checkpoint, chunks, monitor, run
from jaxgan.data import Data
from jaxgan.errors import InputError
from jaxgan.evaluation import Wanted
from jaxgan.experiment import Experiment

PyTree = Any
PIECE = 64
"""Number of samples that are drawn at a time."""
EVALUATE = "evaluate/"
"""What the names of an evaluation's figures begin with, in a line of metrics."""


class Schedule(NamedTuple):
    """When the host does what, in steps; 0 is never.

    Attributes:
      log: a line of metrics.
      sample: a picture of samples.
      checkpoint: a checkpoint; one is also written at the end.
      evaluate: the experiment's own figures.
    """

    log: int = 50
    sample: int = 500
    checkpoint: int = 500
    evaluate: int = 0

    def next_event(self, step: int, last: int) -> int:
        """The first step after `step` at which there is something to do, at the latest `last`."""
        return min([last, *((step // every + 1) * every for every in self if every)])


class Target(NamedTuple):
    """A condition that ends a run: `name <= value` or `name >= value`."""

    name: str
    at_most: bool
    value: float

    def reached(self, values: dict[str, Any]) -> bool:
        """Whether a line of metrics fulfils the condition; a line without such metrics does not.

        Raises:
          InputError: when the line has metrics of this kind, but not this one.
        """
        kind = EVALUATE if self.name.startswith(EVALUATE) else "discriminator/"
        if not any(name.startswith(kind) for name in values):
            return False
        if self.name not in values:
            raise InputError(f"--target names {self.name}: there are {', '.join(sorted(values))}")
        value = values[self.name]
        if value is None:  # a figure that has no value here, such as the divergence where no sample is good
            return False
        return value <= self.value if self.at_most else value >= self.value


def parse_target(text: str, schedule: Schedule) -> Target:
    """A `Target` from text such as `evaluate/modes>=8`.

    Raises:
      InputError: when it is not of that form, or names a figure of evaluations and there are none.
    """
    match = re.fullmatch(r"\s*([\w/-]+)\s*(<=|>=)\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*", text)
    if not match:
        raise InputError(f"--target {text!r}: expected NAME<=VALUE or NAME>=VALUE, such as 'evaluate/modes>=8'")
    if match[1].startswith(EVALUATE) and not schedule.evaluate:
        raise InputError(f"--target {text!r} needs evaluations: give --evaluate-every, in steps")
    return Target(match[1], match[2] == "<=", float(match[3]))


def draw(experiment: Experiment, key: jax.Array, state: PyTree, batch: PyTree, count: int) -> PyTree:
    """Samples from a state, on the host; the first ones do not depend on how many are drawn.

    Args:
      experiment: whose samples.
      key: of the latents.
      state: a `GANState`.
      batch: any batch; its conditioning is repeated.
      count: how many.

    Returns:
      Arrays `[count, ...]`.
    """
    size = jax.tree.leaves(batch)[0].shape[0]
    piece = jax.tree.map(lambda v: v[np.arange(PIECE) % size], batch)
    # The step's number is whole on every device that the state lies on; so is the average that `fsdp` spreads, now.
    state = state._replace(ema=jax.device_put(state.ema, state.step.sharding))
    sample = jax.jit(experiment.gan.sample)
    pieces = [jax.device_get(sample(jax.random.fold_in(key, i), state, piece)) for i in range(-(-count // PIECE))]
    return jax.tree.map(lambda *v: np.concatenate(v)[:count], *pieces)


def restore(checkpoints: Any, experiment: Experiment, batch: PyTree, sharding: PyTree) -> tuple[PyTree, dict]:
    """The newest state of a run, in a sharding (or one for each leaf), and its note.

    Raises:
      InputError: when there is no checkpoint, or it does not fit the experiment.
    """
    step = checkpoints.latest_step()
    if step is None:
        raise InputError(f"no checkpoint in {checkpoints.directory}: train first")
    template = jax.eval_shape(experiment.gan.init, jax.random.key(0), batch)
    template = jax.tree.map(
        lambda v, where: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=where),
        template,
        jax.tree.broadcast(sharding, template),
    )
    return checkpoint.restore(checkpoints, step, template)


def start(
    experiment: Experiment, config: run.Run, workdir: pathlib.Path, checkpoints: Any, key: jax.Array, sharding: PyTree
) -> tuple[PyTree, dict]:
    """The state that a run goes on from, and its note: the newest checkpoint's, or a new one."""
    batch = run.template_batch(config)
    if checkpoints.latest_step() is not None:
        return restore(checkpoints, experiment, batch, sharding)
    run.write(workdir, config)
    state = jax.jit(experiment.gan.init, out_shardings=sharding)(key, batch)
    return state, {"sums": monitor.Sums({}, 0)._asdict(), "reached": None}


def train(
    experiment: Experiment,
    config: run.Run,
    *,
    data: Data,
    workdir: pathlib.Path,
    steps: int,
    lift_name: str,
    schedule: Schedule,
    wanted: Wanted = Wanted(),  # noqa: B008 - a NamedTuple of constants
    target: Target | None = None,
) -> None:
    """Trains to a step, from where the run directory stands; `preflight.prepare` comes before.

    Args:
      experiment: the game.
      config: what is run, from `preflight.prepare`.
      data: the training data, from `preflight.prepare`.
      workdir: the run directory.
      steps: the step to reach; a run that is there does nothing.
      lift_name: `jit`, `pmap`, `mesh` or `fsdp`.
      schedule: when to log, sample, checkpoint and evaluate.
      wanted: what evaluations measure.
      target: ends the run early when a line of metrics fulfils it.

    Raises:
      InputError: when the checkpoint does not fit, or what is wanted cannot be measured.
      DivergedError: when a metric is no longer finite.
    """
    where = chunks.machine(experiment.gan.step, lift_name)
    k_init, k_step, k_show, k_evaluate = jax.random.split(jax.random.key(config.seed), 4)
    k_step = jax.device_put(k_step, where.whole)
    batch = run.template_batch(config)
    sharding = chunks.state_sharding(where, lift_name, jax.eval_shape(experiment.gan.init, k_init, batch))
    evaluate = experiment.evaluate(wanted) if schedule.evaluate else None  # refuses before anything compiles

    with checkpoint.open_checkpoints(workdir / "checkpoints") as checkpoints:
        begin, note = start(experiment, config, workdir, checkpoints, k_init, sharding)
        first, sums, reached = int(begin.step), monitor.Sums(**note["sums"]), note["reached"]
        if first >= steps or (target is not None and reached == list(target)):
            print(f"{workdir} is at step {first}: nothing to do", file=sys.stderr)
            return
        with monitor.open_monitor(workdir, first, steps) as watch:
            watch.say(f"step {first} of {steps} on {where.whole.num_devices} {jax.default_backend()} device(s)")
            if first == 0:
                real = jax.device_get(data.batch_at(config.seed, 0)["x"])
                watch.picture("real", 0, experiment.picture(real[: experiment.picture_count]))
            length = chunks.chunk_length(batch, schedule.log)
            load = chunks.loader(data, config.seed, length, where)
            began = time.perf_counter()
            # No step is done: this compiles, so that no measured chunk has to.
            begin, _ = where.chunk(k_step, begin, load(first, 1), jax.device_put(np.int32(0), where.whole))
            watch.say(f"compiled in {time.perf_counter() - began:.1f} s")

            def end(step):
                return min(step + length, schedule.next_event(step, steps))

            timing = monitor.Timing(0, 0.0, 0.0)
            for step, state, rows, seconds, waited in chunks.run(where, load, k_step, begin, first, steps, end):
                chunks.check_finite(rows, step, checkpoints.latest_step())
                sums, timing, values = sums.add(rows), timing.add(len(rows["generator/loss"]), seconds, waited), {}
                watch.advance(len(rows["generator/loss"]))
                if step % schedule.log == 0:
                    values = sums.means() | timing.figures(data.batch_size)
                    sums, timing = monitor.Sums({}, 0), monitor.Timing(0, 0.0, 0.0)
                    watch.status(step, values)
                if schedule.evaluate and step % schedule.evaluate == 0:
                    figures = evaluate(functools.partial(draw, experiment, k_evaluate, state, batch))
                    values |= {EVALUATE + name: value for name, value in figures.items()}
                if values:
                    watch.line(step, values)
                reached = target if target is not None and target.reached(values) else None
                last = step == steps or reached is not None
                if last or step % schedule.sample == 0:
                    samples = draw(experiment, k_show, state, batch, experiment.picture_count)
                    watch.picture(f"{step:07d}", step, experiment.picture(samples))
                if last or step % schedule.checkpoint == 0:
                    checkpoint.save(checkpoints, step, state, {"sums": sums._asdict(), "reached": reached})
                if reached is not None:
                    watch.say(f"step {step}: the target is reached, {target.name} is {values[target.name]}")
                    return
