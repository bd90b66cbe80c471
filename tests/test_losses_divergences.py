"""The divergences behind the games: at the best discriminator a game must measure what it is named after.

On a finite space expectations are sums, so the optimum is exact: everything in float64 against SciPy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import jensenshannon
from scipy.special import log_expit, rel_entr

from jaxgan import losses

P = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
Q = np.array([0.05, 0.35, 0.1, 0.2, 0.3])

# name: the divergence of p from q computed directly, and the best logit, Nowozin et al.'s f'(p / q) through g's inverse
DIRECT = {
    "kl": (lambda p, q: rel_entr(p, q).sum(), lambda u: 1 + np.log(u)),
    "reverse_kl": (lambda p, q: rel_entr(q, p).sum(), np.log),
    "pearson": (lambda p, q: ((p - q) ** 2 / q).sum(), lambda u: 2 * (u - 1)),
    "squared_hellinger": (lambda p, q: ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(), lambda u: np.log(u) / 2),
    # twice SciPy's squared distance: the sum of the two halves, not their mean
    "jensen_shannon": (lambda p, q: 2 * jensenshannon(p, q) ** 2, np.log),
}
DIVERGENCES = {name: getattr(losses, name.upper()) for name in DIRECT}
every_divergence = pytest.mark.parametrize("name", DIRECT)


def bound(loss, v, p=P, q=Q):
    """E_p[g(v)] - E_q[f*(g(v))], from the discriminator's loss alone."""
    with jax.enable_x64(True):
        logits, other = jnp.asarray(v), jnp.full(len(v), loss.boundary)
        # the loss is -g(real) + f*(g(fake)): one at a time, and g of the other logit cancels
        of_real = loss.discriminator(logits, other) - loss.discriminator(other, other)
        of_fake = loss.discriminator(other, logits)
        return -(p @ np.asarray(of_real) + q @ np.asarray(of_fake))


@every_divergence
def test_the_best_discriminator_measures_the_divergence(name):
    divergence, best = DIRECT[name]
    at_best = bound(losses.LOSSES[name], best(P / Q))
    np.testing.assert_allclose(at_best, divergence(P, Q), rtol=1e-12)
    assert bound(losses.LOSSES[name], best(P / P), P, P) == pytest.approx(0, abs=1e-14)


@every_divergence
def test_no_other_discriminator_finds_more(name):
    divergence, best = DIRECT[name]
    rng = np.random.default_rng(0)
    for scale in (1e-2, 0.3, 3.0):
        for _ in range(5):
            assert bound(losses.LOSSES[name], best(P / Q) + scale * rng.normal(size=5)) < divergence(P, Q)


@every_divergence
def test_an_optimiser_that_knows_nothing_finds_the_best_logits(name):
    divergence, best = DIRECT[name]
    found = minimize(lambda v: -bound(losses.LOSSES[name], v), np.full(5, losses.LOSSES[name].boundary))
    np.testing.assert_allclose(-found.fun, divergence(P, Q), rtol=1e-6)
    np.testing.assert_allclose(found.x, best(P / Q), atol=2e-3)


@every_divergence
def test_the_saddle_points_generator_descends_the_divergence(name):
    """At the best discriminator its loss at a point is the divergence's derivative along that point's probability."""
    divergence, best = DIRECT[name]
    if name == "jensen_shannon":  # SciPy normalises what it is given, so the sum is written out

        def divergence(p, q):
            return rel_entr(p, (p + q) / 2).sum() + rel_entr(q, (p + q) / 2).sum()

    h = 1e-6
    nudges = h * np.eye(5)
    derivative = np.array([(divergence(P, Q + nudge) - divergence(P, Q - nudge)) / (2 * h) for nudge in nudges])
    with jax.enable_x64(True):
        generator = np.asarray(losses.LOSSES[name].generator(jnp.asarray(best(P / Q))))
    # probabilities add up to one, so a constant steers nothing; SciPy's own forms of the KLs agree with f's but for it
    np.testing.assert_allclose(generator - Q @ generator, derivative - Q @ derivative, rtol=1e-7, atol=1e-8)


@every_divergence
def test_the_second_generator_wants_what_the_discriminator_gives_data(name):
    """Section 3.2: it maximises g of its own logits, as the discriminator does of those of data."""
    loss = losses.f_gan(DIVERGENCES[name], non_saturating=True)
    v = np.linspace(-6.0, 6.0, 25)
    with jax.enable_x64(True):
        logits, zero = jnp.asarray(v), jnp.zeros(25)
        of_data = loss.discriminator(logits, zero) - loss.discriminator(zero, zero)
        np.testing.assert_allclose(loss.generator(logits) - loss.generator(zero), of_data, atol=1e-12)
    assert (np.diff(loss.generator(v)) < 0).all()  # g increases


def test_the_divergence_gan_is_the_original_game():
    """Nowozin et al.'s g = -log(1 + exp(-v)), f* = -log(1 - exp(t)): both of Goodfellow's games come out."""
    gan = losses.Divergence(
        activation=lambda v: -jnp.log(1 + jnp.exp(-v)),
        conjugate=lambda v: -jnp.log(1 - jnp.exp(-jnp.log(1 + jnp.exp(-v)))),
        boundary=0.0,
    )
    real, fake = np.linspace(-6.0, 6.0, 13), np.linspace(5.0, -4.0, 13)
    with jax.enable_x64(True):
        real, fake = jnp.asarray(real), jnp.asarray(fake)
        for ours, theirs in (
            (losses.minimax, losses.f_gan(gan)),
            (losses.non_saturating, losses.f_gan(gan, non_saturating=True)),
        ):
            np.testing.assert_allclose(ours.discriminator(real, fake), theirs.discriminator(real, fake), rtol=1e-12)
            np.testing.assert_allclose(ours.generator(fake), theirs.generator(fake), rtol=1e-12)


def test_the_kl_generator_is_goodfellows_maximum_likelihood_loss():
    """-exp(sigmoid^-1(D)), with v - 1 as the logit of D: minus the ratio D / (1 - D)."""
    d = np.array([0.01, 0.3, 0.5, 0.9])
    v = 1 + np.log(d / (1 - d))
    with jax.enable_x64(True):
        np.testing.assert_allclose(losses.kl.generator(jnp.asarray(v)), -d / (1 - d), rtol=1e-12)


def test_the_reverse_kl_generator_is_minus_the_log_odds_but_for_a_constant():
    v = np.linspace(-5.0, 5.0, 11)
    log_odds = log_expit(v) - log_expit(-v)
    np.testing.assert_allclose(losses.reverse_kl.generator(jnp.asarray(v)), 1 - log_odds, rtol=1e-6)


@every_divergence
def test_the_cutoff_changes_nothing_below_it_and_lies_below_the_papers_values_above(name):
    activation = {  # the paper's, in float64, where exp(100) is a number
        "kl": lambda v: v,
        "reverse_kl": lambda v: -np.exp(-v),
        "pearson": lambda v: v,
        "squared_hellinger": lambda v: 1 - np.exp(-v),
        "jensen_shannon": lambda v: np.log(2) - np.log1p(np.exp(-v)),
    }[name]
    conjugate = {
        "kl": lambda t: np.exp(t - 1),
        "reverse_kl": lambda t: -1 - np.log(-t),
        "pearson": lambda t: t**2 / 4 + t,
        "squared_hellinger": lambda t: t / (1 - t),
        "jensen_shannon": lambda t: -np.log(2 - np.exp(t)),
    }[name]
    near, far = np.linspace(-32.0, 32.0, 129), np.array([-100.0, -40.0, 40.0, 100.0])
    # above 20 the paper's composition loses its digits, 1 - (1 - exp(-v)), which ours does not compute
    low = near[near < 15]
    with jax.enable_x64(True):
        ours = DIVERGENCES[name]
        np.testing.assert_allclose(ours.activation(jnp.asarray(near)), activation(near), rtol=1e-12)
        np.testing.assert_allclose(ours.conjugate(jnp.asarray(low)), conjugate(activation(low)), rtol=1e-6, atol=1e-12)
        assert (-ours.activation(jnp.asarray(far)) <= -activation(far) + 1e-12).all()
        slopes = jax.vmap(jax.grad(ours.activation))(jnp.asarray(np.linspace(-1e4, 1e4, 9)))
        assert (slopes >= 0).all() and (slopes[:4] > 0).all()


def test_exp_goes_on_along_its_tangent():
    """At the cutoff itself too the slope is exp's, and beyond it stays: no gap, no kink, no half."""
    slope = jax.grad(lambda v: losses.KL.conjugate(v))
    for at, expected in ((32.0, np.exp(31.0)), (33.0, np.exp(32.0)), (34.0, np.exp(32.0)), (9e3, np.exp(32.0))):
        np.testing.assert_allclose(slope(at), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.KL.conjugate(jnp.float32(43.0)), 11 * np.exp(32.0), rtol=1e-6)


def test_least_squares_with_maos_conditions_measures_pearsons_chi_square():
    """b - c = 1 and b - a = 2: at the best discriminator the generator's loss over both densities is half of it."""
    best = (P - Q) / (P + Q)  # (b p + a q) / (p + q)
    game = losses.pearson_least_squares
    with jax.enable_x64(True):
        logits = jnp.asarray(best)
        slopes = jax.grad(lambda v: jnp.sum(P * game.discriminator(v, 0 * v) + Q * game.discriminator(0 * v, v)))
        np.testing.assert_allclose(slopes(logits), np.zeros(5), atol=1e-15)
        # Mao et al. add the generator-independent term of data to get the divergence
        both = (P + Q) @ np.asarray(game.generator(logits))
        np.testing.assert_allclose(both, ((2 * Q - (P + Q)) ** 2 / (P + Q)).sum() / 2, rtol=1e-12)


@pytest.mark.parametrize("a, b, c", [(0.0, 1.0, 1.0), (-1.0, 1.0, 0.0), (-0.5, 2.0, 1.5)])
def test_the_codes_of_least_squares_are_where_it_costs_nothing(a, b, c):
    game = losses.least_squares_coded(a, b, c)
    assert float(game.discriminator(b, a)) == 0 and float(game.generator(c)) == 0
    assert game.boundary == (a + b) / 2
