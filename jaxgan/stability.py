"""Local analysis: the eigenvalues that decide whether a training converges near a point, without building a matrix.

Simultaneous gradient descent with the rate h is `w <- w + h f(w)` with the field `f = -v` of both players' gradients.
Near an equilibrium it converges, for small enough h, if all eigenvalues of the Jacobian of f have a negative real part
(but for those along a manifold of equilibria, which are zero), and not if one has a positive one; on the imaginary
axis, it circles outwards. `eigenvalues` takes any map of parameters to a tree of their structure: a field, or a whole
update, whose eigenvalues then have to lie inside the unit circle.

References:
  Mescheder et al., Which Training Methods for GANs do actually Converge?, https://arxiv.org/abs/1801.04406, 2018.
  Nagarajan and Kolter, Gradient descent GAN optimization is locally stable, https://arxiv.org/abs/1706.04156, 2017.
"""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgan.game import Game
from jaxgan.players import Batch, GANState, PyTree


def gradient_field(
    game: Game, key: jax.Array, state: GANState, batch: Batch
) -> tuple[Callable[[PyTree], PyTree], PyTree]:
    """The field that simultaneous gradient descent follows, and the point of a state.

    `f(d, g) = (-grad_d L_D(d, g), -grad_g L_G(d, g))`, with latents, dropout and all else that is random as in the
    step from this state: the field of one batch, so take a large one.

    Args:
      game: the game, of a GAN `gan.game`.
      key: as of a step.
      state: where to look; the parameters, statistics and step count.
      batch: data, as of a step.

    Returns:
      `f`, `(d_params, g_params) -> (..., ...)`, and `(d_params, g_params)` of the state.
    """

    def field(params):
        return jax.tree.map(lambda v: -v, game.gradients(key, state, batch, params)[0])

    return field, (state.discriminator.params, state.generator.params)


def eigenvalues(
    function: Callable[[PyTree], PyTree],
    point: PyTree,
    *,
    count: int = 6,
    which: Literal["LR", "SR", "LM", "LI"] = "LR",
    basis: int = 64,
) -> np.ndarray:
    """Eigenvalues of the Jacobian of a function of a pytree to its own structure, at a point.

    Products `J v` come from two reverse passes (the transpose of `u -> J^T u`), which every layer here supports, and go
    to ARPACK's Arnoldi iteration; what of them does not depend on v is worked out once, and kept. Small Jacobians are
    built whole. Eigenvalues are exact to the rounding of the largest: in float32 one of 0.001 beside one of -100,000
    has no digits.

    >>> import jax.numpy as jnp
    >>> turn = jnp.array([[0.0, -1.0], [1.0, 0.0]])
    >>> eigenvalues(lambda x: turn @ x, jnp.zeros(2)).round(6) + 0
    array([0.+1.j, 0.-1.j])

    Args:
      function: `tree -> tree`, twice differentiable where it is a gradient field.
      point: where, leaves floating point.
      count: how many eigenvalues, at most all.
      which: which ones, in SciPy's names: of the largest (LR) or smallest (SR) real part, the largest magnitude (LM),
        or the largest imaginary part (LI).
      basis: how many vectors the iteration keeps, each of as many float64 as there are parameters; for many
        eigenvalues, twice as many as those. It takes at least so many products; where eigenvalues lie close together
        for their distance from the others, a larger basis takes fewer in all. Jacobians no larger are built whole.

    Returns:
      Complex `[count]`, in the order of `which`; equal ones by falling imaginary part.

    Raises:
      ValueError: for a count that is not positive.
      scipy.sparse.linalg.ArpackNoConvergence: where the iteration does not converge.
    """
    from scipy.sparse.linalg import LinearOperator, eigs

    if count < 1:
        raise ValueError(f"count={count}: expected at least 1")
    flat, unravel = ravel_pytree(point)

    @jax.jit
    def linearised(x):
        _, pull = jax.vjp(lambda x: ravel_pytree(function(unravel(x)))[0], x)
        return jax.vjp(lambda u: pull(u)[0], jax.numpy.zeros_like(x))[1]

    pull_again = linearised(flat)
    product = jax.jit(lambda pull, v: pull(v)[0])

    def times(v):
        return np.asarray(product(pull_again, jax.numpy.asarray(v.reshape(-1), flat.dtype)), float)

    size = flat.size
    if size <= basis or count >= size - 1:
        values = np.linalg.eigvals(np.stack([times(column) for column in np.eye(size)], axis=1))
    else:
        start = np.random.default_rng(0).normal(size=size)  # seeded: the same call gives the same figures
        # Products are exact to the Jacobian's rounding only, and no closer can the iteration come. ARPACK takes its
        # accuracy times the eigenvalue, which may be far smaller: moved by the Jacobian's norm, none asked for is.
        shift = 0.0 if which == "LM" else _norm(times, start) * (-1 if which == "SR" else 1)
        operator = LinearOperator((size, size), matvec=lambda v: times(v) + shift * v.reshape(-1), dtype=float)
        kept, accuracy = min(size, max(basis, 2 * count + 1)), np.finfo(flat.dtype).eps
        values = eigs(operator, count, which=which, v0=start, ncv=kept, tol=accuracy, return_eigenvectors=False)
        values = values - shift
    first = {"LR": -values.real, "SR": values.real, "LM": -abs(values), "LI": -abs(values.imag)}[which]
    # Rounded for the order only: of a pair of conjugates, rounding would else decide which comes first.
    order = np.lexsort((-values.imag, np.round(first, 6)))
    return values.astype(complex)[order][:count]


def _norm(times: Callable[[np.ndarray], np.ndarray], v: np.ndarray) -> float:
    """About the largest factor by which a linear map lengthens vectors, from below: a few steps of power iteration."""
    lengths = [0.0]
    for _ in range(8):
        v = times(v / (np.linalg.norm(v) or 1.0))
        lengths.append(float(np.linalg.norm(v)))
    return max(lengths)
