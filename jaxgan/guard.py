"""Steps that leave the finite numbers: not taken, counted, and in the end told by the name of what left them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
SKIPPED = "skipped"
"""The metric that is 1 for a step that was not taken."""


def finite(step: Callable) -> Callable:
    """The same step, but where it leaves the finite numbers the state stays as it was, its number apart.

    What is looked at is the metrics, both gradients' norms among them, and what a step carries on besides parameters:
    the statistics of batch normalisation, which one batch with a NaN would poison for ever, and the memories of
    penalties. An update of finite gradients is finite for any learning rate below 1e19. The parameters themselves are
    not read: that is a pass over the whole state, 1 to 10 % of a step, where the choice between old and new costs
    nothing, being part of the update.

    Args:
      step: `(key, state, batch) -> (GANState, metrics)`; under `pmap` its metrics and statistics are averaged over the
        devices, so that all of them see a number that is not finite.

    Returns:
      A function of the same arguments, with the metric `SKIPPED` besides.
    """

    def guarded(key, state, batch):
        new, metrics = step(key, state, batch)
        players = new.generator, new.discriminator
        watched = jax.tree.leaves((metrics, [(player.stats, player.memory) for player in players]))
        sound = jnp.stack([jnp.isfinite(v).all() for v in watched]).all()
        kept = jax.tree.map(lambda after, before: jnp.where(sound, after, before), new, state)
        return kept._replace(step=new.step), metrics | {SKIPPED: 1.0 - sound.astype(jnp.float32)}

    return guarded


def first_nonfinite(tree: PyTree) -> str | None:
    """The path of the first leaf, arrays on any devices, with a number that is not finite; None where all are."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    floating = [(path, leaf) for path, leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if not floating:
        return None
    sound = jax.device_get(_finite_leaves([leaf for _, leaf in floating]))
    bad = np.flatnonzero(~sound)
    return jax.tree_util.keystr(floating[bad[0]][0], simple=True, separator="/") if bad.size else None


@jax.jit
def _finite_leaves(leaves: list[jax.Array]) -> jax.Array:
    # Not of the largest number: XLA's maximum of a million numbers passes over NaN on a CPU (jax 0.10.2).
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves])


def taken(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics of the steps that were taken, without the one that says which."""
    kept = rows[SKIPPED] == 0
    return {name: values[kept] for name, values in rows.items() if name != SKIPPED}


def in_a_row(before: int, rows: dict[str, np.ndarray], most: int) -> tuple[int, int | None]:
    """How many steps to the end of `rows` were not taken in a row, and at which of them there were `most`, or None.

    Args:
      before: so many before these rows.
      rows: metrics, `[steps]` each.
      most: the number that ends a run.
    """
    for i, skipped in enumerate(rows[SKIPPED].tolist()):
        before = before + 1 if skipped else 0
        if before == most:
            return before, i
    return before, None


def why(batches: PyTree, state: PyTree, rows: PyTree) -> str:
    """What is not finite in a step's batch or, if that is, in its metrics and the state after it, in words."""
    leaf = first_nonfinite(batches)
    if leaf is not None:
        return f"{leaf} of its batch is not finite, clean the data"
    found = dict.fromkeys(filter(None, (first_nonfinite(rows), first_nonfinite(state))))
    return f"not finite are {' and '.join(found) or 'no numbers now'}, try a lower learning rate"
