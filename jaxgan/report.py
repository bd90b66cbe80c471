"""What a run tells of a state: pictures, evaluations, a line of metrics."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from jaxgan import sampling
from jaxgan.experiment import Experiment
from jaxgan.monitor import Monitor
from jaxgan.schedule import EVALUATE, Schedule

PyTree = Any


def gathered(state: PyTree) -> PyTree:
    """Of a state that lies on several processes' devices what is sampled and measured, on one device of this process.

    That is the average and the discriminator; of all else what is spread over them is left out. All processes call it.
    """
    if jax.process_count() == 1:
        return state
    judge = state.discriminator
    played = state.ema, judge.params, judge.stats
    ema, params, stats = jax.jit(_same, out_shardings=state.step.sharding)(played)
    state = state._replace(ema=ema, discriminator=judge._replace(params=params, stats=stats))
    return jax.tree.map(lambda v: v.addressable_data(0) if v.is_fully_replicated else None, state)


def _same(tree: PyTree) -> PyTree:
    return tree


def measure(experiment: Experiment, evaluate: Callable, key: jax.Array, state: PyTree, batch: PyTree) -> dict[str, Any]:
    """The figures of an evaluation: of samples, and of the state itself where the experiment has such.

    Args:
      experiment: whose state.
      evaluate: of the experiment.
      key: of the latents.
      state: of several processes, from `gathered`.
      batch: any batch.
    """
    figures = evaluate(functools.partial(sampling.draw, experiment, key, state, batch))
    return figures if experiment.of_state is None else figures | experiment.of_state(key, state)


def tell(
    watch: Monitor,
    experiment: Experiment,
    keys: tuple[jax.Array, jax.Array],
    state: PyTree,
    batch: PyTree,
    due: Schedule,
    means: dict[str, Any],
    evaluate: Callable | None,
) -> dict[str, Any]:
    """Writes what is due after a step: a line of metrics, with the figures of an evaluation, and a picture.

    Args:
      watch: the run's records.
      experiment: whose samples.
      keys: of the latents of pictures and of evaluations.
      state: as of `sampling.draw`.
      batch: any batch.
      due: 1 for what is.
      means: of metrics, for the line.
      evaluate: of the experiment, or None where nothing is to be evaluated.

    Returns:
      The values of the line; none where there is no line.
    """
    step, values = int(state.step), {}
    if due.log:
        values |= means
        watch.status(step, values)
    if due.evaluate:
        figures = measure(experiment, evaluate, keys[1], state, batch)
        values |= {EVALUATE + name: value for name, value in figures.items()}
    if values:
        watch.line(step, values)
    if due.sample:
        samples = sampling.draw(experiment, keys[0], state, batch, experiment.picture_count)
        watch.picture(f"{step:07d}", step, experiment.picture(samples))
    return values


def was_told(workdir: pathlib.Path, step: int, due: Schedule, values: dict[str, Any]) -> bool:
    """Whether a run that stopped at a step had told all that was due there; `values` is its line of that step."""
    kinds = {"generator/": due.log, EVALUATE: due.evaluate}
    line = all(any(name.startswith(kind) for name in values) for kind, wanted in kinds.items() if wanted)
    return line and (not due.sample or (workdir / "samples" / f"{step:07d}.png").exists())
