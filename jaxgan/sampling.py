"""Samples of a trained state: any number, of any class, along lines of the latents, nearer to the mean."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import InputError
from jaxgan.experiment import Experiment
from jaxgan.players import Batch, GANState, PyTree

PIECE = 64
"""Number of samples that are drawn at a time."""
TRUNCATION = "truncation"
"""Name of the statistic by which a generator brings its samples nearer to the mean, where it has such a one."""


def draw(experiment: Experiment, key: jax.Array, state: GANState, batch: Batch, count: int) -> PyTree:
    """Samples from a state, on the host; the first ones do not depend on how many are drawn.

    Args:
      experiment: whose samples, of its conditions one after another.
      key: of the latents.
      state: of several processes, from `report.gathered`.
      batch: any batch; where the experiment has no conditions, the batch's.
      count: how many.

    Returns:
      Arrays `[count, ...]`.
    """
    state, sample = _together(state), jax.jit(experiment.gan.sample)

    def piece(first):
        return sample(jax.random.fold_in(key, first // PIECE), state, _examples(experiment, batch, first))

    return _in_pieces(piece, count)


def interpolate(
    experiment: Experiment, key: jax.Array, state: GANState, batch: Batch, lines: int, steps: int
) -> PyTree:
    """Samples along lines from one latent to another, on the host.

    Both ends of a line are drawn; between them `spherical` goes, at steps of one length. A line is of one condition.

    Args:
      experiment: as of `draw`.
      key: of the latents.
      state: as of `draw`.
      batch: as of `draw`.
      lines: how many.
      steps: samples in each, at least 2.

    Returns:
      Arrays `[lines * steps, ...]`, line by line.

    References:
      White, Sampling Generative Networks, https://arxiv.org/abs/1609.04468, 2016, Section 2.1.
    """
    state, game = _together(state), experiment.gan.game
    k_start, k_end, k_generator = jax.random.split(key, 3)
    examples = _examples(experiment, batch, 0, lines)
    start, end = (game.latent(k, examples) for k in (k_start, k_end))
    path = [jax.tree.map(functools.partial(spherical, t), start, end) for t in np.linspace(0.0, 1.0, steps)]
    path = jax.tree.map(lambda *z: jnp.stack(z, axis=1).reshape(lines * steps, *z[0].shape[1:]), *path)
    cond = jax.tree.map(lambda v: np.repeat(v, steps, axis=0), examples.get("cond"))
    sample = jax.jit(game.sample_at)

    def piece(first):
        at = np.arange(first, first + PIECE) % (lines * steps)
        return sample(k_generator, state, *jax.tree.map(lambda v: v[at], (path, cond)))

    return _in_pieces(piece, lines * steps)


def spherical(t: float, start: jax.Array, end: jax.Array) -> jax.Array:
    """Points on the arc from each start to its end: `(sin((1 - t) a) start + sin(t a) end) / sin(a)`, a the angle.

    Normal latents of many dimensions lie near a sphere, which a straight line would leave for where none are drawn.

    >>> spherical(0.5, jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])).round(4)
    Array([[0.7071, 0.7071]], dtype=float32)

    Args:
      t: 0 at the start, 1 at the end.
      start: `[lines, ...]`.
      end: `[lines, ...]`.

    Returns:
      `[lines, ...]`; on the straight line where start and end are parallel.
    """
    axes = tuple(range(1, start.ndim))
    norms = jnp.sqrt(jnp.sum(start**2, axes, keepdims=True) * jnp.sum(end**2, axes, keepdims=True))
    cosine = jnp.sum(start * end, axes, keepdims=True) / jnp.maximum(norms, jnp.finfo(norms.dtype).tiny)
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    straight = jnp.sin(angle) < 1e-4
    sine = jnp.where(straight, 1.0, jnp.sin(angle))
    near = jnp.where(straight, 1.0 - t, jnp.sin((1.0 - t) * angle) / sine)
    far = jnp.where(straight, t, jnp.sin(t * angle) / sine)
    return near * start + far * end


def truncate(experiment: Experiment, state: GANState, truncation: float) -> tuple[Experiment, GANState]:
    """An experiment and a state whose samples are of better quality and of less variety.

    A generator with a statistic of the name `TRUNCATION` takes it as that: 1 leaves the samples as they are, 0 makes
    all of them the mean's. Of any other the latents are truncated, if they are normal ones: `latents.Normal.truncated`.

    Args:
      experiment: whose samples.
      state: of its training.
      truncation: as above.

    Returns:
      The experiment with other latents, or the state with another average.

    Raises:
      InputError: when the generator has no such statistic and its latents are not normal ones, or not so truncated.
    """
    found = []

    def change(path, leaf):
        if getattr(path[-1], "key", None) != TRUNCATION:
            return leaf
        found.append(path)
        return jnp.full_like(leaf, truncation)

    ema = jax.tree_util.tree_map_with_path(change, state.ema)
    if found:
        return experiment, state._replace(ema=ema)
    game = experiment.gan.game
    if not hasattr(game.latent, "truncated"):
        raise InputError(
            f"--truncation {truncation:g}: this generator keeps no mean and its latents are not normal ones alone, "
            "leave the option out"
        )
    game = dataclasses.replace(game, latent=game.latent.truncated(truncation))
    return experiment._replace(gan=experiment.gan._replace(sample=game.sample, game=game)), state


def _together(state: GANState) -> GANState:
    """The state with its average whole on every device that its step's number lies on, though `fsdp` spreads it."""
    return state._replace(ema=jax.device_put(state.ema, state.step.sharding))


def _in_pieces(piece: Callable[[int], PyTree], count: int) -> PyTree:
    """Samples on the host, made `PIECE` at a time: `first -> [PIECE, ...]`."""
    pieces = [jax.device_get(piece(first)) for first in range(0, count, PIECE)]
    return jax.tree.map(lambda *v: np.concatenate(v)[:count], *pieces)


def _examples(experiment: Experiment, batch: Batch, first: int, count: int = PIECE) -> Batch:
    """A batch of `count` examples, from the first one on of the experiment's conditions, over and over."""

    def repeated(tree):
        return jax.tree.map(lambda v: v[np.arange(first, first + count) % v.shape[0]], tree)

    examples = repeated(batch)
    return examples if experiment.conditions is None else {**examples, "cond": repeated(experiment.conditions)}
