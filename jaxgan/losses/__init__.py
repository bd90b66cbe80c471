"""Adversarial losses: logits in, one loss per example out; and the losses that go beside them.

Every adversarial loss is elementwise, for logits of any shape: `[batch]`, patches `[batch, height, width, 1]` or a
scalar; only the relativistic average compares with a mean over the batch. There is no reduction, weight or label
smoothing: `.mean()` and `gamma *` belong to the caller. Logits are what the discriminator gives before any sigmoid,
the higher the more real. In the formulas D is the probability `sigmoid(logit)` for minimax and non-saturating, and the
logit itself for the others, as in the papers.

A game is a `Loss`, of which `LOSSES` has one by each name. Those written out have their functions here too, as
`<name>_discriminator_loss` and `<name>_generator_loss`; those composed (`f_gan`, `relative_to_average`,
`least_squares_coded`, `energy_based`) are used as `kl.discriminator(real_logits, fake_logits)`.

Constants, names and the order of arguments differ between implementations, and with them the learning rate that suits
and a penalty's weight. Our discriminators take real before fake, our generators their own fake first. A peer's value is
ours, averaged over the batch, times:

    ours                                 peer                                                          factor
    minimax, discriminator               TF-GAN minimax_discriminator_loss(label_smoothing=0)          1
                                           its default 0.25 adds mean(real_logits) / 8: the label 0.875
                                         torchgan minimax_discriminator_loss                           1
                                         mimicry minimax_loss_dis(fake, real)                          1
                                         StudioGAN d_vanilla, d_logistic                               1
                                         CycleGAN "vanilla", PyTorch-GAN                               1/2
    minimax, generator                   TF-GAN minimax_generator_loss, which has log(1 + 1/e) less    1
                                         torchgan minimax_generator_loss(nonsaturating=False)          1
    non_saturating, generator            TF-GAN modified_generator_loss                                1
                                         torchgan minimax_generator_loss                               1
                                         mimicry minimax_loss_gen, ns_loss_gen                         1
                                         StudioGAN g_vanilla, g_logistic; StyleGAN "logistic"          1
                                         CycleGAN "vanilla", PyTorch-GAN                               1
    wasserstein                          TF-GAN, torchgan, mimicry (real, fake), StudioGAN             1
                                         CycleGAN "wgangp": discriminator, generator                   1/2, 1
    least_squares                        TF-GAN, torchgan, StudioGAN                                   1
                                         CycleGAN "lsgan": discriminator, generator                    1, 2
    hinge                                TF-GAN wasserstein_hinge, mimicry (fake, real), StudioGAN     1
    relativistic                         R3GAN, PyTorch-GAN                                            1
    relativistic_average                 TF-GAN relativistic                                           1
                                         PyTorch-GAN, the paper's code                                 1/2
    relativistic_average_least_squares   the paper's code (RaLSGAN)                                    1
    relativistic_average_hinge           the paper's code (RaHingeGAN)                                 1/2
    energy_based, of energies            torchgan energy_based                                         1
    pulling_away_term                    PyTorch-GAN squares no cosine; torchgan divides by norms over the batch and
                                         keeps each code's cosine with itself: no factor
    boundary_equilibrium, of energies    torchgan boundary_equilibrium, PyTorch-GAN                    1
    auxiliary_classifier                 TF-GAN acgan, torchgan; discriminator: added on real and fake 1
    categorical + gaussian_information   TF-GAN, torchgan mutual_information_penalty: their mean       1/2
    multi_hinge                          StudioGAN crammer_singer_loss                                 1
    feature_matching                     StudioGAN takes mean absolute differences: no factor
    cycle_consistency                    TF-GAN                                                        1/2
                                         CycleGAN lambda_A = lambda_B = 10                             10
    identity                             CycleGAN lambda_identity = 0.5                                5

"minimax" is the saturating game here. What mimicry calls minimax, and StudioGAN and CycleGAN "vanilla", is
`non_saturating`.
"""

from jaxgan.losses.conditional import (
    auxiliary_classifier_loss,
    categorical_information_loss,
    gaussian_information_loss,
    multi_hinge_loss,
    projection_logits,
)
from jaxgan.losses.cross_entropy import (
    minimax,
    minimax_discriminator_loss,
    minimax_generator_loss,
    non_saturating,
    non_saturating_discriminator_loss,
    non_saturating_generator_loss,
)
from jaxgan.losses.divergences import (
    JENSEN_SHANNON,
    KL,
    PEARSON,
    REVERSE_KL,
    SQUARED_HELLINGER,
    Divergence,
    f_gan,
    jensen_shannon,
    kl,
    pearson,
    reverse_kl,
    squared_hellinger,
)
from jaxgan.losses.energy import (
    boundary_equilibrium_balance,
    boundary_equilibrium_convergence,
    boundary_equilibrium_discriminator_loss,
    boundary_equilibrium_generator_loss,
    energy_based,
    energy_based_discriminator_loss,
    energy_based_generator_loss,
    pulling_away_term,
)
from jaxgan.losses.least_squares import (
    least_squares,
    least_squares_coded,
    least_squares_discriminator_loss,
    least_squares_generator_loss,
    pearson_least_squares,
)
from jaxgan.losses.loss import Loss, exchanged, zero_sum
from jaxgan.losses.reconstruction import (
    cycle_consistency_loss,
    feature_matching_loss,
    identity_loss,
    l1_loss,
    l2_loss,
    perceptual_loss,
)
from jaxgan.losses.relativistic import (
    relative_to_average,
    relativistic,
    relativistic_average,
    relativistic_average_hinge,
    relativistic_average_least_squares,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from jaxgan.losses.variational import kl_to_standard_normal
from jaxgan.losses.wasserstein import (
    hinge,
    hinge_discriminator_loss,
    hinge_generator_loss,
    wasserstein,
    wasserstein_discriminator_loss,
    wasserstein_generator_loss,
)

LOSSES = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "least_squares": least_squares,
    "pearson_least_squares": pearson_least_squares,
    "relativistic": relativistic,
    "relativistic_average": relativistic_average,
    "relativistic_average_least_squares": relativistic_average_least_squares,
    "relativistic_average_hinge": relativistic_average_hinge,
    "kl": kl,
    "reverse_kl": reverse_kl,
    "pearson": pearson,
    "squared_hellinger": squared_hellinger,
    "jensen_shannon": jensen_shannon,
}

__all__ = [
    "auxiliary_classifier_loss",
    "boundary_equilibrium_balance",
    "boundary_equilibrium_convergence",
    "boundary_equilibrium_discriminator_loss",
    "boundary_equilibrium_generator_loss",
    "categorical_information_loss",
    "cycle_consistency_loss",
    "Divergence",
    "energy_based",
    "energy_based_discriminator_loss",
    "energy_based_generator_loss",
    "exchanged",
    "f_gan",
    "feature_matching_loss",
    "gaussian_information_loss",
    "hinge",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "identity_loss",
    "JENSEN_SHANNON",
    "jensen_shannon",
    "KL",
    "kl",
    "kl_to_standard_normal",
    "l1_loss",
    "l2_loss",
    "least_squares",
    "least_squares_coded",
    "least_squares_discriminator_loss",
    "least_squares_generator_loss",
    "Loss",
    "LOSSES",
    "minimax",
    "minimax_discriminator_loss",
    "minimax_generator_loss",
    "multi_hinge_loss",
    "non_saturating",
    "non_saturating_discriminator_loss",
    "non_saturating_generator_loss",
    "PEARSON",
    "pearson",
    "pearson_least_squares",
    "perceptual_loss",
    "projection_logits",
    "pulling_away_term",
    "relative_to_average",
    "relativistic",
    "relativistic_average",
    "relativistic_average_hinge",
    "relativistic_average_least_squares",
    "relativistic_discriminator_loss",
    "relativistic_generator_loss",
    "REVERSE_KL",
    "reverse_kl",
    "SQUARED_HELLINGER",
    "squared_hellinger",
    "wasserstein",
    "wasserstein_discriminator_loss",
    "wasserstein_generator_loss",
    "zero_sum",
]
