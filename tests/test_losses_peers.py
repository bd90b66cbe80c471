"""The conversion table of the package's docstring, a test a row: a peer's value is ours, averaged, times the factor.

Values of torchgan and mimicry come from running them (references/losses.py). The others' formulas are written here in
NumPy, with the place they were read from, and TensorFlow-GAN's also against the values that its own tests publish.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, log_expit, logsumexp

from jaxgan import losses

REFERENCES = json.loads(pathlib.Path(__file__).with_name("references").joinpath("losses.json").read_text())
INPUTS = {name: np.array(value) for name, value in REFERENCES["inputs"].items()}
REAL, FAKE = INPUTS["real"], INPUTS["fake"]
REAL_ENERGIES, FAKE_ENERGIES = INPUTS["real_energies"], INPUTS["fake_energies"]


def ours(function, *args, **kwargs):
    with jax.enable_x64(True):
        return float(jnp.mean(function(*map(jnp.asarray, args), **kwargs)))


def information(class_logits, labels, mean, log_std, codes):
    categorical = losses.categorical_information_loss(class_logits, labels)
    return categorical + losses.gaussian_information_loss(mean, log_std, codes)


CONDITIONAL = [INPUTS[name] for name in ("class_logits", "labels")]
CODES = [*CONDITIONAL, *(INPUTS[name] for name in ("mean", "log_std", "gaussian_codes"))]
# (peer, its name, factor, our function, our arguments)
RAN = [
    ("torchgan", "minimax_discriminator_loss", 1, losses.minimax.discriminator, (REAL, FAKE)),
    ("torchgan", "minimax_generator_loss", 1, losses.non_saturating.generator, (FAKE,)),
    ("torchgan", "minimax_generator_loss(nonsaturating=False)", 1, losses.minimax.generator, (FAKE,)),
    ("torchgan", "least_squares_discriminator_loss", 1, losses.least_squares.discriminator, (REAL, FAKE)),
    ("torchgan", "least_squares_generator_loss", 1, losses.least_squares.generator, (FAKE,)),
    (
        *("torchgan", "least_squares_discriminator_loss(a=-1, b=1)", 1),
        *(losses.pearson_least_squares.discriminator, (REAL, FAKE)),
    ),
    ("torchgan", "least_squares_generator_loss(c=0)", 1, losses.pearson_least_squares.generator, (FAKE,)),
    ("torchgan", "wasserstein_discriminator_loss", 1, losses.wasserstein.discriminator, (REAL, FAKE)),
    ("torchgan", "wasserstein_generator_loss", 1, losses.wasserstein.generator, (FAKE,)),
    ("torchgan", "auxiliary_classification_loss", 1, losses.auxiliary_classifier_loss, CONDITIONAL),
    ("torchgan", "mutual_information_penalty", 0.5, information, CODES),
    (
        *("torchgan", "energy_based_discriminator_loss(margin=5)", 1),
        *(losses.energy_based(5.0).discriminator, (-REAL_ENERGIES, -FAKE_ENERGIES)),
    ),
    ("torchgan", "energy_based_generator_loss", 1, losses.energy_based_generator_loss, (FAKE_ENERGIES,)),
    (
        *("torchgan", "boundary_equilibrium_discriminator_loss(k=0.25)", 1),
        *(losses.boundary_equilibrium_discriminator_loss, (REAL_ENERGIES, FAKE_ENERGIES, 0.25)),
    ),
    (
        "torchgan",
        "boundary_equilibrium_generator_loss",
        1,
        losses.boundary_equilibrium_generator_loss,
        (FAKE_ENERGIES,),
    ),
    ("mimicry", "minimax_loss_dis", 1, losses.minimax.discriminator, (REAL, FAKE)),
    ("mimicry", "minimax_loss_gen", 1, losses.non_saturating.generator, (FAKE,)),
    ("mimicry", "ns_loss_gen", 1, losses.non_saturating.generator, (FAKE,)),
    ("mimicry", "wasserstein_loss_dis", 1, losses.wasserstein.discriminator, (REAL, FAKE)),
    ("mimicry", "wasserstein_loss_gen", 1, losses.wasserstein.generator, (FAKE,)),
    ("mimicry", "hinge_loss_dis", 1, losses.hinge.discriminator, (REAL, FAKE)),
    ("mimicry", "hinge_loss_gen", 1, losses.hinge.generator, (FAKE,)),
]


@pytest.mark.parametrize("peer, name, factor, function, args", RAN, ids=[" ".join(row[:2]) for row in RAN])
def test_what_a_peer_gave_is_ours_times_the_factor(peer, name, factor, function, args):
    # mimicry makes its labels in float32, and adds 1e-8 inside a logarithm
    tolerance = {"torchgan": 1e-12, "mimicry": 1e-6}[peer]
    np.testing.assert_allclose(factor * ours(function, *args), REFERENCES["values"][peer][name], rtol=tolerance)


def bce(logits, target):
    """Mean binary cross-entropy with logits, as PyTorch and TensorFlow have it."""
    return np.mean(-target * log_expit(logits) - (1 - target) * log_expit(-logits))


def softplus(v):
    return np.logaddexp(0, v)


def mse(logits, target):
    return np.mean((logits - target) ** 2)


def relu(v):
    return np.maximum(0, v)


REAL_GAP, FAKE_GAP = REAL - FAKE.mean(), FAKE - REAL.mean()
A, B = REAL[:, None], FAKE[:, None]
# (source, the peer's formula, factor, our function, our arguments)
WRITTEN = [
    # TensorFlow-GAN 2.1, losses_impl.py; tf.losses' label smoothing moves a label 1 to 1 - s/2
    (
        *("TF-GAN minimax_discriminator_loss(label_smoothing=0)", bce(REAL, 1) + bce(FAKE, 0), 1),
        *(losses.minimax.discriminator, (REAL, FAKE)),
    ),
    ("TF-GAN modified_generator_loss", bce(FAKE, 1), 1, losses.non_saturating.generator, (FAKE,)),
    (
        *("TF-GAN wasserstein_hinge_discriminator_loss", np.mean(relu(1 - REAL)) + np.mean(relu(1 + FAKE)), 1),
        *(losses.hinge.discriminator, (REAL, FAKE)),
    ),
    (
        *("TF-GAN relativistic_discriminator_loss", bce(REAL_GAP, 1) + bce(FAKE_GAP, 0), 1),
        *(losses.relativistic_average.discriminator, (REAL, FAKE)),
    ),
    (
        *("TF-GAN relativistic_generator_loss", bce(REAL_GAP, 0) + bce(FAKE_GAP, 1), 1),
        *(losses.relativistic_average.generator, (FAKE, REAL)),
    ),
    (
        *("TF-GAN cycle_consistency_loss", (np.mean(np.abs(A - B)) + np.mean(np.abs(A - 2 * B))) / 2, 1 / 2),
        *(losses.cycle_consistency_loss, (A, B, A, 2 * B)),
    ),
    # StudioGAN, src/utils/losses.py
    (
        *("StudioGAN d_vanilla, d_logistic", np.mean(softplus(-REAL)) + np.mean(softplus(FAKE)), 1),
        *(losses.minimax.discriminator, (REAL, FAKE)),
    ),
    ("StudioGAN g_vanilla, g_logistic", np.mean(softplus(-FAKE)), 1, losses.non_saturating.generator, (FAKE,)),
    (
        *("StudioGAN d_ls", np.mean(0.5 * (REAL - 1) ** 2 + 0.5 * FAKE**2), 1),
        *(losses.least_squares.discriminator, (REAL, FAKE)),
    ),
    ("StudioGAN g_ls", np.mean(0.5 * (FAKE - 1) ** 2), 1, losses.least_squares.generator, (FAKE,)),
    (
        *("StudioGAN d_hinge", np.mean(relu(1 - REAL)) + np.mean(relu(1 + FAKE)), 1),
        *(losses.hinge.discriminator, (REAL, FAKE)),
    ),
    ("StudioGAN d_wasserstein", np.mean(FAKE - REAL), 1, losses.wasserstein.discriminator, (REAL, FAKE)),
    (
        # the greatest wrong logit beside the right one, for the labels 2, 1, 0
        *("StudioGAN crammer_singer_loss", np.mean(relu(1 + np.array([1, 1, 4]) - np.array([0.5, 3, -1]))), 1),
        *(losses.multi_hinge_loss, CONDITIONAL),
    ),
    # CycleGAN and pix2pix: models/networks.py GANLoss, and the half of the models' backward_D
    (
        *("CycleGAN vanilla, discriminator", (bce(REAL, 1) + bce(FAKE, 0)) * 0.5, 1 / 2),
        *(losses.non_saturating.discriminator, (REAL, FAKE)),
    ),
    ("CycleGAN vanilla, generator", bce(FAKE, 1), 1, losses.non_saturating.generator, (FAKE,)),
    (
        *("CycleGAN lsgan, discriminator", (mse(REAL, 1) + mse(FAKE, 0)) * 0.5, 1),
        *(losses.least_squares.discriminator, (REAL, FAKE)),
    ),
    ("CycleGAN lsgan, generator", mse(FAKE, 1), 2, losses.least_squares.generator, (FAKE,)),
    (
        *("CycleGAN wgangp, discriminator", (-REAL.mean() + FAKE.mean()) * 0.5, 1 / 2),
        *(losses.wasserstein.discriminator, (REAL, FAKE)),
    ),
    ("CycleGAN wgangp, generator", -FAKE.mean(), 1, losses.wasserstein.generator, (FAKE,)),
    (
        *("CycleGAN cycle", 10 * np.mean(np.abs(B - A)) + 10 * np.mean(np.abs(2 * B - A)), 10),
        *(losses.cycle_consistency_loss, (A, B, A, 2 * B)),
    ),
    (
        *("CycleGAN identity", 10 * 0.5 * (np.mean(np.abs(B - A)) + np.mean(np.abs(2 * B - A))), 5),
        *(losses.identity_loss, (A, B, A, 2 * B)),
    ),
    # PyTorch-GAN: gan.py, relativistic_gan.py and began.py
    (
        *("PyTorch-GAN gan, discriminator", (bce(REAL, 1) + bce(FAKE, 0)) / 2, 1 / 2),
        *(losses.non_saturating.discriminator, (REAL, FAKE)),
    ),
    (
        *("PyTorch-GAN relativistic, generator", (bce(REAL - FAKE, 0) + bce(FAKE - REAL, 1)) / 2, 1),
        *(losses.relativistic.generator, (FAKE, REAL)),
    ),
    (
        *("PyTorch-GAN rel_avg_gan, discriminator", (bce(REAL_GAP, 1) + bce(FAKE_GAP, 0)) / 2, 1 / 2),
        *(losses.relativistic_average.discriminator, (REAL, FAKE)),
    ),
    (
        *(
            "PyTorch-GAN began, convergence",
            REAL_ENERGIES.mean() + abs(0.75 * REAL_ENERGIES.mean() - FAKE_ENERGIES.mean()),
            1,
        ),
        *(lambda r, f: losses.boundary_equilibrium_convergence(r, f, gamma=0.75), (REAL_ENERGIES, FAKE_ENERGIES)),
    ),
    # R3GAN/Trainer.py
    ("R3GAN, discriminator", np.mean(softplus(-(REAL - FAKE))), 1, losses.relativistic.discriminator, (REAL, FAKE)),
    ("R3GAN, generator", np.mean(softplus(-(FAKE - REAL))), 1, losses.relativistic.generator, (FAKE, REAL)),
    # AlexiaJM/RelativisticGAN, code/GAN_losses_iter.py, loss_D 6, 7 and 8
    (
        *("RaSGAN, generator", (bce(REAL_GAP, 0) + bce(FAKE_GAP, 1)) / 2, 1 / 2),
        *(losses.relativistic_average.generator, (FAKE, REAL)),
    ),
    (
        *("RaLSGAN, discriminator", (mse(REAL_GAP, 1) + mse(FAKE_GAP, -1)) / 2, 1),
        *(losses.relativistic_average_least_squares.discriminator, (REAL, FAKE)),
    ),
    (
        *("RaLSGAN, generator", (mse(REAL_GAP, -1) + mse(FAKE_GAP, 1)) / 2, 1),
        *(losses.relativistic_average_least_squares.generator, (FAKE, REAL)),
    ),
    (
        *("RaHingeGAN, discriminator", (np.mean(relu(1 - REAL_GAP)) + np.mean(relu(1 + FAKE_GAP))) / 2, 1 / 2),
        *(losses.relativistic_average_hinge.discriminator, (REAL, FAKE)),
    ),
    (
        *("RaHingeGAN, generator", (np.mean(relu(1 + REAL_GAP)) + np.mean(relu(1 - FAKE_GAP))) / 2, 1 / 2),
        *(losses.relativistic_average_hinge.generator, (FAKE, REAL)),
    ),
]


@pytest.mark.parametrize("source, value, factor, function, args", WRITTEN, ids=[row[0] for row in WRITTEN])
def test_a_peers_formula_is_ours_times_the_factor(source, value, factor, function, args):
    np.testing.assert_allclose(factor * ours(function, *args), value, rtol=1e-12)


# TensorFlow-GAN's losses_impl_test.py: its classification logits, and the values it expects, with five decimals.
GENERATED = np.array([[10.0, 4.4, -5.5, 3.6], [-4.0, 4.4, 5.2, 4.6], [1.1, 2.4, -3.5, 5.6], [1.1, 2.4, -3.5, 5.6]])
OF_DATA = np.array([[-2.0, 0.4, 12.5, 2.7], [-1.2, 1.9, 12.3, 2.6], [-2.4, -1.7, 2.5, 2.7], [1.1, 2.4, -3.5, 5.6]])
ONE_HOT = np.eye(4)[[1, 2, 0, 0]]
PUBLISHED = [
    ("least squares, discriminator", 41.73375, lambda: ours(losses.least_squares_discriminator_loss, REAL, FAKE)),
    ("least squares, generator", 17.69625, lambda: ours(losses.least_squares_generator_loss, FAKE)),
    ("Wasserstein, discriminator", 0.225, lambda: ours(losses.wasserstein_discriminator_loss, REAL, FAKE)),
    ("Wasserstein, generator", -3.125, lambda: ours(losses.wasserstein_generator_loss, FAKE)),
    ("hinge, discriminator", 6.75, lambda: ours(losses.hinge_discriminator_loss, REAL, FAKE)),
    ("hinge, generator", -3.125, lambda: ours(losses.hinge_generator_loss, FAKE)),
    ("modified, generator", 1.38582, lambda: ours(losses.non_saturating_generator_loss, FAKE)),
    # it smooths by 0.25 unless told not to: (1 - 0.875) of a real logit more
    ("minimax, discriminator", 6.19637, lambda: ours(losses.minimax_discriminator_loss, REAL, FAKE) + REAL.mean() / 8),
    # it is minus the discriminator's whole loss, with the real logits 1
    ("minimax, generator", -4.82408, lambda: ours(losses.minimax_generator_loss, FAKE) - np.log1p(np.exp(-1))),
    ("ACGAN, generator", 3.84974, lambda: ours(losses.auxiliary_classifier_loss, GENERATED, ONE_HOT)),
    (
        *("ACGAN, discriminator", 9.43950),
        lambda: sum(ours(losses.auxiliary_classifier_loss, logits, ONE_HOT) for logits in (GENERATED, OF_DATA)),
    ),
    (
        *("mutual information", 1.61610),
        lambda: ours(information, np.array([[1.0, 2.0]]), np.array([1]), *np.array([[[0.0]], [[0.0]], [[2.0]]])) / 2,
    ),
]


@pytest.mark.parametrize("name, published, value", PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_the_values_that_tensorflow_gan_publishes(name, published, value):
    np.testing.assert_allclose(value(), published, atol=6e-6)


def test_minimax_labels_are_not_smoothed():
    """The textbook's value; TensorFlow-GAN's default is 6.19637."""
    np.testing.assert_allclose(ours(losses.minimax_discriminator_loss, REAL, FAKE), 5.83387, atol=6e-6)


# Defects of peers, each of which these tests would find here.


@pytest.mark.parametrize("logit", [-18.0, -25.0, -100.0])
def test_log_of_sigmoid_plus_epsilon_has_lost_the_slope_that_ours_keeps(logit):
    def of_mimicry(v):
        return -expit(v) * (1 - expit(v)) / (expit(v) + 1e-8)

    np.testing.assert_allclose(jax.grad(losses.non_saturating_generator_loss)(logit), -1.0, atol=1e-6)
    assert abs(of_mimicry(logit)) < 0.7
    measured = REFERENCES["values"]["mimicry"]["slope of ns_loss_gen at -25"]
    np.testing.assert_allclose(of_mimicry(-25.0), measured, rtol=1e-6)


def test_a_vanilla_loss_of_one_minus_the_logit_is_another():
    """An early StudioGAN's d_vanilla took log sigmoid(1 - logit) for log(1 - sigmoid(logit))."""
    of_studiogan = -np.mean(log_expit(REAL) + log_expit(1 - FAKE))
    assert abs(ours(losses.minimax.discriminator, REAL, FAKE) - of_studiogan) > 0.1


def test_an_overwritten_relativistic_generator_loss_does_not_see_the_data():
    """PyTorch-GAN's relativistic_gan.py once took bce(fake_pred, valid) after all."""
    np.testing.assert_allclose(bce(FAKE, 1), ours(losses.non_saturating.generator, FAKE))
    for game in (losses.relativistic, losses.relativistic_average):
        seen = ours(game.generator, FAKE, REAL), ours(game.generator, FAKE, REAL + 1)
        assert abs(seen[0] - seen[1]) > 0.1


def test_two_batch_sizes_are_an_error():
    """torchgan's minimax_discriminator_loss makes the targets of real logits by ones_like(fake logits)."""
    with pytest.raises(ValueError, match="same shape"):
        losses.minimax.discriminator(jnp.asarray(REAL), jnp.asarray(FAKE[:2]))


def test_the_pulling_away_term_is_neither_torchgans_nor_pytorch_gans():
    codes = INPUTS["codes"]
    found = ours(losses.pulling_away_term, codes)
    units = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    cosines = units @ units.T
    expected = np.mean([cosines[i, j] ** 2 for i in range(3) for j in range(3) if i != j])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # torchgan normalises each feature over the batch and keeps the diagonal
    scaled = codes / np.linalg.norm(codes, axis=0, keepdims=True)
    torchgans = np.sum((scaled @ scaled.T) ** 2) / 6
    np.testing.assert_allclose(torchgans, REFERENCES["values"]["torchgan"]["energy_based_pulling_away_term"])
    pytorch_gans = (cosines.sum() - 3) / 6  # unsquared: opposite codes would be better than orthogonal ones
    assert abs(found - torchgans) > 0.1 and abs(found - pytorch_gans) > 0.1


def test_feature_matching_is_not_studiogans():
    """It takes mean absolute differences; Salimans et al. the squared distance of the means."""
    real, fake = INPUTS["codes"], INPUTS["class_logits"]
    gap = fake.mean(0) - real.mean(0)
    np.testing.assert_allclose(ours(losses.feature_matching_loss, real, fake), gap @ gap, rtol=1e-12)
    assert abs(gap @ gap - np.abs(gap).mean()) > 0.1


def test_the_balance_of_began_moves_as_pytorch_gans():
    """began.py: gamma 0.75, lambda_k 0.001, from k = 0, held in [0, 1]."""
    k, expected = jnp.zeros(()), 0.0
    for real, fake in (
        (REAL_ENERGIES, FAKE_ENERGIES),
        (FAKE_ENERGIES, REAL_ENERGIES),
        (1e4 * FAKE_ENERGIES, REAL_ENERGIES),
    ):
        k = losses.boundary_equilibrium_balance(k, jnp.asarray(real), jnp.asarray(fake), gamma=0.75)
        expected = min(max(expected + 0.001 * (0.75 * real.mean() - fake.mean()), 0), 1)
        np.testing.assert_allclose(k, expected, rtol=1e-6)
    assert expected == 1


def test_classes_by_name_or_by_probability():
    logits, labels = CONDITIONAL
    expected = np.mean(logsumexp(logits, axis=1) - logits[np.arange(3), labels])
    np.testing.assert_allclose(ours(losses.auxiliary_classifier_loss, logits, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(ours(losses.auxiliary_classifier_loss, logits, np.eye(3)[labels]), expected, rtol=1e-12)
