"""Augmentation that a discriminator sees through: of data and samples alike, and differentiable.

Each is a pure function of a key, random for every example by itself; a GAN takes it as
`make_gan(augment=(key, step, x) -> x)`. Images are `[batch, height, width, channels]` in [-1, 1].

    make_gan(..., augment=diff_augment(colour, translation, cutout))
    make_gan(..., augment=lambda key, step, x: ada(key, 0.3, x))
    make_gan(..., augment=Adaptive(batch_size))

Any other function `(key, x) -> x` of images is as good a policy of `diff_augment`. Transformations are linear or affine
in the images, so that penalties on the critic's gradient (R1) go through them. They compute in float32 or wider and
give back the images' dtype.
"""

from jaxgan.augment.ada import ada
from jaxgan.augment.adaptive import Adaptation, Adaptive
from jaxgan.augment.policies import colour, cutout, diff_augment, translation

__all__ = ["Adaptation", "Adaptive", "ada", "colour", "cutout", "diff_augment", "translation"]
