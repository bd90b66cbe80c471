"""Penalties: what a player pays beside its loss, one number per example (`orthogonality`: one in all).

A critic is a function from points `[batch, ...]`, or a pytree of them, to logits `[batch, ...]`, or a pytree of them.
It must treat examples independently (no batch normalisation, no minibatch statistics): then the gradient of the sum
over the batch holds each example's own gradient. Gradients are taken of the sum of an example's logits. Close over its
parameters:

    penalties.gradient_squared_norm(lambda x: discriminator(params, x), real).mean()

A generator is a function from latents to samples, likewise. Norms are taken over all dimensions of an example and all
leaves, and accumulated in float32 or wider. Weights are the caller's.

    who pays        for what
    discriminator   gradient_squared_norm (R1, R2; r1_r2 is both, as a GAN takes them); gradient_penalty at
                    interpolate (WGAN-GP) or at perturb (DRAGAN); lecam; consistency (CR), balanced_consistency (bCR),
                    latent_consistency (zCR)
    generator       latent_diversity (zCR), path_length_penalty, mode_seeking
    either          orthogonality

What a GAN hands its penalties as critic and generator also has their `params`, this step's `latents`, the
discriminator's `outputs` on data and fakes, which second heads are a part of, and the other player as `rival`:
`orthogonality(critic.params)` is one (`transforms.add_orthogonality` another way to it), and

    near = critic.rival(perturb_latents(key, critic.latents, 0.05))
    return 20.0 * latent_consistency(critic, fake, near)

`lazy` makes any of them one of every k-th step. Two remember something from step to step, as pure functions of what
they remember: `lecam` with `move_anchors`, and `path_length_penalty` with `move_path_length`. A GAN keeps it for them:

    class PathLength(NamedTuple):
        weight: float = 2.0

        def init(self):
            return jnp.zeros(())

        def apply(self, mean, key, step, generator, latents, fake, batch):
            lengths = penalties.path_lengths(key, generator, latents)
            mean = penalties.move_path_length(mean, lengths)
            return self.weight * penalties.path_length_penalty(lengths, mean), mean
"""

from jaxgan.penalties.consistency import (
    balanced_consistency,
    consistency,
    latent_consistency,
    latent_diversity,
    perturb_latents,
)
from jaxgan.penalties.gradients import gradient_penalty, gradient_squared_norm, interpolate, perturb, r1_r2
from jaxgan.penalties.lazy import lazy
from jaxgan.penalties.lecam import Anchors, lecam, move_anchors
from jaxgan.penalties.mode_seeking import mode_seeking
from jaxgan.penalties.orthogonal import orthogonality
from jaxgan.penalties.path_length import move_path_length, path_length_penalty, path_lengths

__all__ = [
    "Anchors",
    "balanced_consistency",
    "consistency",
    "gradient_penalty",
    "gradient_squared_norm",
    "interpolate",
    "latent_consistency",
    "latent_diversity",
    "lazy",
    "lecam",
    "mode_seeking",
    "move_anchors",
    "move_path_length",
    "orthogonality",
    "path_length_penalty",
    "path_lengths",
    "perturb",
    "perturb_latents",
    "r1_r2",
]
