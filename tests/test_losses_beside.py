"""What goes beside an adversarial loss: energies, classes, codes and reconstructions, against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxgan import losses


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_every_loss_is_per_example_and_keeps_the_dtype(rng):
    x, y = (rng.normal(size=(4, 2, 3)) for _ in range(2))
    logits, labels = rng.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    for dtype in (jnp.float32, jnp.bfloat16):
        a, b, z = (jnp.asarray(v, dtype) for v in (x, y, logits))
        values = {
            "l1": losses.l1_loss(a, b),
            "l2": losses.l2_loss(a, b),
            "perceptual": losses.perceptual_loss(lambda v: (v, v[:, 0]), a, b),
            "cycle": losses.cycle_consistency_loss(a, b, a, 2 * b),
            "classes": losses.auxiliary_classifier_loss(z, labels),
            "probabilities": losses.auxiliary_classifier_loss(z, jnp.eye(3)[labels]),
            "multi-hinge": losses.multi_hinge_loss(z, labels),
            "gaussian": losses.gaussian_information_loss(z, 0 * z, z + 1),
            "projection": losses.projection_logits(z[:, 0], z, z),
            "energies": losses.energy_based_discriminator_loss(z[:, 0], z[:, 1], margin=1.0),
            "BEGAN": losses.boundary_equilibrium_discriminator_loss(z[:, 0], z[:, 1], jnp.asarray(0.5, dtype)),
            "pulling-away": losses.pulling_away_term(a),
        }
        for name, value in values.items():
            assert value.shape == (4,) and value.dtype == dtype, name


def test_distances_are_averaged_over_an_example(rng):
    x, y = (rng.normal(size=(3, 4, 5, 2)).astype(np.float32) for _ in range(2))
    np.testing.assert_allclose(losses.l1_loss(x, y), np.abs(x - y).mean(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(losses.l2_loss(x, y), ((x - y) ** 2).mean(axis=(1, 2, 3)), rtol=1e-6)
    both = losses.cycle_consistency_loss(x, y, x[:, 0], y[:, 0])  # two domains of different shape
    np.testing.assert_allclose(both, losses.l1_loss(x, y) + losses.l1_loss(x[:, 0], y[:, 0]), rtol=1e-6)


def test_perceptual_distances_add_up_over_layers(rng):
    x, y = (rng.normal(size=(3, 6)).astype(np.float32) for _ in range(2))
    weights = rng.normal(size=(6, 2)).astype(np.float32)

    def features(v):
        return {"first": jnp.tanh(v), "second": v @ weights}

    expected = ((np.tanh(x) - np.tanh(y)) ** 2).mean(1) + (((x - y) @ weights) ** 2).mean(1)
    np.testing.assert_allclose(losses.perceptual_loss(features, x, y), expected, rtol=1e-5)


def test_bytes_are_refused():
    """1 - 2 = 255 in bytes: an error, not a loss."""
    with pytest.raises(ValueError, match="floating point, got uint8"):
        losses.l1_loss(jnp.zeros((2, 3), jnp.uint8), jnp.ones((2, 3), jnp.uint8))


@pytest.mark.parametrize(
    "call",
    [
        lambda: losses.l1_loss(jnp.zeros((4, 1)), jnp.zeros(4)),
        lambda: losses.perceptual_loss(lambda v: v, jnp.zeros((4, 2)), jnp.zeros((4, 3))),
        lambda: losses.cycle_consistency_loss(*[jnp.zeros((4, 2))] * 2, *[jnp.zeros((3, 2))] * 2),
        lambda: losses.feature_matching_loss(jnp.zeros((4, 2)), jnp.zeros((4, 3))),
        lambda: losses.auxiliary_classifier_loss(jnp.zeros((4, 3)), jnp.zeros((4, 2))),
        lambda: losses.projection_logits(jnp.zeros((4, 1)), jnp.zeros((4, 3)), jnp.zeros((4, 3))),
        lambda: losses.projection_logits(jnp.zeros(4), jnp.zeros((4, 3)), jnp.zeros((4, 2))),
        lambda: losses.gaussian_information_loss(jnp.zeros((4, 3)), jnp.zeros((4, 1)), jnp.zeros((4, 3))),
        lambda: losses.energy_based_discriminator_loss(jnp.zeros(4), jnp.zeros((4, 1)), margin=1.0),
        lambda: losses.boundary_equilibrium_discriminator_loss(jnp.zeros(4), jnp.zeros(3), 0.5),
    ],
)
def test_unequal_shapes_raise(call):
    with pytest.raises(ValueError, match="must have the same shape, got"):
        call()


@pytest.mark.parametrize("loss", [losses.auxiliary_classifier_loss, losses.multi_hinge_loss])
def test_labels_that_do_not_fit(loss):
    with pytest.raises(ValueError, match="one entry for each example"):
        loss(jnp.zeros((4, 3)), jnp.zeros((4, 1), jnp.int32))
    found = loss(jnp.zeros((4, 3)), jnp.array([0, 2, 3, -1]))
    np.testing.assert_array_equal(np.isnan(found), [False, False, True, True])


@pytest.mark.parametrize(
    "loss, values",
    [(losses.auxiliary_classifier_loss, [2e4, 2e4 + np.log(2)]), (losses.multi_hinge_loss, [20001, 20001])],
)
def test_class_losses_at_extreme_logits(loss, values):
    logits, labels = jnp.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]]), jnp.array([1, 0])
    np.testing.assert_allclose(loss(logits, labels), values, rtol=1e-6)
    slopes = jax.grad(lambda z: loss(z, labels).sum())(logits)
    assert np.isfinite(slopes).all()
    np.testing.assert_allclose([slopes[0, 1], slopes[1, 0]], [-1, -1], rtol=1e-6)


def test_classes_may_have_any_leading_shape(rng):
    logits = rng.normal(size=(2, 3, 4)).astype(np.float32)
    labels = np.array([[0, 1, 2], [3, 3, 1]])
    for loss in (losses.auxiliary_classifier_loss, losses.multi_hinge_loss):
        flat = loss(jnp.asarray(logits.reshape(6, 4)), jnp.asarray(labels.reshape(6)))
        np.testing.assert_allclose(loss(jnp.asarray(logits), jnp.asarray(labels)).reshape(6), flat)


def test_the_projection_is_an_inner_product(rng):
    logits, features, embeddings = rng.normal(size=5), rng.normal(size=(5, 7)), rng.normal(size=(5, 7))
    found = losses.projection_logits(jnp.asarray(logits), jnp.asarray(features), jnp.asarray(embeddings))
    np.testing.assert_allclose(found, logits + np.einsum("bf,bf->b", features, embeddings), rtol=1e-5)


def test_the_gaussian_loss_is_scipys_log_density(rng):
    mean, log_std, codes = rng.normal(size=(3, 5, 2))
    with jax.enable_x64(True):
        found = losses.gaussian_information_loss(*map(jnp.asarray, (mean, log_std, codes)))
    np.testing.assert_allclose(found, -norm.logpdf(codes, mean, np.exp(log_std)).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("kind", ["gaussian", "categorical"])
def test_the_information_loss_moves_both_players(kind):
    """torchgan #100: its penalty was made anew from numbers (torch.Tensor([...])), and no gradient came through."""
    codes = jnp.array([[0.5], [-1.0], [2.0]])
    labels = (codes[:, 0] > 0).astype(jnp.int32)

    def penalty(players):
        sample = players["generator"] * codes  # a generator and a recogniser of one weight each
        seen = players["recogniser"] * sample
        if kind == "gaussian":
            return losses.gaussian_information_loss(seen, jnp.zeros_like(seen), codes).mean()
        return losses.categorical_information_loss(jnp.concatenate([-seen, seen], axis=1), labels).mean()

    players = {"generator": 0.5, "recogniser": 0.8}
    slopes = jax.grad(penalty)(players)
    c = np.array([0.5, -1.0, 2.0])
    if kind == "gaussian":
        along = np.mean((0.4 * c - c) * c)  # of (g r c - c)^2 / 2 along g r
    else:
        along = np.mean(-2 * np.abs(c) / (1 + np.exp(2 * 0.4 * np.abs(c))))  # of softplus(-2 g r |c|)
    np.testing.assert_allclose(slopes["generator"], 0.8 * along, rtol=1e-5)
    np.testing.assert_allclose(slopes["recogniser"], 0.5 * along, rtol=1e-5)

    def of_torchgan(players):
        return jnp.asarray(jax.lax.stop_gradient(penalty(players)))

    assert jax.grad(of_torchgan)(players) == {"generator": 0.0, "recogniser": 0.0}


def test_the_margin_of_energies():
    """Zhao et al.: samples beyond the margin cost nothing and move nothing; the generator descends their energy."""
    real, fake = jnp.array([0.5, 2.0, 1.0]), jnp.array([0.0, 4.0, 11.0])
    found = losses.energy_based_discriminator_loss(real, fake, margin=10.0)
    np.testing.assert_allclose(found, [10.5, 8.0, 1.0])
    game = losses.energy_based(10.0)
    slopes = jax.grad(lambda f: game.discriminator(-real, f).sum())(-fake)
    np.testing.assert_array_equal(slopes, [1.0, 1.0, 0.0])  # along the logit, minus the energy
    np.testing.assert_array_equal(jax.grad(lambda f: game.generator(f).sum())(-fake), -np.ones(3))


def test_pulling_away_of_codes_without_a_direction():
    """A code of zeros counts as orthogonal to all, and its gradient is a number."""
    codes = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    np.testing.assert_allclose(losses.pulling_away_term(codes), [0.0, 0.25, 0.25], rtol=1e-6)
    slopes = jax.grad(lambda v: losses.pulling_away_term(v).mean())(codes)
    assert np.isfinite(slopes).all() and np.abs(slopes[1:]).max() > 0.01
    np.testing.assert_allclose((slopes * codes).sum(1), np.zeros(3), atol=1e-6)  # lengths do not count


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_pulling_away_needs_two_codes(shape):
    with pytest.raises(ValueError, match="at least two examples"):
        losses.pulling_away_term(jnp.ones(shape))


def test_the_balance_rests_where_the_ratio_is_gamma():
    real = jnp.array([1.0, 3.0])
    for fake, direction in ((0.5 * real, 0), (0.25 * real, 1), (real, -1)):
        k = losses.boundary_equilibrium_balance(jnp.float32(0.5), real, fake, gamma=0.5, rate=0.1)
        assert np.sign(k - 0.5) == direction
    np.testing.assert_allclose(losses.boundary_equilibrium_convergence(real, 0.5 * real, gamma=0.5), 2.0)
    np.testing.assert_allclose(losses.boundary_equilibrium_convergence(real, real, gamma=0.5), 3.0)


def test_feature_matching_compares_means(rng):
    """Two batches may differ in size; what is zero is the distance of their means, not of their examples."""
    real, fake = rng.normal(size=(6, 2, 3)).astype(np.float32), rng.normal(size=(4, 2, 3)).astype(np.float32)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    np.testing.assert_allclose(losses.feature_matching_loss(real, fake), expected, rtol=1e-5)
    assert float(losses.feature_matching_loss(real, real[::-1])) < 1e-12
    slopes = jax.grad(losses.feature_matching_loss, argnums=1)(real, fake)
    expected_slopes = np.broadcast_to(-2 / 4 * (real.mean(0) - fake.mean(0)), fake.shape)
    np.testing.assert_allclose(slopes, expected_slopes, rtol=1e-4, atol=1e-6)
