"""Energy-based games, whose discriminator gives energies: low on data, as the error of an autoencoder is.

Functions whose arguments are called energies take them as in the papers, the higher the less real. A `Loss` takes
logits, the higher the more real as everywhere in a game: `logits = -energies` is then the discriminator's to return.

BEGAN's balance k moves from step to step. In a GAN it is the memory of the discriminator's penalty, `-k E(G(z))`,
beside the plain loss `E(x)`:

    class Balance(NamedTuple):
        gamma: float

        def init(self):
            return jnp.zeros(())

        def apply(self, k, key, step, critic, real, fake):
            real_energies, fake_energies = -critic(real), -critic(fake)
            moved = boundary_equilibrium_balance(k, real_energies, fake_energies, gamma=self.gamma)
            return -k * fake_energies, moved

    began = Loss(lambda real, fake: -real, lambda fake, real=None: -fake, boundary=None)
"""

import jax
import jax.numpy as jnp

from jaxgan.losses.loss import Loss, check_same_shape


def energy_based_discriminator_loss(real_energies: jax.Array, fake_energies: jax.Array, *, margin: float) -> jax.Array:
    """Discriminator loss of the energy-based GAN: `E(x) + max(0, margin - E(G(z)))`.

    Args:
      real_energies: energies of data, shape `[...]`, not negative.
      fake_energies: energies of samples, same shape.
      margin: the energy from which on samples cost nothing, in units of the energy.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Zhao et al., Energy-based Generative Adversarial Network, https://arxiv.org/abs/1609.03126, 2016, Eq. 1.
    """
    check_same_shape(real_energies=real_energies, fake_energies=fake_energies)
    return real_energies + jax.nn.relu(margin - fake_energies)


def energy_based_generator_loss(fake_energies: jax.Array) -> jax.Array:
    """Generator loss of the energy-based GAN, and of BEGAN: `E(G(z))`.

    Args:
      fake_energies: energies of samples, shape `[...]`.

    Returns:
      Per-example losses, same shape.

    References:
      Zhao et al., Energy-based Generative Adversarial Network, https://arxiv.org/abs/1609.03126, 2016, Eq. 2.
    """
    return fake_energies


def energy_based(margin: float) -> Loss:
    """The energy-based game for a discriminator whose logits are minus its energies.

    >>> energy_based(10.0).discriminator(jnp.array([-2.0]), jnp.array([-7.0]))
    Array([5.], dtype=float32)

    Args:
      margin: as of `energy_based_discriminator_loss`; positive. It depends on the data (the papers' are 1 to 80), so
        this game has no row in `LOSSES`.

    Returns:
      The `Loss`, without a boundary: where data and samples are alike, every energy up to the margin is as good.

    References:
      Zhao et al., Energy-based Generative Adversarial Network, https://arxiv.org/abs/1609.03126, 2016.
    """

    def discriminator(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
        check_same_shape(real_logits=real_logits, fake_logits=fake_logits)
        return energy_based_discriminator_loss(-real_logits, -fake_logits, margin=margin)

    def generator(fake_logits: jax.Array, real_logits: jax.Array | None = None) -> jax.Array:
        return energy_based_generator_loss(-fake_logits)

    return Loss(discriminator, generator, boundary=None)


def pulling_away_term(codes: jax.Array) -> jax.Array:
    """Mean squared cosine between a sample's code and those of the others in the batch, for the generator to reduce.

    `sum_{j != i} cos(S_i, S_j)^2 / (N - 1)` for example i: the mean over the batch is the paper's term.

    >>> pulling_away_term(jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]))
    Array([0.5, 0. , 0.5], dtype=float32)

    Args:
      codes: what the discriminator's encoder makes of samples, `[batch, ...]`, at least two of them.

    Returns:
      Terms `[batch]`, from 0 to 1.

    Raises:
      ValueError: there are no two codes to compare.

    References:
      Zhao et al., Energy-based Generative Adversarial Network, https://arxiv.org/abs/1609.03126, 2016, Section 2.4.
    """
    if jnp.ndim(codes) < 2 or codes.shape[0] < 2:
        raise ValueError(f"codes must be [batch, ...] of at least two examples, got the shape {jnp.shape(codes)}")
    count = codes.shape[0]
    flat = codes.reshape(count, -1)
    squared_norms = jnp.sum(flat**2, axis=1, keepdims=True)
    # A code of zeros has no direction and counts as orthogonal to all: its norm is replaced before the root, whose
    # infinite slope at zero would make the gradient NaN.
    is_zero = squared_norms < jnp.finfo(squared_norms.dtype).tiny
    directions = flat / jnp.sqrt(jnp.where(is_zero, 1.0, squared_norms))
    squared_cosines = (directions @ directions.T) ** 2
    return jnp.sum(squared_cosines * (1 - jnp.eye(count, dtype=flat.dtype)), axis=1) / (count - 1)


def boundary_equilibrium_discriminator_loss(
    real_energies: jax.Array, fake_energies: jax.Array, k: jax.Array
) -> jax.Array:
    """Discriminator loss of BEGAN: `E(x) - k E(G(z))`.

    Args:
      real_energies: reconstruction errors of data, shape `[...]`.
      fake_energies: reconstruction errors of samples, same shape.
      k: the balance, a scalar from 0 (the paper's start) to 1; see `boundary_equilibrium_balance`.

    Returns:
      Per-example losses, same shape.

    Raises:
      ValueError: the shapes differ.

    References:
      Berthelot et al., BEGAN, https://arxiv.org/abs/1703.10717, 2017, Section 3.4.
    """
    check_same_shape(real_energies=real_energies, fake_energies=fake_energies)
    return real_energies - k * fake_energies


boundary_equilibrium_generator_loss = energy_based_generator_loss


def boundary_equilibrium_balance(
    k: jax.Array, real_energies: jax.Array, fake_energies: jax.Array, *, gamma: float, rate: float = 0.001
) -> jax.Array:
    """The next balance of BEGAN, `k + rate (gamma E(x) - E(G(z)))` with mean energies, held between 0 and 1.

    k is state that the caller carries from step to step. It grows while samples are reconstructed too well.

    Args:
      k: the balance of this step, a scalar.
      real_energies: reconstruction errors of data.
      fake_energies: reconstruction errors of samples.
      gamma: wanted ratio of the samples' mean error to that of the data, 0 to 1; the higher, the more diverse.
      rate: the paper's lambda_k and its value.

    Returns:
      The balance of the next step, a scalar.

    References:
      Berthelot et al., BEGAN, https://arxiv.org/abs/1703.10717, 2017, Section 3.4.
    """
    return jnp.clip(k + rate * (gamma * jnp.mean(real_energies) - jnp.mean(fake_energies)), 0.0, 1.0)


def boundary_equilibrium_convergence(real_energies: jax.Array, fake_energies: jax.Array, *, gamma: float) -> jax.Array:
    """BEGAN's measure of convergence, `E(x) + |gamma E(x) - E(G(z))|` with mean energies; the lower the better.

    Args:
      real_energies: reconstruction errors of data.
      fake_energies: reconstruction errors of samples.
      gamma: as of `boundary_equilibrium_balance`.

    Returns:
      The measure, a scalar in units of the energy.

    References:
      Berthelot et al., BEGAN, https://arxiv.org/abs/1703.10717, 2017, Section 3.4.1.
    """
    real, fake = jnp.mean(real_energies), jnp.mean(fake_energies)
    return real + jnp.abs(gamma * real - fake)
