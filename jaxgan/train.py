"""The host loop: feed, log, sample, checkpoint, resume."""

import contextlib
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import checkpoint, chunks, guard, monitor, processes, progress, report, run, signals, watchdog
from jaxgan.data import Data
from jaxgan.errors import DivergedError, Stopped
from jaxgan.evaluation import Wanted
from jaxgan.experiment import Experiment
from jaxgan.progress import Progress
from jaxgan.schedule import Best, Schedule, Target

PyTree = Any
MOST_SKIPS = 10
"""Steps in a row that may leave the finite numbers before a run ends."""


class Loop(NamedTuple):
    """What stays as it is from one chunk of steps to the next.

    Attributes:
      experiment: the game.
      config: what is run.
      batch: zeros of a batch's shapes.
      examples: in a batch.
      keys: of the latents of pictures and of evaluations.
      schedule: when to do what.
      evaluate: measures samples, or None.
      target: ends the run, or None.
      best: which checkpoint to keep, or None.
      checkpoints: where they are written.
      watch: the run's records.
      wish: whether a signal has come.
      pulse: ends one of several processes when they stand still.
    """

    experiment: Experiment
    config: run.Run
    batch: PyTree
    examples: int
    keys: list[jax.Array]
    schedule: Schedule
    evaluate: Callable | None
    target: Target | None
    best: Best | None
    checkpoints: checkpoint.Checkpoints
    watch: monitor.Monitor
    wish: signals.Wish
    pulse: watchdog.Pulse


class Now(NamedTuple):
    """What changes.

    Attributes:
      progress: what goes into checkpoints.
      timing: since the last line.
      saved: step of the newest checkpoint.
    """

    progress: Progress
    timing: monitor.Timing
    saved: int


def save(loop: Loop, state: PyTree, now: Now) -> Now:
    """Writes a checkpoint, where there is none of this step."""
    step = int(state.step)
    if now.saved == step:
        return now
    loop.watch.flush()
    progress.save(loop.checkpoints, loop.config, state, now.progress)
    return now._replace(saved=step)


def conclude(loop: Loop, state: PyTree, now: Now, last: bool) -> tuple[Now, bool]:
    """Saves and tells what is due after a step.

    Returns:
      What has changed, and whether the target is reached.

    Raises:
      Stopped: when a signal has come; the state is saved, and what is not told yet is told when the run goes on.
    """
    step, due = int(state.step), loop.schedule.due(int(state.step), last)
    # While steps are not taken the state stays, and copies of it are not to take the place of older ones.
    wanted = bool(due.checkpoint) and (last or not now.progress.skips)
    waits = loop.best is not None and bool(due.evaluate)  # for the evaluation, which says whether it is the best
    if (wanted and not waits) or loop.wish.received:
        now = save(loop, state, now)
    means = now.progress.sums.means() | now.timing.figures(loop.examples)
    seen = report.gathered(state) if due.sample or due.evaluate else state
    if due.evaluate:
        loop.pulse.rest()
    values, signal = {}, 0
    try:
        with loop.wish.interrupts():
            if processes.is_first():
                values = report.tell(
                    loop.watch, loop.experiment, loop.keys, seen, loop.batch, due, means, loop.evaluate
                )
    except Stopped as stopped:
        signal = stopped.signal
    values, signal = processes.from_first((values, signal))
    loop.pulse.beat()
    if signal:
        save(loop, state, now)
        raise Stopped(signal)
    after = now.progress.told(step, values, loop.best)
    reached = loop.target is not None and loop.target.reached(values)
    if reached or after.best != now.progress.best or (wanted and waits):
        # As before the line, as every checkpoint: who goes on from it finds the line in the file.
        now = save(loop, state, now._replace(progress=now.progress._replace(best=after.best)))
    if reached:
        loop.watch.say(f"step {step}: the target is reached, {loop.target.name} is {values[loop.target.name]}")
    return now._replace(progress=after, timing=monitor.Timing(0, 0.0, 0.0) if due.log else now.timing), reached


def count(loop: Loop, done: chunks.Chunk, now: Now, most_skips: int, again: Callable) -> Now:
    """Adds the metrics of a chunk of steps.

    Raises:
      DivergedError: when so many steps in a row were not taken; says why.
    """
    rows, number = guard.taken(done.rows), len(done.rows[guard.SKIPPED])
    before = now.progress
    skips, at = guard.in_a_row(before.skips, done.rows, most_skips)
    if at is not None:
        step = done.step - number + at + 1
        why = again(done.state, step)
        raise DivergedError(
            f"step {step}, the last of {skips} in a row not taken: {why}; {progress.kept(loop.checkpoints)}"
        )
    taken = len(rows["generator/loss"])
    if taken < number:
        loop.watch.say(
            f"step {done.step}: {number - taken} of the last {number} steps left the finite numbers, not taken"
        )
    loop.watch.advance(number)
    sums = before.sums.add(rows).skip(number - taken)
    return now._replace(
        progress=before._replace(sums=sums, skips=skips), timing=now.timing.add(number, done.seconds, done.waited)
    )


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
    best: Best | None = None,
    most_skips: int = MOST_SKIPS,
    stall_seconds: float = watchdog.STALL_SECONDS,
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
      best: which checkpoint to keep beside the newest ones.
      most_skips: steps in a row that may leave the finite numbers before the run ends; none of them is taken.
      stall_seconds: without a finished chunk of steps, after which one of several processes ends itself.

    Raises:
      InputError: when the checkpoint does not fit, or what is wanted cannot be measured.
      DivergedError: when so many steps in a row were not taken.
      UnwrittenError: when a checkpoint cannot be written.
      Stopped: when a signal has ended the run; it is saved.
    """
    where = chunks.machine(guard.finite(experiment.gan.step), lift_name)
    k_init, k_step, *keys = jax.random.split(jax.random.key(config.seed), 4)
    k_init, k_step = processes.put((k_init, k_step), where.whole)
    batch = run.template_batch(config)
    sharding = chunks.state_sharding(where, lift_name, jax.eval_shape(experiment.gan.init, k_init, batch))
    evaluate = None
    with processes.agreed():
        if schedule.evaluate and processes.is_first():
            evaluate = experiment.evaluate(wanted)  # refuses before anything compiles
    length = chunks.chunk_length(batch, schedule.log)
    load = chunks.loader(data, config.seed, length, where)

    def again(state, step):
        """Why a step was not taken, by the step without the guard."""
        batches, plain = load(step - 1, 1), chunks.machine(experiment.gan.step, lift_name)
        state = state._replace(step=processes.put(np.int32(step - 1), state.step.sharding))
        return guard.why(batches, *plain.chunk(k_step, state, batches, processes.put(np.int32(1), where.whole)))

    with checkpoint.open_checkpoints(workdir / "checkpoints") as checkpoints:
        state, standing = progress.start(experiment, config, workdir, k_init, sharding)
        first = int(state.step)
        values = monitor.line_of(workdir, first)
        # A signal may have come while the last step was being told: then the rest of it is told now.
        told = first == 0 or report.was_told(workdir, first, schedule.due(first, first >= steps), values)
        values, told = processes.from_first((values, told))
        if told and (first >= steps or (target is not None and target.reached(values))):
            if processes.is_first():
                print(f"{workdir} is at step {first}: nothing to do", file=sys.stderr)
            return
        several = jax.process_count() > 1
        silent = not processes.is_first()
        records = monitor.open_monitor(workdir, first if told else first - 1, steps, silent=silent)
        with records as watch, signals.listening(alone=not several) as wish, contextlib.ExitStack() as last:
            last.callback(checkpoints.wait)  # while a second signal still has to be one to end this
            pulse = last.enter_context(watchdog.watched(stall_seconds))
            watch.say(f"step {first} of {steps} on {where.whole.num_devices} {jax.default_backend()} device(s)")
            loop = Loop(
                experiment,
                config,
                batch,
                data.batch_size,
                keys,
                schedule,
                evaluate,
                target,
                best,
                checkpoints,
                watch,
                wish,
                pulse,
            )
            now = Now(standing.told(first, values, best) if told else standing, monitor.Timing(0, 0.0, 0.0), first)
            try:
                with contextlib.nullcontext() if several else wish.interrupts():
                    if first == 0 and processes.is_first():
                        real = jax.device_get(data.batch_at(config.seed, 0)["x"])
                        watch.picture("real", 0, experiment.picture(real[: experiment.picture_count]))
                    began = time.perf_counter()
                    # No step is done: this compiles, so that no measured chunk has to.
                    state, _ = where.chunk(k_step, state, load(first, 1), processes.put(np.int32(0), where.whole))
                    watch.say(f"compiled in {time.perf_counter() - began:.1f} s")
                if not told:
                    now, reached = conclude(loop, state, now, first >= steps)
                    if reached or first >= steps:
                        return

                def end(step):
                    return min(step + length, schedule.next_event(step, steps))

                def agree(seconds):
                    """The seconds of the slowest process; what signal one of them has got, all know from here on."""
                    seconds, signal = processes.most(seconds, wish.own[0] if wish.own else 0)
                    wish.learn(int(signal))
                    pulse.beat()
                    return seconds

                parts = last.enter_context(
                    contextlib.closing(
                        chunks.run(
                            where, load, k_step, state, first, steps, end, most_seconds=chunks.SECONDS, agree=agree
                        )
                    )
                )
                for done in parts:
                    now = count(loop, done, now, most_skips, again)
                    now, reached = conclude(loop, done.state, now, done.step == steps)
                    if reached:
                        return
            except Stopped as stopped:
                watch.say(f"{signals.name(stopped.signal)}: {progress.kept(checkpoints)}; the same command goes on")
                raise
